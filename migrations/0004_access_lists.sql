-- EIP-2930, as JSON; NULL: none.
ALTER TABLE transactions ADD COLUMN access_list TEXT;
