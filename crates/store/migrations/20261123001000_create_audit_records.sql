-- Append-only: who did what to what.
CREATE TABLE audit_records (
    org_id uuid NOT NULL REFERENCES orgs,
    audit_id uuid NOT NULL,
    position bigint GENERATED ALWAYS AS IDENTITY,
    actor text NOT NULL,
    action text NOT NULL,
    target text NOT NULL,
    detail jsonb NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, audit_id)
);
CREATE INDEX audit_records_position ON audit_records (org_id, position);
COMMENT ON COLUMN audit_records.actor IS 'account:ID, token:ID or role:NAME';
