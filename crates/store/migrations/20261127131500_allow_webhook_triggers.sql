-- A trigger that signed calls from outside start a run by. The running release makes none, and can't read a workflow that has
-- one: make them when no process of an older build is left.
ALTER TABLE triggers DROP CONSTRAINT triggers_kind_check;
ALTER TABLE triggers ADD CONSTRAINT triggers_kind_check CHECK (kind IN ('cron', 'interval', 'once', 'webhook'));
ALTER TABLE triggers ADD COLUMN secret_version text;
ALTER TABLE triggers ADD COLUMN secret_number int CHECK (secret_number >= 1);
ALTER TABLE triggers ADD CONSTRAINT triggers_secret_check
    CHECK ((secret_version IS NOT NULL) = (kind = 'webhook') AND (secret_number IS NOT NULL) = (kind = 'webhook'));
CREATE UNIQUE INDEX triggers_trigger ON triggers (trigger_id);
COMMENT ON COLUMN triggers.spec IS 'cron: {expression, time_zone}; interval: {every_s, anchor_at}; once: {at}; webhook: {}';
COMMENT ON COLUMN triggers.secret_version IS 'version of the channel secret that its signing secret is derived from; NULL: it takes no calls';
COMMENT ON COLUMN triggers.secret_number IS 'which of the trigger''s signing secrets is in force, from 1; only grows; NULL: it takes no calls';
