-- replay_tables
-- What the ledger says, as it was read. Nothing is looked up and nothing is unique here: `apply` adds it up.
CREATE TEMPORARY TABLE replay_noted_deliveries (
    org_id uuid NOT NULL,
    delivery_id uuid NOT NULL,
    intents bigint NOT NULL,
    not_sent bigint NOT NULL,
    -- Every attempt up to the highest after which it was given up.
    given_up bigint NOT NULL,
    -- The highest number of a sending.
    sendings int NOT NULL,
    sent boolean NOT NULL,
    repeats_are_seen boolean NOT NULL,
    happened_at timestamptz NOT NULL,
    dead_at timestamptz
) ON COMMIT DROP;
CREATE TEMPORARY TABLE replay_noted_slots (
    org_id uuid NOT NULL,
    workflow_id uuid NOT NULL,
    due_at timestamptz NOT NULL,
    fired boolean NOT NULL,
    happened_at timestamptz NOT NULL
) ON COMMIT DROP;
-- Each kind has its own meaning of id, key and label: see `note.rs`.
CREATE TEMPORARY TABLE replay_noted_others (
    kind text NOT NULL,
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    key bytea NOT NULL,
    label text,
    happened_at timestamptz NOT NULL
) ON COMMIT DROP;
-- Asked for page by page before anything is added up; the other kinds pay nothing for it.
CREATE INDEX ON replay_noted_others (id) WHERE kind = 'subject';
-- Deliveries that have a row, each once.
CREATE TEMPORARY TABLE replay_deliveries (
    org_id uuid NOT NULL,
    delivery_id uuid NOT NULL,
    told text NOT NULL,
    sendings int NOT NULL,
    happened_at timestamptz NOT NULL,
    -- As it came from the backup.
    state text NOT NULL,
    -- NULL: it stays what it is.
    becomes text
) ON COMMIT DROP;
-- What is told of rows other than deliveries and slots, each once. The newest label wins.
CREATE TEMPORARY TABLE replay_others (LIKE replay_noted_others) ON COMMIT DROP;
-- For sorting and adding up; what does not fit goes to disk. The time that a million notes take is the same with twice as much.
SET LOCAL work_mem = '64MB';
