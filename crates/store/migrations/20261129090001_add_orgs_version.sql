-- Which state of an org an editor has seen. The running release leaves it as it is.
ALTER TABLE orgs ADD COLUMN version bigint NOT NULL DEFAULT 1;
COMMENT ON COLUMN orgs.version IS 'grows with every change of the name; with created_at it names a state of the org';
