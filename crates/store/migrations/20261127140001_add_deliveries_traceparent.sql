-- The same of the command that a delivery tells the end of. The running release ignores it.
ALTER TABLE deliveries ADD COLUMN traceparent text;
COMMENT ON COLUMN deliveries.traceparent IS 'W3C Trace Context that its command was written with. NULL: it was not traced';
