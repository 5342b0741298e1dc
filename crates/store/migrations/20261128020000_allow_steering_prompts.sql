-- A prompt that steers: for the turn that runs. The running release carries one out in its turn, and its web role can't list the
-- commands of a session that has one.
ALTER TABLE commands DROP CONSTRAINT commands_while_running_check;
ALTER TABLE commands ADD CONSTRAINT commands_while_running_check CHECK (while_running IN ('reject', 'interrupt', 'steer'));
COMMENT ON COLUMN commands.while_running IS 'reject: it was taken because nothing ran; interrupt: it goes before those that wait, as does the abort before it, which makes way for it; steer: the turn that runs hears it and it ends with that turn, without an attempt of its own, or it goes before those that wait; NULL: it waits';
