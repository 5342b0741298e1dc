-- What is not sealed yet has no entry there: each command is a record of the trail, and an index less is written with it. The
-- running release finds the same rows by it, and can read while it is made.
CREATE UNIQUE INDEX audit_records_sealed ON audit_records (org_id, seal_number) WHERE seal_number IS NOT NULL;
DROP INDEX audit_records_seal;
ALTER INDEX audit_records_sealed RENAME TO audit_records_seal;
