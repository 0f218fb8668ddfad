-- The version that a plain read answers: the newest that is neither disabled nor deleted; where there is none, the newest.
ALTER TABLE secrets ADD COLUMN live BIGINT NOT NULL DEFAULT 0;
UPDATE secrets SET live = newest;

ALTER TABLE secret_versions ADD COLUMN disabled_at BIGINT;
-- What was sealed is erased; the row stays, so that no number comes twice.
ALTER TABLE secret_versions ADD COLUMN purged_at BIGINT;
CREATE INDEX secret_versions_deleted ON secret_versions (deleted_at)
    WHERE deleted_at IS NOT NULL AND purged_at IS NULL;

-- A deleted vault's secrets are erased, its policies gone.
ALTER TABLE vaults ADD COLUMN emptied_at BIGINT;
CREATE INDEX vaults_to_empty ON vaults (id) WHERE deleted_at IS NOT NULL AND emptied_at IS NULL;
