-- replay_tables
CREATE TEMPORARY TABLE replay_deliveries (
    org_id uuid NOT NULL,
    delivery_id uuid NOT NULL,
    intents bigint NOT NULL,
    not_sent bigint NOT NULL,
    dead bigint NOT NULL,
    sent boolean NOT NULL,
    repeats_are_seen boolean NOT NULL,
    happened_at timestamptz NOT NULL,
    dead_at timestamptz,
    told text NOT NULL DEFAULT 'not_sent',
    sendings int NOT NULL DEFAULT 0,
    PRIMARY KEY (org_id, delivery_id)
) ON COMMIT DROP;
CREATE TEMPORARY TABLE replay_slots (
    org_id uuid NOT NULL,
    workflow_id uuid NOT NULL,
    due_at timestamptz NOT NULL,
    fired boolean NOT NULL,
    happened_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, workflow_id, due_at)
) ON COMMIT DROP;
-- Each kind has its own meaning of id, key and label: see `note.rs`. The newest label wins.
CREATE TEMPORARY TABLE replay_others (
    kind text NOT NULL,
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    key bytea NOT NULL,
    label text,
    happened_at timestamptz NOT NULL,
    PRIMARY KEY (kind, org_id, id, key)
) ON COMMIT DROP;
