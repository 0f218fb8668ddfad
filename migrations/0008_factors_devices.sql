-- People's second factors, as the signer attests them: seed and recovery codes are sealed there. What counts is what the
-- person's record pins.
CREATE TABLE second_factors (
    user_id TEXT NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    -- A seed that waits for its first code.
    pending BYTEA,
    factor BYTEA
);

-- Devices that ask to be let in (RFC 8628).
CREATE TABLE devices (
    id TEXT NOT NULL PRIMARY KEY,
    -- SHA-256 of the device's own code; the code itself is the device's alone.
    code_hash BYTEA NOT NULL UNIQUE,
    -- What a person types, without its dash.
    user_code TEXT NOT NULL UNIQUE,
    client_id TEXT NOT NULL,
    -- pending, approved, denied or issued
    status TEXT NOT NULL,
    -- Who answered.
    user_id TEXT REFERENCES users (id) ON DELETE CASCADE,
    -- The signer's grant, of an approved one.
    permission BYTEA,
    polled_at BIGINT,
    -- Seconds that the device waits between polls; more each time that it does not.
    poll_interval BIGINT NOT NULL,
    -- Whether the last poll came too soon.
    hurried BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX devices_by_end ON devices (expires_at);
