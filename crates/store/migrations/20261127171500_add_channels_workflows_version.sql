-- Which state of a channel or a workflow an editor has seen. The running release leaves it as it is.
ALTER TABLE channels ADD COLUMN version bigint NOT NULL DEFAULT 1;
ALTER TABLE workflows ADD COLUMN version bigint NOT NULL DEFAULT 1;
COMMENT ON COLUMN channels.version IS 'grows with every change of name and destination; with created_at it names a state of the channel';
COMMENT ON COLUMN workflows.version IS 'grows with every change of what it does; its state and its triggers leave it as it is';
