-- What waits for a person is counted, and the oldest of it found, without reading what was sent. Diagnostics and metrics ask for it
-- again and again. The running release counts faster by it.
CREATE INDEX deliveries_unknown_since ON deliveries ((coalesce(finished_at, created_at))) WHERE state = 'unknown';
CREATE INDEX deliveries_dead ON deliveries (org_id, delivery_id) WHERE state = 'dead';
