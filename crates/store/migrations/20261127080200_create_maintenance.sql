-- Whether the system is read and not written. The running release does not look at it.
CREATE TABLE maintenance (
    generation bigint PRIMARY KEY REFERENCES generations,
    since timestamptz NOT NULL,
    reason text NOT NULL CHECK (length(reason) BETWEEN 1 AND 200)
);
COMMENT ON TABLE maintenance IS 'a row of the current generation: it is; a row of an older one says nothing of this system';
COMMENT ON COLUMN maintenance.reason IS 'for people; shown to everybody who is refused';
