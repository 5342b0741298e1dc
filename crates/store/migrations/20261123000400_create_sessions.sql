-- Durable conversations: the wish (command), the fact (event), what is computed from facts (projection).
CREATE TABLE sessions (
    org_id uuid NOT NULL REFERENCES orgs,
    session_id uuid NOT NULL,
    created_by uuid REFERENCES accounts (account_id),
    title text NOT NULL,
    agent text NOT NULL,
    last_sequence bigint NOT NULL CHECK (last_sequence >= 0),
    last_ordinal bigint NOT NULL CHECK (last_ordinal >= 0),
    blocked_on text CHECK (blocked_on IN ('approval', 'answer')),
    generation bigint NOT NULL,
    fencing_counter bigint NOT NULL,
    checkpoint_id uuid,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, session_id)
);
COMMENT ON COLUMN sessions.created_by IS 'NULL: a workflow or a channel message';
COMMENT ON COLUMN sessions.last_sequence IS 'sequence of the newest event';
COMMENT ON COLUMN sessions.last_ordinal IS 'ordinal of the newest command';
COMMENT ON COLUMN sessions.blocked_on IS 'what the turn in progress waits for; while set, prompts wait. NULL: nothing';
COMMENT ON COLUMN sessions.fencing_counter IS 'with generation: the fencing token of the newest lease; grows at every claim';
COMMENT ON COLUMN sessions.checkpoint_id IS 'the newest checkpoint; NULL: no turn has ended yet';

CREATE TABLE commands (
    org_id uuid NOT NULL,
    session_id uuid NOT NULL,
    command_id uuid NOT NULL,
    ordinal bigint NOT NULL CHECK (ordinal >= 1),
    kind text NOT NULL CHECK (kind IN ('prompt', 'abort', 'answer', 'approve', 'reject')),
    payload jsonb NOT NULL,
    idempotency_key text NOT NULL CHECK (length(idempotency_key) BETWEEN 1 AND 200),
    state text NOT NULL CHECK (state IN ('pending', 'done', 'failed', 'refused', 'dead')),
    attempt int NOT NULL DEFAULT 0,
    outcome text,
    created_by uuid,
    created_at timestamptz NOT NULL,
    finished_at timestamptz,
    PRIMARY KEY (org_id, command_id),
    FOREIGN KEY (org_id, session_id) REFERENCES sessions,
    UNIQUE (org_id, session_id, ordinal),
    UNIQUE (org_id, session_id, idempotency_key)
);
CREATE INDEX commands_pending ON commands (org_id, session_id, ordinal) WHERE state = 'pending';
COMMENT ON COLUMN commands.ordinal IS 'place of the command in its session, from 1; commands run in this order';
COMMENT ON COLUMN commands.attempt IS 'how often a turn was started for it';
COMMENT ON COLUMN commands.outcome IS 'one sentence for people, set when it is finished';

CREATE TABLE events (
    org_id uuid NOT NULL,
    session_id uuid NOT NULL,
    sequence bigint NOT NULL CHECK (sequence >= 1),
    kind text NOT NULL,
    payload jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, session_id, sequence),
    FOREIGN KEY (org_id, session_id) REFERENCES sessions
);

CREATE TABLE projections (
    org_id uuid NOT NULL,
    session_id uuid NOT NULL,
    sequence bigint NOT NULL CHECK (sequence >= 0),
    content jsonb NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, session_id),
    FOREIGN KEY (org_id, session_id) REFERENCES sessions
);
COMMENT ON COLUMN projections.sequence IS 'the newest event that is folded into content';

-- Hot and small: a row exists only while its session has a command that can run.
CREATE TABLE session_leases (
    org_id uuid NOT NULL,
    session_id uuid NOT NULL,
    wake_at timestamptz NOT NULL,
    leased_until timestamptz,
    holder uuid,
    PRIMARY KEY (org_id, session_id),
    FOREIGN KEY (org_id, session_id) REFERENCES sessions
);
CREATE INDEX session_leases_wake ON session_leases (wake_at);
COMMENT ON COLUMN session_leases.leased_until IS 'NULL: ready and held by nobody';
COMMENT ON COLUMN session_leases.holder IS 'the instance that holds it; NULL: nobody';
