-- The backup that an archive took last, noted after it as the oldest is. The running release notes none, and leaves what stands there.
ALTER TABLE archives
    ADD COLUMN newest_backup_id uuid,
    ADD COLUMN newest_backup_at timestamptz,
    ADD COLUMN newest_backup_generation bigint,
    ADD CONSTRAINT archives_newest_backup_check
        CHECK (num_nulls(newest_backup_id, newest_backup_at, newest_backup_generation) IN (0, 3));
COMMENT ON COLUMN archives.newest_backup_id IS 'the backup that it took last; NULL: an older release wrote the row';
COMMENT ON COLUMN archives.newest_backup_at IS 'the snapshot of that backup';
COMMENT ON COLUMN archives.newest_backup_generation IS 'whose life that backup is of. What a restore brings back was noted before its own backup: a row of an earlier generation tells of no newest backup';
