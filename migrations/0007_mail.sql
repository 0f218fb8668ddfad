-- Letters that wait to be sent; a row ends when its letter is delivered or given up. No link is in it: the ticket of a
-- letter is made when it is sent.
CREATE TABLE mails (
    id TEXT NOT NULL PRIMARY KEY,
    recipient TEXT NOT NULL,
    -- Which letter, and what it tells, as JSON.
    letter TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    -- The next try; while one is made, the end of its lease.
    due_at BIGINT NOT NULL,
    gives_up_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX mails_due ON mails (due_at);

-- One-time links: one for each purpose and subject, the newest. Redeeming one deletes it.
CREATE TABLE tickets (
    purpose TEXT NOT NULL,
    subject TEXT NOT NULL,
    -- SHA-256 of the ticket, which is in the mail alone.
    hash BYTEA NOT NULL UNIQUE,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (purpose, subject)
);

-- People who have signed up and not yet shown that the address is theirs. None of them has an account.
CREATE TABLE signups (
    -- Of the person that it will be.
    user_id TEXT NOT NULL PRIMARY KEY,
    org_id TEXT NOT NULL,
    email TEXT NOT NULL,
    display_name TEXT,
    salt BYTEA NOT NULL,
    record BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

-- Agents that have asked to be enrolled, with whomever the address belongs to. Each is looked at off the request's path,
-- so that nothing about an address can be told from the answer.
CREATE TABLE enrolments (
    agent_id TEXT NOT NULL PRIMARY KEY,
    email TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    ip_address TEXT,
    attempts BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX enrolments_due ON enrolments (due_at);

-- Organisations that are being ended: the signer has been asked, or is about to be. What is left here after a crash is
-- finished, or forgotten if the signer never heard of it.
CREATE TABLE organisation_endings (
    org_id TEXT NOT NULL PRIMARY KEY,
    begun_at BIGINT NOT NULL
);

-- Last records of people whose rows are gone, which the signer is yet to be told of: it refuses the earlier ones then.
CREATE TABLE last_records (
    user_id TEXT NOT NULL PRIMARY KEY,
    record BYTEA NOT NULL
);
