-- A slot that the lost system was about to fire when it was lost, and of which nobody knows whether it did: a restore
-- settles it without a run. The running release writes no such state, and shows it as it is.
ALTER TABLE slots DROP CONSTRAINT slots_state_check;
ALTER TABLE slots ADD CONSTRAINT slots_state_check CHECK (state IN ('fired', 'skipped', 'unknown'));
COMMENT ON COLUMN slots.reason IS 'why it was skipped or is unknown, or how a slot without a run is known to have fired, for people; NULL: fired here';
