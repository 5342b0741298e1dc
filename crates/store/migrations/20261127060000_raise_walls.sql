-- The second wall between tenants: a connection sees the rows of the org that it names, and without a name none. The owner of
-- the tables is not bound by it, so the running release, which works as the owner, sees what it saw.
--
-- A CASE, because the planner takes one for half of the rows, and what looks like a comparison for hardly any; and one of text, because
-- what is no org then hides everything instead of failing.
--
-- Here stand the tables that there are; one that comes later brings its policy along.
DO $$
DECLARE
    t regclass;
BEGIN
    FOR t IN
        SELECT c.oid FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attname = 'org_id' AND NOT a.attisdropped
    LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format(
            'CREATE POLICY tenant ON %s USING ('
            'CASE current_setting(''cowork.org'', true) WHEN ''*'' THEN true WHEN org_id::text THEN true ELSE false END)', t);
    END LOOP;
END
$$;
