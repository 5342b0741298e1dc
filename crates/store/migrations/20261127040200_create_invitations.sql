-- Who may become a member by signing in. The running release knows nothing of it.
CREATE TABLE invitations (
    org_id uuid NOT NULL REFERENCES orgs,
    invitation_id uuid NOT NULL,
    email text NOT NULL CHECK (length(email) BETWEEN 3 AND 320),
    role text NOT NULL CHECK (role ~ '^[a-z][a-z0-9-]{0,49}$'),
    token_hash bytea NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    state text NOT NULL CHECK (state IN ('open', 'accepted', 'revoked')),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    settled_at timestamptz,
    PRIMARY KEY (org_id, invitation_id),
    CHECK ((state = 'open') = (settled_at IS NULL))
);
CREATE UNIQUE INDEX invitations_open ON invitations (org_id, email) WHERE state = 'open';
CREATE INDEX invitations_expires ON invitations (expires_at);
COMMENT ON COLUMN invitations.email IS 'in lower case; only who has it, by the word of the provider, is let in';
COMMENT ON COLUMN invitations.role IS 'what the person becomes';
COMMENT ON COLUMN invitations.token_hash IS 'SHA-256 of the token, which has 256 random bits and is shown once; the recovery ledger knows the invitation by it';
COMMENT ON COLUMN invitations.settled_at IS 'when it was accepted or revoked; NULL: it is open until it expires';
