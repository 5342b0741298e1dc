-- tenant_walls
-- What is missing in the second wall between tenants; no row in a system that is whole. Grants are looked at where there is
-- any: an installation whose owner could not make the role has none, and none is missing then.
WITH tables AS (
    SELECT c.oid, c.relname, c.relrowsecurity,
        EXISTS (
            SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'org_id' AND NOT a.attisdropped
        ) AS tenants
    FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
), wanted AS (
    SELECT t.oid, t.relname, privilege FROM tables t, unnest(
        CASE WHEN t.relname IN ('_sqlx_migrations', 'generations', 'restore_reports') THEN ARRAY['SELECT']
            ELSE ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE'] END) AS privilege
    -- Ours: what an operator added is theirs.
    WHERE t.tenants OR t.relname IN ('_sqlx_migrations', 'account_identities', 'accounts', 'archives', 'generations', 'key_rotations',
        'ledger_outbox', 'maintenance', 'restore_reports', 'role_instances', 'subject_erasures')
), granted AS (
    SELECT w.relname, w.privilege, has_table_privilege(r.oid, w.oid, w.privilege) AS present
    FROM wanted w JOIN pg_roles r ON r.rolname = 'cowork_runtime'
)
SELECT relname::text AS table_name, 'row security is off' AS fault FROM tables WHERE tenants AND NOT relrowsecurity
UNION ALL
SELECT t.relname::text, 'its policy is missing' FROM tables t
WHERE t.tenants AND NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = t.oid)
UNION ALL
SELECT t.relname::text, 'its policy is another' FROM tables t JOIN pg_policy p ON p.polrelid = t.oid
WHERE t.tenants AND (p.polname <> 'tenant' OR p.polcmd <> '*' OR NOT p.polpermissive OR p.polwithcheck IS NOT NULL
    OR btrim(regexp_replace(pg_get_expr(p.polqual, p.polrelid), '\s+', ' ', 'g')) <>
        'CASE ( SELECT CASE current_setting(''cowork.org''::text, true)'
        ' WHEN ''*''::text THEN ''00000000-0000-0000-0000-000000000000''::uuid WHEN ''''::text THEN NULL::uuid'
        ' ELSE NULLIF((current_setting(''cowork.org''::text, true))::uuid, ''00000000-0000-0000-0000-000000000000''::uuid) END AS "nullif")'
        ' WHEN org_id THEN true WHEN ''00000000-0000-0000-0000-000000000000''::uuid THEN true ELSE false END')
UNION ALL
SELECT relname::text, 'the runtime role may not ' || privilege FROM granted
WHERE NOT present AND EXISTS (SELECT FROM granted WHERE present)
UNION ALL
SELECT t.relname::text, 'the runtime role owns it' FROM tables t JOIN pg_class c USING (oid)
WHERE pg_get_userbyid(c.relowner) = 'cowork_runtime'
ORDER BY 1, 2
