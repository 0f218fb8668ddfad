-- What the signer attests of a mailed link; NULL where it has no part in what the link opens.
ALTER TABLE tickets ADD COLUMN link BYTEA;
