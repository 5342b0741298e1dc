-- What becomes of a prompt that comes while its session is at work. The running release ignores it, and carries a prompt that
-- interrupts out in its turn.
ALTER TABLE commands ADD COLUMN while_running text CHECK (while_running IN ('reject', 'interrupt'));
COMMENT ON COLUMN commands.while_running IS 'reject: it was taken because nothing ran; interrupt: it goes before those that wait, as does the abort before it, which makes way for it; NULL: it waits';
CREATE INDEX commands_interrupting ON commands (org_id, session_id, ordinal)
    WHERE state = 'pending' AND while_running = 'interrupt';
