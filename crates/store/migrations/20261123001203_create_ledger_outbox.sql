-- Effects that are committed here and that the recovery ledger does not know yet. A row is written by the transaction that
-- has the effect and removed once the ledger has it; rows that stay are drained by the scheduler.
CREATE TABLE ledger_outbox (
    outbox_id uuid PRIMARY KEY,
    effect jsonb NOT NULL,
    happened_at timestamptz NOT NULL
);
COMMENT ON COLUMN ledger_outbox.effect IS 'ids, keyed digests and versions; no content';
