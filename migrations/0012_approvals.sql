-- What waits for people to approve it. Reads of secrets are one kind; later kinds are rows like any other.
CREATE TABLE approvals (
    id TEXT NOT NULL PRIMARY KEY,
    org_id TEXT NOT NULL REFERENCES organisations (id),
    -- secret_read
    kind TEXT NOT NULL,
    requester_type TEXT NOT NULL,
    requester_id TEXT NOT NULL,
    -- What it is about: a secret and its version.
    target_type TEXT NOT NULL,
    target_id TEXT NOT NULL,
    target_version BIGINT NOT NULL,
    vault_id TEXT,
    secret_path TEXT,
    -- SHA-256 of what exactly is to be done, for kinds that have it.
    intent_hash BYTEA,
    summary TEXT NOT NULL,
    -- low, medium, high
    risk_tier TEXT NOT NULL,
    reason TEXT,
    -- The policy that asks for it, and its terms at that time: changed since, the approval is good for nothing.
    policy_id TEXT,
    required BIGINT NOT NULL,
    valid_for_seconds BIGINT NOT NULL,
    good_once BIGINT NOT NULL,
    -- Ids of the people who have approved it, separated by commas.
    given_by TEXT NOT NULL,
    -- pending, approved, denied, expired, cancelled
    status TEXT NOT NULL,
    -- How often it let something through.
    uses BIGINT NOT NULL,
    -- Of a pending one the end of waiting; of an approved one the end of its validity.
    expires_at BIGINT NOT NULL,
    decided_by TEXT,
    decision_reason TEXT,
    decided_at BIGINT,
    created_at BIGINT NOT NULL
);
-- One request waits for the same thing, however many ask at once.
CREATE UNIQUE INDEX approvals_pending ON approvals (kind, requester_id, target_id, target_version)
    WHERE status = 'pending';
CREATE INDEX approvals_by_target ON approvals (target_id, target_version, requester_id);
CREATE INDEX approvals_by_org ON approvals (org_id, id);
CREATE INDEX approvals_by_requester ON approvals (requester_id, id);
CREATE INDEX approvals_by_end ON approvals (status, expires_at);

-- What dashboards and waiting agents are told. Every gateway reads what is new; a day later it is forgotten.
CREATE TABLE events (
    sequence BIGINT NOT NULL PRIMARY KEY,
    org_id TEXT NOT NULL,
    -- Whom it concerns, beside the organisation's people.
    concerns_type TEXT NOT NULL,
    concerns_id TEXT NOT NULL,
    -- approval.requested, …
    event TEXT NOT NULL,
    -- JSON: ids and states, never a value.
    data TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX events_by_org ON events (org_id, sequence);
CREATE INDEX events_by_time ON events (created_at);

-- The last number given. Its row is held until the commit, so numbers become visible in their order, without gaps.
CREATE TABLE event_head (
    id BIGINT NOT NULL PRIMARY KEY,
    sequence BIGINT NOT NULL
);
INSERT INTO event_head (id, sequence) VALUES (1, 0);
