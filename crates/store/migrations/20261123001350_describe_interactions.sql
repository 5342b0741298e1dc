-- An interaction is known by its digest alone.
COMMENT ON COLUMN remembered_effects.effect_id IS 'the delivery; the workflow of the slot; the channel of the inbound message; zeros for an interaction';
COMMENT ON COLUMN remembered_effects.effect_key IS 'slot: its due time, microseconds since 1970 as 8 bytes, most significant first; inbound: keyed digest of the provider''s event id; interaction: its digest; else empty';
