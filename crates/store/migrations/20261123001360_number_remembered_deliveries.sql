-- A sending has a number that the recovery ledger tells it by, and no number may come twice, whatever the restores between.
-- So what is remembered of a delivery without a row keeps the highest, and its row begins after it.
ALTER TABLE remembered_effects ADD COLUMN sendings int NOT NULL DEFAULT 0;
COMMENT ON COLUMN remembered_effects.sendings IS 'delivery: the highest number that the ledger knows of; else 0';
ALTER TABLE remembered_effects DROP CONSTRAINT remembered_effects_state_check;
ALTER TABLE remembered_effects ADD CONSTRAINT remembered_effects_state_check
    CHECK (state IN ('sent', 'dead', 'unknown', 'again', 'not_sent', 'fired', 'accepted', 'used'));
COMMENT ON COLUMN remembered_effects.state IS 'unknown: begun by the lost system, with no word of how it ended; again: the same, where the far side takes a repeat once; not_sent: it has certainly not arrived';
