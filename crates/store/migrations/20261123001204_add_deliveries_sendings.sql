-- The number that the recovery ledger knows a sending by. Unlike attempt it never starts again, so that what became of one
-- sending is never taken for what became of another. The running release ignores the column.
ALTER TABLE deliveries ADD COLUMN sendings int NOT NULL DEFAULT 0;
UPDATE deliveries SET sendings = attempt;
COMMENT ON COLUMN deliveries.sendings IS 'how often it was handed to the provider, retries by hand included';
