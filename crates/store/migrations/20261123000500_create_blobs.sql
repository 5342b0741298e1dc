-- Every object that a row names, once: key, size and SHA-256 of what is stored. A blob is durable before its row is.
CREATE TABLE blobs (
    org_id uuid NOT NULL REFERENCES orgs,
    blob_key text NOT NULL,
    size bigint NOT NULL CHECK (size >= 0),
    sha256 bytea NOT NULL CHECK (length(sha256) = 32),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, blob_key)
);
COMMENT ON COLUMN blobs.size IS 'bytes as stored';

CREATE TABLE artifacts (
    org_id uuid NOT NULL,
    artifact_id uuid NOT NULL,
    session_id uuid NOT NULL,
    name text NOT NULL,
    media_type text NOT NULL,
    blob_key text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, artifact_id),
    FOREIGN KEY (org_id, session_id) REFERENCES sessions,
    FOREIGN KEY (org_id, blob_key) REFERENCES blobs
);
CREATE INDEX artifacts_session ON artifacts (org_id, session_id, artifact_id);

CREATE TABLE checkpoints (
    org_id uuid NOT NULL,
    checkpoint_id uuid NOT NULL,
    session_id uuid NOT NULL,
    sequence bigint NOT NULL,
    manifest_key text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, checkpoint_id),
    FOREIGN KEY (org_id, session_id) REFERENCES sessions,
    FOREIGN KEY (org_id, manifest_key) REFERENCES blobs
);
CREATE INDEX checkpoints_session ON checkpoints (org_id, session_id, sequence);
COMMENT ON COLUMN checkpoints.sequence IS 'the newest event that the saved state covers';

-- The content blobs of a checkpoint. Several checkpoints of an org share a blob.
CREATE TABLE checkpoint_blobs (
    org_id uuid NOT NULL,
    checkpoint_id uuid NOT NULL,
    blob_key text NOT NULL,
    PRIMARY KEY (org_id, checkpoint_id, blob_key),
    FOREIGN KEY (org_id, checkpoint_id) REFERENCES checkpoints,
    FOREIGN KEY (org_id, blob_key) REFERENCES blobs
);

ALTER TABLE sessions ADD FOREIGN KEY (org_id, checkpoint_id) REFERENCES checkpoints;
