-- Which state of a role or a membership an editor has seen. The running release leaves it as it is.
ALTER TABLE roles ADD COLUMN version bigint NOT NULL DEFAULT 1;
ALTER TABLE memberships ADD COLUMN version bigint NOT NULL DEFAULT 1;
COMMENT ON COLUMN roles.version IS 'grows with every change; with created_at it names a state of the role';
COMMENT ON COLUMN memberships.version IS 'grows with every change; with created_at it names a state of the membership';
