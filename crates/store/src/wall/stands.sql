-- wall_stands
SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1 AND pg_has_role(oid, 'MEMBER')) AND EXISTS (
    SELECT FROM pg_class c JOIN pg_roles r ON r.rolname = $1
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND has_table_privilege(r.oid, c.oid, 'SELECT')
)
