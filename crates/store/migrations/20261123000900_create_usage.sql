-- What was used, metered from real work, and the plan that an org is on.
CREATE TABLE subscriptions (
    org_id uuid PRIMARY KEY REFERENCES orgs,
    plan text NOT NULL,
    state text NOT NULL CHECK (state IN ('active', 'cancelled')),
    started_at timestamptz NOT NULL
);
CREATE TABLE usage_records (
    org_id uuid NOT NULL REFERENCES orgs,
    usage_id uuid NOT NULL,
    source_id uuid NOT NULL,
    kind text NOT NULL,
    quantity bigint NOT NULL CHECK (quantity >= 0),
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, usage_id),
    UNIQUE (org_id, source_id, kind)
);
COMMENT ON COLUMN usage_records.source_id IS 'the command, artifact, delivery or run that was metered; with kind it counts once';
COMMENT ON COLUMN usage_records.kind IS 'turns, input_tokens, output_tokens, artifact_bytes, deliveries, runs';
