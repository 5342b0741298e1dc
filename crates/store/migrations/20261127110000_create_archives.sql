-- Archives that took a backup of this system, so that somebody is told before the recovery ledger forgets what a restore of the
-- oldest would need. The running release knows nothing of it.
CREATE TABLE archives (
    archive_id uuid PRIMARY KEY,
    oldest_backup_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL
);
COMMENT ON COLUMN archives.oldest_backup_at IS 'the snapshot of the oldest backup of this system that lay in it';
COMMENT ON COLUMN archives.seen_at IS 'when the newest backup was put into it; what lies there now may be less';
