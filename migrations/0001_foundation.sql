CREATE TABLE organisations (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE users (
    id TEXT NOT NULL PRIMARY KEY,
    org_id TEXT NOT NULL REFERENCES organisations (id),
    email TEXT NOT NULL UNIQUE,
    display_name TEXT,
    auth_method TEXT NOT NULL,
    email_verified BIGINT NOT NULL,
    marketing_emails BIGINT NOT NULL,
    -- Argon2id's salt; its output is checked by the signer against the record.
    salt BYTEA NOT NULL,
    record BYTEA NOT NULL,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX users_by_org ON users (org_id);

CREATE TABLE agents (
    id TEXT NOT NULL PRIMARY KEY,
    org_id TEXT NOT NULL REFERENCES organisations (id),
    name TEXT NOT NULL,
    description TEXT,
    auth_method TEXT NOT NULL,
    -- The first 12 characters of the key, for look-up and display.
    key_prefix TEXT,
    record BYTEA NOT NULL,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    last_active_at BIGINT
);
CREATE INDEX agents_by_org ON agents (org_id, id);
CREATE INDEX agents_by_key ON agents (key_prefix);

CREATE TABLE revoked_tokens (
    id TEXT NOT NULL PRIMARY KEY,
    expires_at BIGINT NOT NULL
);

CREATE TABLE vaults (
    id TEXT NOT NULL PRIMARY KEY,
    org_id TEXT NOT NULL REFERENCES organisations (id),
    name TEXT NOT NULL,
    description TEXT,
    creator_type TEXT NOT NULL,
    creator_id TEXT NOT NULL,
    -- Attested by the signer; emptied when the vault is deleted.
    key BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    deleted_at BIGINT
);
CREATE INDEX vaults_by_org ON vaults (org_id, id);

CREATE TABLE secrets (
    id TEXT NOT NULL PRIMARY KEY,
    vault_id TEXT NOT NULL REFERENCES vaults (id),
    path TEXT NOT NULL,
    newest BIGINT NOT NULL,
    UNIQUE (vault_id, path)
);

CREATE TABLE secret_versions (
    secret_id TEXT NOT NULL REFERENCES secrets (id),
    version BIGINT NOT NULL,
    type TEXT NOT NULL,
    metadata TEXT,
    rotation_policy TEXT,
    -- NULL: a key that can be used and never read.
    sealed BYTEA,
    -- Attested by the signer; NULL: no key that can sign.
    signing_key BYTEA,
    expires_at BIGINT,
    max_access_count BIGINT,
    access_count BIGINT NOT NULL,
    created_by_type TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    deleted_at BIGINT,
    PRIMARY KEY (secret_id, version)
);

CREATE TABLE policies (
    id TEXT NOT NULL PRIMARY KEY,
    vault_id TEXT NOT NULL REFERENCES vaults (id),
    pattern TEXT NOT NULL,
    principal_type TEXT NOT NULL,
    principal_id TEXT NOT NULL,
    permissions TEXT NOT NULL,
    conditions TEXT NOT NULL,
    expires_at BIGINT,
    created_by_type TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX policies_by_vault ON policies (vault_id);
CREATE INDEX policies_by_principal ON policies (principal_id);

CREATE TABLE chains (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    display_name TEXT NOT NULL,
    chain_id BIGINT NOT NULL UNIQUE,
    rpc_url TEXT,
    ws_url TEXT,
    -- Whether the addresses may be shown to anyone.
    urls_public BIGINT NOT NULL,
    explorer_url TEXT,
    native_currency TEXT NOT NULL,
    is_testnet BIGINT NOT NULL,
    is_enabled BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE transactions (
    id TEXT NOT NULL PRIMARY KEY,
    org_id TEXT NOT NULL REFERENCES organisations (id),
    agent_id TEXT NOT NULL REFERENCES agents (id),
    chain TEXT NOT NULL,
    chain_id BIGINT NOT NULL,
    from_address TEXT NOT NULL,
    to_address TEXT NOT NULL,
    value_wei TEXT NOT NULL,
    gas_limit BIGINT NOT NULL,
    gas_price TEXT,
    max_fee_per_gas TEXT,
    max_priority_fee_per_gas TEXT,
    nonce BIGINT,
    status TEXT NOT NULL,
    error_message TEXT,
    -- Attested by the signer: what was accepted, and the key that signs it.
    intent BYTEA NOT NULL,
    signing_key BYTEA NOT NULL,
    signed_tx BYTEA,
    tx_hash TEXT,
    block_number BIGINT,
    -- Whoever works on it holds it until then; afterwards anyone may take it up.
    lease_until BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    signed_at BIGINT,
    updated_at BIGINT NOT NULL
);
CREATE INDEX transactions_by_agent ON transactions (agent_id, id);
CREATE INDEX transactions_open ON transactions (status, lease_until);
CREATE INDEX transactions_by_nonce ON transactions (chain_id, from_address, nonce);

CREATE TABLE idempotency_keys (
    agent_id TEXT NOT NULL,
    key TEXT NOT NULL,
    -- SHA-256 over the body as canonical JSON.
    body_hash BYTEA NOT NULL,
    tx_id TEXT NOT NULL REFERENCES transactions (id),
    created_at BIGINT NOT NULL,
    PRIMARY KEY (agent_id, key)
);

-- The next nonce to give out, for each chain and address.
CREATE TABLE nonces (
    chain_id BIGINT NOT NULL,
    address TEXT NOT NULL,
    next BIGINT NOT NULL,
    PRIMARY KEY (chain_id, address)
);

-- Nonces that were given back and lie under `next`.
CREATE TABLE free_nonces (
    chain_id BIGINT NOT NULL,
    address TEXT NOT NULL,
    nonce BIGINT NOT NULL,
    PRIMARY KEY (chain_id, address, nonce)
);

CREATE TABLE audit_events (
    org_id TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    id TEXT NOT NULL,
    prev_event_id TEXT NOT NULL,
    integrity_hash BYTEA NOT NULL,
    action TEXT NOT NULL,
    actor_type TEXT NOT NULL,
    actor_id TEXT NOT NULL,
    resource_type TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    details TEXT NOT NULL,
    ip_address TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, sequence)
);

CREATE TABLE audit_heads (
    org_id TEXT NOT NULL PRIMARY KEY,
    sequence BIGINT NOT NULL,
    event_id TEXT NOT NULL,
    hash BYTEA NOT NULL
);

CREATE TABLE settings (
    key TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL,
    updated_by TEXT,
    updated_at BIGINT NOT NULL
);
