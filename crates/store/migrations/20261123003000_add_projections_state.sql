-- A list shows each session's state: read from a column of its own instead of unpacking 50 projections. The running release
-- ignores it.
ALTER TABLE projections ADD COLUMN state text GENERATED ALWAYS AS (content ->> 'state') STORED;
COMMENT ON COLUMN projections.state IS 'that of content; NULL: content is damaged';
