-- A person's role, for lists and for counting owners; what decides is in the record. Until now everybody owned an
-- organisation of their own.
ALTER TABLE users ADD COLUMN role TEXT NOT NULL DEFAULT 'owner';

-- Open invitations: taken up, revoked or replaced, one is gone.
CREATE TABLE invitations (
    id TEXT NOT NULL PRIMARY KEY,
    org_id TEXT NOT NULL REFERENCES organisations (id),
    email TEXT NOT NULL,
    role TEXT NOT NULL,
    -- Attested by the signer.
    record BYTEA NOT NULL,
    invited_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    UNIQUE (org_id, email)
);
