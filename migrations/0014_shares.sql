-- Shares: one version of a secret, on the terms of a grant that the signer made. The id is the link.
CREATE TABLE shares (
    id TEXT NOT NULL PRIMARY KEY,
    org_id TEXT NOT NULL REFERENCES organisations (id),
    vault_id TEXT NOT NULL,
    secret_id TEXT NOT NULL,
    version BIGINT NOT NULL,
    path TEXT NOT NULL,
    by_type TEXT NOT NULL,
    by_id TEXT NOT NULL,
    -- creator, user, agent, external_email or anyone_with_link
    recipient_type TEXT NOT NULL,
    -- Who may open it; of external_email whoever has claimed it. NULL: nobody yet, or anyone.
    recipient_id TEXT,
    recipient_email TEXT,
    -- Attested by the signer.
    record BYTEA NOT NULL,
    -- Argon2id's, of the passphrase; NULL: there is none.
    salt BYTEA,
    max_access_count BIGINT,
    access_count BIGINT NOT NULL,
    -- Of the accesses, those that the sharer was mailed of.
    told_count BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    accepted_at BIGINT,
    declined_at BIGINT,
    revoked_at BIGINT
);
CREATE INDEX shares_by_org ON shares (org_id);
CREATE INDEX shares_by_sharer ON shares (by_id, created_at);
CREATE INDEX shares_by_recipient ON shares (recipient_id, created_at);
CREATE INDEX shares_by_email ON shares (recipient_email);
CREATE INDEX shares_by_end ON shares (expires_at);
