-- Which events of a billing provider were taken, so that none is taken twice. The running release knows nothing of it.
CREATE TABLE billing_events (
    org_id uuid NOT NULL REFERENCES orgs,
    provider text NOT NULL,
    event_id text NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (provider, event_id)
);
CREATE INDEX billing_events_received_at ON billing_events (received_at);
CREATE INDEX billing_events_org ON billing_events (org_id);
ALTER TABLE billing_events ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON billing_events USING (
    CASE current_setting('cowork.org', true) WHEN '*' THEN true WHEN org_id::text THEN true ELSE false END);
COMMENT ON COLUMN billing_events.event_id IS 'as the provider names it; it is remembered for a while, far longer than the provider repeats one';
