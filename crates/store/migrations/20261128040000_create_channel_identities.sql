-- Who people in chats are, and what they may do from there. The running release knows nothing of it, and takes every message for a
-- prompt, as before.
CREATE TABLE channel_identities (
    org_id uuid NOT NULL,
    channel_identity_id uuid NOT NULL,
    channel_id uuid NOT NULL,
    external_id text NOT NULL CHECK (length(external_id) BETWEEN 1 AND 200),
    name text NOT NULL CHECK (length(name) <= 200),
    digest bytea NOT NULL CHECK (octet_length(digest) = 32),
    account_id uuid REFERENCES accounts,
    may_prompt boolean NOT NULL,
    may_decide boolean NOT NULL CHECK (NOT may_decide OR account_id IS NOT NULL),
    state text NOT NULL CHECK (state IN ('pending', 'active', 'disabled')),
    created_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (org_id, channel_identity_id),
    UNIQUE (org_id, channel_id, external_id),
    FOREIGN KEY (org_id, channel_id) REFERENCES channels
);
CREATE INDEX channel_identities_pending ON channel_identities (org_id, channel_id, channel_identity_id) WHERE state = 'pending';
CREATE INDEX channel_identities_account ON channel_identities (account_id) WHERE account_id IS NOT NULL;
CREATE INDEX channel_identities_digest ON channel_identities (org_id, digest);
COMMENT ON COLUMN channel_identities.external_id IS 'what the chat calls the person; personal data, and whoever signs for the channel vouches for it';
COMMENT ON COLUMN channel_identities.name IS 'what the person is called there; shown, and believed by nobody; may be empty';
COMMENT ON COLUMN channel_identities.digest IS 'what the recovery ledger calls the person: a keyed digest of channel and external_id';
COMMENT ON COLUMN channel_identities.account_id IS 'the member that the person is, whose role counts; NULL: nobody said';
COMMENT ON COLUMN channel_identities.state IS 'pending: wrote, and nobody said what the person may do';
COMMENT ON COLUMN channel_identities.changed_at IS 'when somebody last said what the person may do; what the recovery ledger tells of before does not count';
ALTER TABLE channel_identities ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON channel_identities USING (
    CASE current_setting('cowork.org', true) WHEN '*' THEN true WHEN org_id::text THEN true ELSE false END);
