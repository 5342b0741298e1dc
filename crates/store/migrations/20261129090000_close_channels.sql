-- A channel that is closed for good: nothing comes in by it and nothing goes out. Its rows stay, since bindings, deliveries and the
-- audit trail name it. The running release goes on with it as before.
ALTER TABLE channels ADD COLUMN closed_at timestamptz;
COMMENT ON COLUMN channels.closed_at IS 'when it was closed for good, by the clock of who closed it; NULL: it is open';
