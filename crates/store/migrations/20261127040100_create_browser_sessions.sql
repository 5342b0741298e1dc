-- People who signed in with a browser. The running release knows nothing of it.
CREATE TABLE browser_sessions (
    org_id uuid NOT NULL REFERENCES orgs,
    browser_session_id uuid NOT NULL,
    account_id uuid NOT NULL REFERENCES accounts,
    session_hash bytea NOT NULL UNIQUE CHECK (length(session_hash) = 32),
    sign_in_hash bytea NOT NULL UNIQUE CHECK (length(sign_in_hash) = 32),
    user_agent text NOT NULL CHECK (length(user_agent) <= 200),
    created_at timestamptz NOT NULL,
    last_used_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    PRIMARY KEY (org_id, browser_session_id)
);
CREATE INDEX browser_sessions_in_force ON browser_sessions (account_id, org_id) WHERE revoked_at IS NULL;
CREATE INDEX browser_sessions_expires ON browser_sessions (expires_at);
COMMENT ON COLUMN browser_sessions.session_hash IS 'SHA-256 of the cookie, which has 256 random bits; the recovery ledger knows the session by it';
COMMENT ON COLUMN browser_sessions.sign_in_hash IS 'SHA-256 of the state of its sign-in, which is used once';
COMMENT ON COLUMN browser_sessions.user_agent IS 'what the browser calls itself, for people to tell their sessions apart';
COMMENT ON COLUMN browser_sessions.last_used_at IS 'up to a minute old: not every request writes';
COMMENT ON COLUMN browser_sessions.expires_at IS 'whether it is used or not';
COMMENT ON COLUMN browser_sessions.revoked_at IS 'NULL: in force until it expires or is idle for too long';
