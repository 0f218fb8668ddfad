-- SHA-256 of the customer's key, in hex. On a vault: new values must be encrypted with it. On a version: it was.
ALTER TABLE vaults ADD COLUMN cmek_fingerprint TEXT;
ALTER TABLE secret_versions ADD COLUMN cmek_fingerprint TEXT;

-- What changes a vault's values from one key to another. The keys themselves are in the memory of a gateway alone.
CREATE TABLE cmek_jobs (
    id TEXT NOT NULL PRIMARY KEY,
    org_id TEXT NOT NULL REFERENCES organisations (id),
    vault_id TEXT NOT NULL REFERENCES vaults (id),
    old_fingerprint TEXT NOT NULL,
    new_fingerprint TEXT NOT NULL,
    status TEXT NOT NULL,
    total BIGINT NOT NULL,
    processed BIGINT NOT NULL,
    error TEXT,
    -- How often somebody sent the keys: whoever holds an earlier attempt has lost it.
    attempt BIGINT NOT NULL,
    leased_until BIGINT NOT NULL,
    started_at BIGINT NOT NULL,
    completed_at BIGINT,
    created_at BIGINT NOT NULL
);
CREATE INDEX cmek_jobs_by_vault ON cmek_jobs (vault_id, id);
CREATE UNIQUE INDEX cmek_jobs_running ON cmek_jobs (vault_id) WHERE status = 'running';
