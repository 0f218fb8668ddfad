-- Each filter of the audit trail has an index in which an organisation's events are in order.
CREATE INDEX audit_events_action ON audit_events (org_id, action, sequence);
CREATE INDEX audit_events_actor ON audit_events (org_id, actor_id, sequence);
CREATE INDEX audit_events_actor_action ON audit_events (org_id, actor_id, action, sequence);
CREATE INDEX audit_events_resource ON audit_events (org_id, resource_id, sequence);
-- From a time to where in the chain it is.
CREATE INDEX audit_events_time ON audit_events (org_id, created_at, sequence);

-- Heads that the signer has signed. Like the chain, they outlive their organisation.
CREATE TABLE audit_checkpoints (
    org_id TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    hash BYTEA NOT NULL,
    signed_at BIGINT NOT NULL,
    key_id TEXT NOT NULL,
    signature BYTEA NOT NULL,
    PRIMARY KEY (org_id, sequence)
);

CREATE TABLE webhooks (
    id TEXT NOT NULL PRIMARY KEY,
    org_id TEXT NOT NULL,
    url TEXT NOT NULL,
    -- Patterns, as JSON.
    events TEXT NOT NULL,
    description TEXT,
    active BIGINT NOT NULL,
    -- The signer's statement, with the key sealed in it.
    key BYTEA NOT NULL,
    -- The event that is looked at next. What is before it was delivered, not asked for, or given up.
    next_sequence BIGINT NOT NULL,
    -- Failed attempts at that event.
    attempts BIGINT NOT NULL,
    -- The next look; while one is taken, the end of its lease.
    due_at BIGINT NOT NULL,
    -- Whose turn it is: changed by each one who takes it.
    turn BIGINT NOT NULL,
    -- Since when that event, and since when every event, has failed.
    event_failing_since BIGINT,
    failing_since BIGINT,
    last_error TEXT,
    last_delivered_at BIGINT,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX webhooks_org ON webhooks (org_id, id);
CREATE INDEX webhooks_due ON webhooks (active, due_at);

-- Events that did not arrive at the first attempt; the others leave no row.
CREATE TABLE webhook_troubles (
    webhook_id TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    event_id TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    -- retrying, delivered, given_up
    outcome TEXT NOT NULL,
    last_error TEXT NOT NULL,
    first_attempt_at BIGINT NOT NULL,
    last_attempt_at BIGINT NOT NULL,
    PRIMARY KEY (webhook_id, sequence)
);
