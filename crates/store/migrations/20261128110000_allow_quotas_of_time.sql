-- The time of turns is metered, and can have a quota. The running release meters none, and can't list the quotas of an org that has
-- one of time: set none before all processes are of the new release.
ALTER TABLE quotas DROP CONSTRAINT quotas_kind_check,
    ADD CONSTRAINT quotas_kind_check CHECK (
        kind IN ('turns', 'turn_ms', 'input_tokens', 'output_tokens', 'artifact_bytes', 'deliveries', 'runs'));
COMMENT ON COLUMN usage_records.kind IS 'turns, turn_ms, input_tokens, output_tokens, artifact_bytes, deliveries, runs';
