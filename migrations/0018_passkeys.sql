-- People's passkeys, as the signer attests them. What counts is what the person's record pins.
CREATE TABLE passkeys (
    user_id TEXT NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    -- A challenge that waits for its new passkey.
    pending BYTEA,
    -- All of the person's, in one statement.
    statement BYTEA
);
