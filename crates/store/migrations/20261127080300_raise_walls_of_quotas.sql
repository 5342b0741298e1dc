-- The second wall between tenants, at the tables that came after it.
ALTER TABLE usage_counters ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON usage_counters USING (
    CASE current_setting('cowork.org', true) WHEN '*' THEN true WHEN org_id::text THEN true ELSE false END);
ALTER TABLE quotas ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON quotas USING (
    CASE current_setting('cowork.org', true) WHEN '*' THEN true WHEN org_id::text THEN true ELSE false END);
