-- Calls that a webhook trigger took, each once by the caller's id of the event. The running release knows nothing of it.
CREATE TABLE trigger_calls (
    org_id uuid NOT NULL,
    trigger_id uuid NOT NULL,
    provider_event_id text NOT NULL CHECK (length(provider_event_id) BETWEEN 1 AND 200),
    workflow_id uuid NOT NULL,
    due_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, trigger_id, provider_event_id),
    FOREIGN KEY (org_id, trigger_id) REFERENCES triggers,
    FOREIGN KEY (org_id, workflow_id, due_at) REFERENCES slots
);
ALTER TABLE trigger_calls ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON trigger_calls USING (
    CASE current_setting('cowork.org', true) WHEN '*' THEN true WHEN org_id::text THEN true ELSE false END);
COMMENT ON COLUMN trigger_calls.due_at IS 'with workflow_id: the slot that the call settled, which says whether it fired';
