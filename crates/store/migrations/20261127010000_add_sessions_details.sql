-- What people say of a session: tags, and whether it is put away. The running release ignores it.
ALTER TABLE sessions
    ADD COLUMN tags text[] NOT NULL DEFAULT '{}' CHECK (cardinality(tags) <= 20),
    ADD COLUMN archived_at timestamptz,
    ADD COLUMN version bigint NOT NULL DEFAULT 1;
COMMENT ON COLUMN sessions.tags IS 'lower case, sorted, each once';
COMMENT ON COLUMN sessions.archived_at IS 'since when it takes no prompts. NULL: it is not archived';
COMMENT ON COLUMN sessions.version IS 'grows with every change of title, tags and archived_at; events leave it as it is';
