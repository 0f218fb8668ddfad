-- What the simulation before the signature said; NULL: there was none.
ALTER TABLE transactions ADD COLUMN simulation_id TEXT;
ALTER TABLE transactions ADD COLUMN simulation_status TEXT;
-- Where Tenderly shows it; NULL: the chain's node has simulated.
ALTER TABLE transactions ADD COLUMN simulation_url TEXT;
