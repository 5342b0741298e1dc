-- Presets of an org: what its sessions and workflows begin with, under a name. The running release knows nothing of it.
CREATE TABLE profiles (
    org_id uuid NOT NULL REFERENCES orgs,
    name text NOT NULL CHECK (name ~ '^[a-z][a-z0-9-]{0,49}$'),
    agent text NOT NULL CHECK (length(agent) BETWEEN 1 AND 100),
    tags text[] NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (org_id, name)
);
COMMENT ON COLUMN profiles.tags IS 'of sessions that begin with it; in lower case, sorted';
COMMENT ON COLUMN profiles.version IS 'grows with every change; with created_at it names a state of the profile';
ALTER TABLE profiles ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON profiles USING (
    CASE current_setting('cowork.org', true) WHEN '*' THEN true WHEN org_id::text THEN true ELSE false END);
