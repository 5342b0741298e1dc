-- What a restore remembers of people in chats whose row is not in the backup.
ALTER TABLE remembered_effects DROP CONSTRAINT remembered_effects_kind_check;
ALTER TABLE remembered_effects ADD CONSTRAINT remembered_effects_kind_check
    CHECK (kind IN ('delivery', 'slot', 'inbound', 'interaction', 'identity'));
ALTER TABLE remembered_effects DROP CONSTRAINT remembered_effects_state_check;
ALTER TABLE remembered_effects ADD CONSTRAINT remembered_effects_state_check
    CHECK (state IN ('sent', 'dead', 'unknown', 'again', 'not_sent', 'fired', 'accepted', 'used', 'restricted'));
COMMENT ON COLUMN remembered_effects.effect_id IS 'the delivery; the workflow of the slot; the channel of the inbound message; zeros for an interaction and an identity';
COMMENT ON COLUMN remembered_effects.effect_key IS 'slot: its due time, microseconds since 1970 as 8 bytes, most significant first; inbound: keyed digest of the provider''s event id; interaction, identity: its digest; else empty';
