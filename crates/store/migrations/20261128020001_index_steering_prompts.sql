-- What goes before those that wait: one index for both kinds, empty almost always.
DROP INDEX commands_interrupting;
CREATE INDEX commands_urgent ON commands (org_id, session_id, ordinal)
    WHERE state = 'pending' AND while_running IN ('interrupt', 'steer');
