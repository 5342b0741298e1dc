-- The wall between tenants asks the setting once for each table of a statement, where it asked it for each row: a list of 50 sessions
-- took the server a third longer with the wall than without (decision 0115). The rows that a connection sees are the same; the running
-- release says its orgs as before.
--
-- Everybody (`*`) is the nil UUID here; who says that by itself is nobody. What is neither that nor a UUID nor nothing ends the statement.
DO $$
DECLARE
    tenants regclass[] := (
        SELECT array_agg(polrelid::regclass ORDER BY polrelid) FROM pg_policy JOIN pg_class ON pg_class.oid = polrelid
        WHERE polname = 'tenant' AND relnamespace = 'public'::regnamespace);
    t regclass;
BEGIN
    -- Who works meanwhile holds some of the tables and waits for others. So all are locked or none, and whoever waits for this goes on
    -- long before Postgres would look for a deadlock.
    PERFORM set_config('lock_timeout', '200ms', true);
    FOR try IN 1..100 LOOP
        BEGIN
            EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', array_to_string(tenants, ', '));
            EXIT;
        EXCEPTION WHEN lock_not_available THEN
            IF try = 100 THEN
                RAISE;
            END IF;
        END;
    END LOOP;
    FOREACH t IN ARRAY tenants LOOP
        EXECUTE format(
            'ALTER POLICY tenant ON %s USING ('
            'CASE (SELECT CASE current_setting(''cowork.org'', true)'
            ' WHEN ''*'' THEN ''00000000-0000-0000-0000-000000000000''::uuid WHEN '''' THEN NULL'
            ' ELSE nullif(current_setting(''cowork.org'', true)::uuid, ''00000000-0000-0000-0000-000000000000''::uuid) END)'
            ' WHEN org_id THEN true WHEN ''00000000-0000-0000-0000-000000000000''::uuid THEN true ELSE false END)', t);
    END LOOP;
END
$$;
