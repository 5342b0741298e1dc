-- How much an org may use. No row: any number. The running release knows nothing of it.
CREATE TABLE quotas (
    org_id uuid NOT NULL REFERENCES orgs,
    kind text NOT NULL CHECK (kind IN ('turns', 'input_tokens', 'output_tokens', 'artifact_bytes', 'deliveries', 'runs')),
    period text NOT NULL CHECK (period IN ('day', 'month')),
    quantity_max bigint NOT NULL CHECK (quantity_max >= 0),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (org_id, kind)
);
COMMENT ON COLUMN quotas.period IS 'of the calendar, in UTC';
COMMENT ON COLUMN quotas.quantity_max IS 'as many are allowed in a period';
COMMENT ON COLUMN quotas.version IS 'grows with every change';
