-- What is not sealed yet has no entry there: each command is a record of the trail, and an index less is written with it. The
-- running release finds the same rows by it.
DROP INDEX audit_records_seal;
CREATE UNIQUE INDEX audit_records_seal ON audit_records (org_id, seal_number) WHERE seal_number IS NOT NULL;
