-- Accounts whose personal data was erased, or is being erased, and the sessions that are still to be gone through.
CREATE TABLE subject_erasures (
    account_id uuid PRIMARY KEY REFERENCES accounts,
    org_ids uuid[] NOT NULL,
    state text NOT NULL CHECK (state IN ('listing', 'erasing', 'erased')),
    sessions bigint NOT NULL DEFAULT 0,
    commands bigint NOT NULL DEFAULT 0,
    events bigint NOT NULL DEFAULT 0,
    artifacts bigint NOT NULL DEFAULT 0,
    deliveries bigint NOT NULL DEFAULT 0,
    blobs bigint NOT NULL DEFAULT 0,
    requested_at timestamptz NOT NULL,
    finished_at timestamptz
);
CREATE INDEX subject_erasures_unfinished ON subject_erasures (requested_at) WHERE state <> 'erased';
COMMENT ON COLUMN subject_erasures.org_ids IS 'the orgs that it belonged to, so that each of them may ask what became of it';
COMMENT ON COLUMN subject_erasures.state IS 'listing: the account is emptied, its sessions are not listed yet; erasing: they are being gone through';
COMMENT ON COLUMN subject_erasures.finished_at IS 'NULL: not finished';

CREATE TABLE subject_erasure_sessions (
    account_id uuid NOT NULL REFERENCES subject_erasures,
    org_id uuid NOT NULL,
    session_id uuid NOT NULL,
    whole boolean NOT NULL,
    PRIMARY KEY (account_id, org_id, session_id),
    FOREIGN KEY (org_id, session_id) REFERENCES sessions
);
COMMENT ON TABLE subject_erasure_sessions IS 'a row is taken away when its session was gone through';
COMMENT ON COLUMN subject_erasure_sessions.whole IS 'the account began the session, so all of it goes; else what the account said in it';
