-- Repeatable work. A slot is (workflow, due time); its primary key makes a second run for the same slot impossible.
CREATE TABLE workflows (
    org_id uuid NOT NULL REFERENCES orgs,
    workflow_id uuid NOT NULL,
    name text NOT NULL,
    agent text NOT NULL,
    prompt text NOT NULL,
    state text NOT NULL CHECK (state IN ('active', 'paused', 'archived')),
    missed_policy text NOT NULL CHECK (missed_policy IN ('skip', 'run_once', 'run_all')),
    missed_window_s bigint NOT NULL CHECK (missed_window_s >= 0),
    overlap_policy text NOT NULL CHECK (overlap_policy IN ('allow', 'skip')),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, workflow_id)
);
COMMENT ON COLUMN workflows.missed_window_s IS 'seconds; run_all and run_once look back no further than this';
COMMENT ON COLUMN workflows.overlap_policy IS 'skip: a slot is skipped while an earlier run is unfinished';

CREATE TABLE triggers (
    org_id uuid NOT NULL,
    trigger_id uuid NOT NULL,
    workflow_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('cron', 'interval', 'once')),
    spec jsonb NOT NULL,
    next_due_at timestamptz,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, trigger_id),
    FOREIGN KEY (org_id, workflow_id) REFERENCES workflows
);
CREATE INDEX triggers_due ON triggers (next_due_at) WHERE next_due_at IS NOT NULL;
CREATE INDEX triggers_workflow ON triggers (org_id, workflow_id);
COMMENT ON COLUMN triggers.spec IS 'cron: {expression, time_zone}; interval: {every_s, anchor_at}; once: {at}';
COMMENT ON COLUMN triggers.next_due_at IS 'the oldest slot that nobody has settled; stays while the workflow is paused. NULL: none will come';

CREATE TABLE slots (
    org_id uuid NOT NULL,
    workflow_id uuid NOT NULL,
    due_at timestamptz NOT NULL,
    trigger_id uuid,
    state text NOT NULL CHECK (state IN ('fired', 'skipped')),
    reason text,
    claimed_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, workflow_id, due_at),
    FOREIGN KEY (org_id, workflow_id) REFERENCES workflows
);
COMMENT ON COLUMN slots.trigger_id IS 'NULL: started by hand';
COMMENT ON COLUMN slots.reason IS 'why it was skipped, for people; NULL: fired';

CREATE TABLE runs (
    org_id uuid NOT NULL,
    run_id uuid NOT NULL,
    workflow_id uuid NOT NULL,
    due_at timestamptz NOT NULL,
    session_id uuid NOT NULL,
    command_id uuid NOT NULL,
    state text NOT NULL CHECK (state IN ('running', 'succeeded', 'failed')),
    created_at timestamptz NOT NULL,
    finished_at timestamptz,
    PRIMARY KEY (org_id, run_id),
    UNIQUE (org_id, workflow_id, due_at),
    UNIQUE (org_id, command_id),
    FOREIGN KEY (org_id, workflow_id, due_at) REFERENCES slots,
    FOREIGN KEY (org_id, session_id) REFERENCES sessions
);
CREATE INDEX runs_running ON runs (org_id, workflow_id) WHERE state = 'running';
