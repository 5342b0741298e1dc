-- Where a project source comes from that was fetched from a git repository. The running release makes none, and shows those that there are
-- without it.
ALTER TABLE project_sources
    ADD COLUMN repository_url text,
    ADD COLUMN repository_ref text,
    ADD COLUMN repository_commit text,
    DROP CONSTRAINT project_sources_format_check,
    ADD CONSTRAINT project_sources_format_check CHECK (format IN ('tar.gz', 'zip', 'git')),
    ADD CONSTRAINT project_sources_repository_check CHECK (
        (format = 'git') = (repository_url IS NOT NULL) AND (repository_url IS NULL) = (repository_ref IS NULL)
        AND (repository_url IS NULL) = (repository_commit IS NULL));
COMMENT ON COLUMN project_sources.format IS 'of what came in: an archive, or git: the files of a commit; the blob is packed in a form of our own (crate projects)';
COMMENT ON COLUMN project_sources.repository_url IS 'without a credential; NULL: it was uploaded';
COMMENT ON COLUMN project_sources.repository_ref IS 'branch, tag or commit, as it was asked for; NULL: it was uploaded';
COMMENT ON COLUMN project_sources.repository_commit IS 'lower-case hex: what the ref led to when it was fetched; NULL: it was uploaded';
