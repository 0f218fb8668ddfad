-- The approval that a transaction waits for, or waited; NULL: it was signed without people.
ALTER TABLE transactions ADD COLUMN approval_id TEXT;
