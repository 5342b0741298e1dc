-- A hash chain over each org's audit trail, so that a hole or a change can be seen. The running release writes records without
-- it; the scheduler of this one seals them.
ALTER TABLE audit_records
    ADD COLUMN seal_number bigint CHECK (seal_number >= 1),
    ADD COLUMN seal_salt bytea CHECK (length(seal_salt) = 32),
    ADD COLUMN seal_detail bytea CHECK (length(seal_detail) = 32),
    ADD COLUMN seal_hash bytea CHECK (length(seal_hash) = 32),
    ADD CHECK ((seal_number IS NULL) = (seal_hash IS NULL) AND (seal_number IS NULL) = (seal_detail IS NULL));
CREATE UNIQUE INDEX audit_records_seal ON audit_records (org_id, seal_number);
CREATE INDEX audit_records_unsealed ON audit_records (org_id, position) WHERE seal_number IS NULL;
COMMENT ON COLUMN audit_records.seal_number IS 'place in the chain of the org, from 1, no holes; in the order of sealing, so no late commit slips under one. NULL: not sealed yet';
COMMENT ON COLUMN audit_records.seal_salt IS 'random; with detail it gives seal_detail. NULL: not sealed yet, or what detail quoted was erased with a person';
COMMENT ON COLUMN audit_records.seal_detail IS 'SHA-256 of salt and detail as they were sealed';
COMMENT ON COLUMN audit_records.seal_hash IS 'SHA-256 of the hash before and this record';

-- Where each chain ends. Without it nobody could see that its newest records were taken away.
CREATE TABLE audit_heads (
    org_id uuid PRIMARY KEY REFERENCES orgs,
    seal_number bigint NOT NULL CHECK (seal_number >= 0),
    seal_hash bytea NOT NULL CHECK (length(seal_hash) = 32)
);
COMMENT ON COLUMN audit_heads.seal_number IS 'of the newest sealed record; 0: none is';
