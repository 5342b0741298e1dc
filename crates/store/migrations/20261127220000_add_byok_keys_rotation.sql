-- Keys that are rotated, and whose provider is asked whether it takes them. The running release leaves all of it as it is.
ALTER TABLE byok_keys
    ADD COLUMN secret_number int NOT NULL DEFAULT 1 CHECK (secret_number >= 1),
    ADD COLUMN rotated_at timestamptz,
    ADD COLUMN validation text CHECK (validation IN ('valid', 'refused', 'unreachable')),
    ADD COLUMN validated_at timestamptz,
    ADD COLUMN version bigint NOT NULL DEFAULT 1,
    ADD CHECK ((validation IS NULL) = (validated_at IS NULL));
COMMENT ON COLUMN byok_keys.secret_number IS 'which of the secrets that were brought under this id is the one that is sealed here, from 1; a restore compares it with the recovery ledger';
COMMENT ON COLUMN byok_keys.rotated_at IS 'NULL: it has its first secret';
COMMENT ON COLUMN byok_keys.validation IS 'what its provider said of the present secret when it was asked last; NULL: it was not asked';
COMMENT ON COLUMN byok_keys.validated_at IS 'when it was asked; NULL: never, of the present secret';
COMMENT ON COLUMN byok_keys.version IS 'grows with every change that people see; with created_at it names a state of the key';
