-- Which span wrote a command, so that the turn that carries it out belongs to the same trace. The running release ignores it.
ALTER TABLE commands ADD COLUMN traceparent text;
COMMENT ON COLUMN commands.traceparent IS 'W3C Trace Context of the span that wrote it. NULL: it was not traced';
