-- One row per life of the system: the first when it was initialised, one more for each restore. The highest is current.
CREATE TABLE generations (
    generation bigint PRIMARY KEY CHECK (generation >= 1),
    system_id uuid NOT NULL,
    environment text NOT NULL CHECK (environment IN ('production', 'drill')),
    reason text NOT NULL CHECK (reason IN ('initialised', 'restored')),
    backup_id uuid,
    started_at timestamptz NOT NULL
);
COMMENT ON COLUMN generations.system_id IS 'the installation; the same across its generations';
COMMENT ON COLUMN generations.environment IS 'a drill copy never reaches a real destination';
COMMENT ON COLUMN generations.backup_id IS 'what this generation was restored from; NULL for the first';
