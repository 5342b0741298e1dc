-- Objects that no row names any more. They are deleted only after a grace time, for a backup in flight may still copy them.
CREATE TABLE blob_deletions (
    org_id uuid NOT NULL REFERENCES orgs,
    blob_key text NOT NULL,
    state text NOT NULL CHECK (state IN ('waiting', 'deleting', 'deleted')),
    due_at timestamptz NOT NULL,
    deleted_at timestamptz,
    PRIMARY KEY (org_id, blob_key)
);
CREATE INDEX blob_deletions_due ON blob_deletions (due_at);
COMMENT ON COLUMN blob_deletions.state IS 'waiting: a row that names the object again takes this one away; deleting: nobody may name it any more; deleted: kept a while for a save that had begun before';
COMMENT ON COLUMN blob_deletions.due_at IS 'of a deleted one: when this row may go';
COMMENT ON COLUMN blob_deletions.deleted_at IS 'NULL: the object may still be there';
