-- A transaction names the version that its key is in, and holds no copy: what is erased there is gone here.
ALTER TABLE transactions ADD COLUMN key_secret_id TEXT;
ALTER TABLE transactions ADD COLUMN key_version BIGINT;

-- A statement belongs to one version: its path and number are attested with it.
UPDATE transactions SET
    key_secret_id = (SELECT MAX(v.secret_id) FROM secret_versions v WHERE v.signing_key = transactions.signing_key),
    key_version = (SELECT MAX(v.version) FROM secret_versions v WHERE v.signing_key = transactions.signing_key)
    WHERE status IN ('awaiting_approval', 'pending', 'signed', 'broadcast')
    OR (status IN ('confirmed', 'reverted') AND lease_until < 9223372036854775807);

-- PostgreSQL leaves what is in a dropped column on its pages.
UPDATE transactions SET signing_key = '';
ALTER TABLE transactions DROP COLUMN signing_key;
