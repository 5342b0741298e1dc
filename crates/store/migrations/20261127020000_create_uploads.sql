-- Files that people send in parts, until they are artifacts or are given up. The running release knows nothing of it.
CREATE TABLE uploads (
    org_id uuid NOT NULL,
    upload_id uuid NOT NULL,
    session_id uuid NOT NULL,
    name text NOT NULL,
    media_type text NOT NULL,
    size bigint NOT NULL CHECK (size BETWEEN 0 AND 268435456),
    sha256 bytea NOT NULL CHECK (length(sha256) = 32),
    artifact_id uuid,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, upload_id),
    FOREIGN KEY (org_id, session_id) REFERENCES sessions
);
CREATE INDEX uploads_expiry ON uploads (expires_at);
CREATE INDEX uploads_session ON uploads (org_id, session_id);
COMMENT ON COLUMN uploads.size IS 'bytes, as declared; what is completed has as many';
COMMENT ON COLUMN uploads.sha256 IS 'as declared; what is completed has it';
COMMENT ON COLUMN uploads.artifact_id IS 'what it became; NULL: it is not complete';
COMMENT ON COLUMN uploads.expires_at IS 'when it is forgotten, complete or not';
CREATE TABLE upload_parts (
    org_id uuid NOT NULL,
    upload_id uuid NOT NULL,
    part int NOT NULL CHECK (part BETWEEN 1 AND 256),
    blob_key text NOT NULL,
    PRIMARY KEY (org_id, upload_id, part),
    FOREIGN KEY (org_id, upload_id) REFERENCES uploads,
    FOREIGN KEY (org_id, blob_key) REFERENCES blobs
);
CREATE INDEX upload_parts_blob ON upload_parts (org_id, blob_key);
COMMENT ON COLUMN upload_parts.part IS 'from 1; which bytes it has follows from the size of the upload';
