-- Which version of the adapter key is the current one. The running release knows nothing of it.
CREATE TABLE key_rotations (
    version text PRIMARY KEY CHECK (version COLLATE "C" ~ '^[!-~]{1,128}$'),
    rotated_at timestamptz NOT NULL
);
COMMENT ON TABLE key_rotations IS 'the newest is the current version; none: the adapter key was never rotated';
COMMENT ON COLUMN key_rotations.rotated_at IS 'when an operator, or a restore by the word of the recovery ledger, made it the current one';
