-- Personal API keys. What decides (whose, scopes, end, verifier) is in the record that the signer attests; the
-- columns are for looking up and for people.
CREATE TABLE api_keys (
    id TEXT NOT NULL PRIMARY KEY,
    org_id TEXT NOT NULL REFERENCES organisations (id),
    user_id TEXT NOT NULL REFERENCES users (id),
    name TEXT NOT NULL,
    -- The first 12 characters of the key, for look-up and display.
    key_prefix TEXT NOT NULL,
    record BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    -- To a minute or so.
    last_used_at BIGINT,
    revoked_at BIGINT
);
CREATE INDEX api_keys_by_user ON api_keys (user_id, id);
CREATE INDEX api_keys_by_key ON api_keys (key_prefix);
