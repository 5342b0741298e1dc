-- In which order an org's feed has its events. The running release writes 0, and who reads a feed beside it may miss what it
-- appends; so feeds are read when no older process is left.
ALTER TABLE sessions ADD COLUMN feed_position bigint NOT NULL DEFAULT 0;
ALTER TABLE events ADD COLUMN feed_position bigint NOT NULL DEFAULT 0;
CREATE INDEX events_feed ON events (org_id, feed_position, session_id, sequence);
COMMENT ON COLUMN sessions.feed_position IS 'that of its newest event';
COMMENT ON COLUMN events.feed_position IS 'generation * 2^48 + the transaction that wrote it, or that of the session''s event before if that is higher. 0: before there were feeds';
