-- What workspaces of sessions begin with. The running release knows nothing of it, and can't complete or show an upload that
-- belongs to no session.
CREATE TABLE project_sources (
    org_id uuid NOT NULL REFERENCES orgs,
    project_source_id uuid NOT NULL,
    name text NOT NULL,
    format text NOT NULL CHECK (format IN ('tar.gz', 'zip')),
    files int NOT NULL CHECK (files > 0),
    bytes bigint NOT NULL CHECK (bytes >= 0),
    left_out jsonb NOT NULL,
    left_out_count int NOT NULL CHECK (left_out_count >= 0),
    blob_key text NOT NULL,
    created_by uuid,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, project_source_id),
    FOREIGN KEY (org_id, blob_key) REFERENCES blobs
);
CREATE INDEX project_sources_blob ON project_sources (org_id, blob_key);
CREATE INDEX project_sources_creator ON project_sources (created_by);
ALTER TABLE project_sources ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON project_sources USING (
    CASE current_setting('cowork.org', true) WHEN '*' THEN true WHEN org_id::text THEN true ELSE false END);
COMMENT ON COLUMN project_sources.format IS 'of the archive that came in; the blob is packed in a form of our own (crate projects)';
COMMENT ON COLUMN project_sources.bytes IS 'of all files, unpacked';
COMMENT ON COLUMN project_sources.left_out IS 'the first entries of the archive that no workspace gets: a list of path and why';
COMMENT ON COLUMN project_sources.created_by IS 'NULL: no person did';

ALTER TABLE sessions ADD COLUMN project_source_id uuid;
CREATE INDEX sessions_project_source ON sessions (org_id, project_source_id) WHERE project_source_id IS NOT NULL;
COMMENT ON COLUMN sessions.project_source_id IS 'what its workspace begins with; never changes, and stays when the source is deleted; NULL: an empty folder';

ALTER TABLE uploads ALTER COLUMN session_id DROP NOT NULL;
COMMENT ON COLUMN uploads.session_id IS 'NULL: it becomes a project source, not an artifact';
