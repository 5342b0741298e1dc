-- wall_raise
DO $$
DECLARE
    t record;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('wall_raise', 0));
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'cowork_runtime') THEN
        BEGIN
            CREATE ROLE cowork_runtime NOLOGIN;
        EXCEPTION
            -- Another database of the server was quicker.
            WHEN duplicate_object OR unique_violation THEN NULL;
            -- Somebody else has to make it; until then there is no second wall.
            WHEN insufficient_privilege THEN RETURN;
        END;
    END IF;
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        BEGIN
            EXECUTE format('GRANT cowork_runtime TO %I', current_user);
        EXCEPTION
            -- Then this login does not step down; a login that was made a member of it does.
            WHEN insufficient_privilege THEN NULL;
        END;
    END IF;
    GRANT USAGE ON SCHEMA public TO cowork_runtime;
    FOR t IN
        SELECT c.oid::regclass AS name, c.relname FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
    LOOP
        -- What begins a life of the system, and what brought its schema here, is its owner's.
        IF t.relname IN ('_sqlx_migrations', 'generations', 'restore_reports') THEN
            EXECUTE format('GRANT SELECT ON %s TO cowork_runtime', t.name);
        ELSE
            EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO cowork_runtime', t.name);
        END IF;
    END LOOP;
    GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO cowork_runtime;
END
$$
