-- Tenants, the people in them, and what they sign in with.
CREATE TABLE orgs (
    org_id uuid PRIMARY KEY,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    created_at timestamptz NOT NULL
);
CREATE TABLE accounts (
    account_id uuid PRIMARY KEY,
    email text NOT NULL UNIQUE CHECK (length(email) BETWEEN 3 AND 320),
    display_name text NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE TABLE memberships (
    org_id uuid NOT NULL REFERENCES orgs,
    account_id uuid NOT NULL REFERENCES accounts,
    role text NOT NULL CHECK (role IN ('owner', 'admin', 'member', 'viewer')),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, account_id)
);
CREATE TABLE api_tokens (
    org_id uuid NOT NULL REFERENCES orgs,
    token_id uuid NOT NULL,
    account_id uuid NOT NULL REFERENCES accounts,
    name text NOT NULL,
    token_hash bytea NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    last_four text NOT NULL,
    scopes text[] NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    PRIMARY KEY (org_id, token_id)
);
COMMENT ON COLUMN api_tokens.token_hash IS 'SHA-256 of the token, which has 256 random bits and is shown once';
COMMENT ON COLUMN api_tokens.scopes IS 'read, write, operator';
COMMENT ON COLUMN api_tokens.expires_at IS 'NULL: never';
COMMENT ON COLUMN api_tokens.revoked_at IS 'NULL: in force';
