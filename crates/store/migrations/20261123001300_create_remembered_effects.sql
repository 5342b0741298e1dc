-- Effects of the lost system that the recovery ledger tells of and that no restored row stands for. Written by the replay
-- of a restore; read by whoever is about to make such a row, so that the effect does not happen a second time.
CREATE TABLE remembered_effects (
    org_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('delivery', 'slot', 'inbound', 'interaction')),
    effect_id uuid NOT NULL,
    effect_key bytea NOT NULL,
    state text NOT NULL CHECK (state IN ('sent', 'dead', 'unknown', 'fired', 'accepted', 'used')),
    happened_at timestamptz NOT NULL,
    generation bigint NOT NULL,
    PRIMARY KEY (org_id, kind, effect_id, effect_key)
);
COMMENT ON COLUMN remembered_effects.org_id IS 'no reference: the org may be younger than the backup';
COMMENT ON COLUMN remembered_effects.effect_id IS 'the delivery; the workflow of the slot; the channel of the inbound message; the interaction';
COMMENT ON COLUMN remembered_effects.effect_key IS 'slot: its due time, microseconds since 1970 as 8 bytes, most significant first; inbound: keyed digest of the provider''s event id; else empty';
COMMENT ON COLUMN remembered_effects.state IS 'unknown: begun by the lost system, with no word of how it ended';
COMMENT ON COLUMN remembered_effects.happened_at IS 'by the clock of the lost system';
COMMENT ON COLUMN remembered_effects.generation IS 'the generation whose restore remembered it';
