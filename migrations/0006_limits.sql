-- Counters that are exact across gateways. A key is the SHA-256 (hex) of what is counted and whose it is: nobody's email
-- or address is in here. Rows whose time is over are swept.

-- So many within a window: the times of those that count, milliseconds since 1970, separated by commas.
CREATE TABLE limits (
    key TEXT NOT NULL PRIMARY KEY,
    taken TEXT NOT NULL,
    forget_at BIGINT NOT NULL
);
CREATE INDEX limits_by_end ON limits (forget_at);

-- Wrong guesses, and until when nobody may guess.
CREATE TABLE throttles (
    key TEXT NOT NULL PRIMARY KEY,
    guesses BIGINT NOT NULL,
    blocked_until BIGINT NOT NULL,
    forget_at BIGINT NOT NULL
);
CREATE INDEX throttles_by_end ON throttles (forget_at);

-- From where somebody has logged in with success: strangers' guesses don't lock them out there.
CREATE TABLE familiar_places (
    key TEXT NOT NULL PRIMARY KEY,
    forget_at BIGINT NOT NULL
);
CREATE INDEX familiar_places_by_end ON familiar_places (forget_at);

-- Which addresses an organisation's people and agents may come from.
CREATE TABLE ip_rules (
    id TEXT NOT NULL PRIMARY KEY,
    org_id TEXT NOT NULL REFERENCES organisations (id),
    -- allow, deny
    effect TEXT NOT NULL,
    cidr TEXT NOT NULL,
    label TEXT,
    -- all, users, agents
    applies_to TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX ip_rules_by_org ON ip_rules (org_id, id);

-- The kill switch. The signer has one of its own, and both must be off.
ALTER TABLE organisations ADD COLUMN agents_suspended BIGINT NOT NULL DEFAULT 0;
