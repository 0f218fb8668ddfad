-- What a vault of Talon's own is for ('agent_keys'); NULL: an ordinary vault. One of each kind in an organisation.
-- NULLs differ from each other in a unique index on both databases.
ALTER TABLE vaults ADD COLUMN purpose TEXT;
CREATE UNIQUE INDEX vaults_by_purpose ON vaults (org_id, purpose);
