-- What an org allows: a row per org that has rules. The running release knows nothing of it, and keeps no rule.
CREATE TABLE org_policies (
    org_id uuid NOT NULL PRIMARY KEY REFERENCES orgs,
    agents text[],
    token_days_max bigint CHECK (token_days_max BETWEEN 1 AND 3650),
    channel_hosts text[],
    member_domains text[],
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    version bigint NOT NULL DEFAULT 1
);
COMMENT ON COLUMN org_policies.agents IS 'that sessions, workflows and profiles may have; NULL: any';
COMMENT ON COLUMN org_policies.token_days_max IS 'how long a new API token may live, in days; NULL: for ever';
COMMENT ON COLUMN org_policies.channel_hosts IS 'that channels may lead to, as patterns (domain::policy); NULL: any';
COMMENT ON COLUMN org_policies.member_domains IS 'of addresses that may become members, as patterns (domain::policy); NULL: any';
COMMENT ON COLUMN org_policies.version IS 'grows with every change; with created_at it names a state of the policy';
ALTER TABLE org_policies ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON org_policies USING (
    CASE current_setting('cowork.org', true) WHEN '*' THEN true WHEN org_id::text THEN true ELSE false END);
