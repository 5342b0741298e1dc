-- Whether the far side of a channel takes a repeated delivery once. Channels of earlier releases are signed webhooks, whose
-- webhook-id is there for that; the running release ignores the column.
ALTER TABLE channels ADD COLUMN deduplicates boolean NOT NULL DEFAULT true;
COMMENT ON COLUMN channels.deduplicates IS 'false: a delivery that may have arrived is never sent again by itself';
