-- The data key of an org, under which its checkpoints are encrypted. Wrapped by the KMS.
CREATE TABLE org_keys (
    org_id uuid PRIMARY KEY REFERENCES orgs,
    wrapped_key bytea NOT NULL,
    key_version text NOT NULL,
    created_at timestamptz NOT NULL
);
COMMENT ON COLUMN org_keys.key_version IS 'version of the KMS key that wrapped it';
