-- Until when a rotation leaves the secret of before in force. The running release takes none of before.
ALTER TABLE triggers
    ADD COLUMN overlap_until timestamptz,
    ADD COLUMN overlap_version text,
    ADD CHECK ((overlap_until IS NULL) = (overlap_version IS NULL));
COMMENT ON COLUMN triggers.overlap_until IS 'until then the secret with the number before secret_number signs calls, too; NULL: it is void';
COMMENT ON COLUMN triggers.overlap_version IS 'of the configured channel secret, for the secret of before; NULL with overlap_until';
