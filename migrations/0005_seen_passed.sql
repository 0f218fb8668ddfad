-- When the chain was first seen past the nonce without this transaction; NULL: it is not, or it knows the transaction.
ALTER TABLE transactions ADD COLUMN passed_at BIGINT;
-- Each chain's open transactions by themselves, so that one chain's backlog is not in another's way.
DROP INDEX transactions_open;
CREATE INDEX transactions_open ON transactions (status, chain_id, lease_until);
