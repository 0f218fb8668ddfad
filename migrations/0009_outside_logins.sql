-- Who logs in by an identity that somebody else proves (OpenID Connect). The person's record pins it, too, and decides.
CREATE TABLE outside_logins (
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX outside_logins_by_user ON outside_logins (user_id);
