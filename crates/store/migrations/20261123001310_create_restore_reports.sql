-- What a restore remembered, replayed and could not replay. One row per generation that a restore began.
CREATE TABLE restore_reports (
    generation bigint PRIMARY KEY REFERENCES generations,
    report jsonb NOT NULL,
    written_at timestamptz NOT NULL
);
COMMENT ON COLUMN restore_reports.report IS 'counts and names, no content; its fields are in the runbook of backup and restore';
