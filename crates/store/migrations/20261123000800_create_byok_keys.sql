-- Keys that users bring: metadata, and the key itself under envelope encryption.
CREATE TABLE byok_keys (
    org_id uuid NOT NULL REFERENCES orgs,
    byok_key_id uuid NOT NULL,
    provider text NOT NULL,
    label text NOT NULL,
    last_four text NOT NULL,
    ciphertext bytea NOT NULL,
    wrapped_key bytea NOT NULL,
    key_version text NOT NULL,
    created_at timestamptz NOT NULL,
    revoked_at timestamptz,
    PRIMARY KEY (org_id, byok_key_id)
);
COMMENT ON COLUMN byok_keys.ciphertext IS 'empty once the key is revoked, like wrapped_key';
COMMENT ON COLUMN byok_keys.wrapped_key IS 'the data key of this record, wrapped by the KMS key of key_version';
COMMENT ON COLUMN byok_keys.revoked_at IS 'NULL: in force';
