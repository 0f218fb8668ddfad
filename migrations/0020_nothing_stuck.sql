-- Replacements: which transaction this one takes the place of, and which one takes its place.
ALTER TABLE transactions ADD COLUMN replaces TEXT;
ALTER TABLE transactions ADD COLUMN replaced_by TEXT;
-- How often the gateway by itself has raised the fees, up to this one.
ALTER TABLE transactions ADD COLUMN bumps BIGINT NOT NULL DEFAULT 0;
-- Blocks from the one that it is in to the newest, both counted, as last seen; since when it is in a block.
ALTER TABLE transactions ADD COLUMN confirmations BIGINT;
ALTER TABLE transactions ADD COLUMN confirmed_at BIGINT;
-- What is at its end for good is held for ever: nobody looks at it, and the index of what is looked at stays small.
UPDATE transactions SET lease_until = 9223372036854775807
    WHERE status IN ('confirmed', 'reverted', 'replaced', 'failed', 'simulation_failed');
CREATE INDEX transactions_followed ON transactions (lease_until, chain_id, status)
    WHERE lease_until < 9223372036854775807;

-- Which transaction has given a nonce up, and when.
ALTER TABLE free_nonces ADD COLUMN given_up_by TEXT;
ALTER TABLE free_nonces ADD COLUMN given_up_at BIGINT;
