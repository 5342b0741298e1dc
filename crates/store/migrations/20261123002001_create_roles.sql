-- Roles that orgs make: names for sets of permissions. The running release can't read a membership with a role that it does not know,
-- so roles are used when no older process is left.
CREATE TABLE roles (
    org_id uuid NOT NULL REFERENCES orgs,
    name text NOT NULL CHECK (name ~ '^[a-z][a-z0-9-]{0,49}$'),
    permissions text[] NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, name),
    CHECK (name NOT IN ('owner', 'admin', 'member', 'viewer', 'operator', 'auditor'))
);
COMMENT ON COLUMN roles.permissions IS 'names such as sessions.read; none above orgs';
ALTER TABLE memberships DROP CONSTRAINT memberships_role_check;
ALTER TABLE memberships ADD CONSTRAINT memberships_role_check CHECK (role ~ '^[a-z][a-z0-9-]{0,49}$');
COMMENT ON COLUMN memberships.role IS 'one that is built in, or one of the org''s; one that is not there permits nothing';
