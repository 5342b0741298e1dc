-- Who names a blob: asked of each blob that an erasure may leave without a name.
CREATE INDEX artifacts_blob ON artifacts (org_id, blob_key);
CREATE INDEX checkpoints_manifest ON checkpoints (org_id, manifest_key);
CREATE INDEX checkpoint_blobs_blob ON checkpoint_blobs (org_id, blob_key);
