-- A delivery that may have arrived, on a channel that does not deduplicate, waits for a person. The running release
-- writes no such state, and fails to read one.
ALTER TABLE deliveries DROP CONSTRAINT deliveries_state_check;
ALTER TABLE deliveries ADD CONSTRAINT deliveries_state_check CHECK (state IN ('pending', 'sent', 'dead', 'unknown'));
CREATE INDEX deliveries_unknown ON deliveries (org_id, delivery_id) WHERE state = 'unknown';
COMMENT ON COLUMN deliveries.finished_at IS 'when it was accepted or set aside; NULL: it is pending';
