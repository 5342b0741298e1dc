-- Questions of agents that a thread was told of, each with a token that decides it once. The running release knows nothing of it.
CREATE TABLE interactions (
    org_id uuid NOT NULL,
    interaction_id uuid NOT NULL,
    session_id uuid NOT NULL,
    binding_id uuid NOT NULL,
    request_id text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('approval', 'answer')),
    token_hash bytea NOT NULL CHECK (octet_length(token_hash) = 32),
    generation bigint NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    decision text CHECK (decision IN ('approve', 'reject', 'answer')),
    decided_by uuid,
    command_id uuid,
    decided_at timestamptz CHECK ((decided_at IS NULL) = (decision IS NULL)),
    PRIMARY KEY (org_id, interaction_id),
    UNIQUE (token_hash),
    FOREIGN KEY (org_id, session_id) REFERENCES sessions,
    FOREIGN KEY (org_id, binding_id) REFERENCES bindings,
    FOREIGN KEY (org_id, decided_by) REFERENCES channel_identities ON DELETE SET NULL (decided_by)
);
CREATE INDEX interactions_session ON interactions (org_id, session_id, interaction_id);
CREATE INDEX interactions_binding ON interactions (org_id, binding_id);
CREATE INDEX interactions_decided_by ON interactions (org_id, decided_by) WHERE decided_by IS NOT NULL;
COMMENT ON COLUMN interactions.request_id IS 'what the session calls the question';
COMMENT ON COLUMN interactions.token_hash IS 'SHA-256 of the token, which is derived from the channel secret and stored nowhere';
COMMENT ON COLUMN interactions.generation IS 'of the system that told the thread; the token is void in any later one';
COMMENT ON COLUMN interactions.decision IS 'NULL: nobody decided by this token';
COMMENT ON COLUMN interactions.decided_by IS 'the person in the chat; NULL: nobody, or the person was erased';
ALTER TABLE interactions ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON interactions USING (
    CASE current_setting('cowork.org', true) WHEN '*' THEN true WHEN org_id::text THEN true ELSE false END);
