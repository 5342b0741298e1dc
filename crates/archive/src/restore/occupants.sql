-- restore_occupants: NULL if nothing was ever created in this database, besides extensions
WITH namespaces AS (
    SELECT oid, nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema'
),
found AS (
    SELECT 'the relation ' || format('%I.%I', n.nspname, c.relname) AS what, c.oid, 'pg_class'::regclass AS class
    FROM pg_class c JOIN namespaces n ON n.oid = c.relnamespace
    UNION ALL
    SELECT 'the function ' || format('%I.%I', n.nspname, p.proname), p.oid, 'pg_proc'::regclass
    FROM pg_proc p JOIN namespaces n ON n.oid = p.pronamespace
    UNION ALL
    SELECT 'the type ' || format('%I.%I', n.nspname, t.typname), t.oid, 'pg_type'::regclass
    FROM pg_type t JOIN namespaces n ON n.oid = t.typnamespace
    UNION ALL
    SELECT 'the schema ' || quote_ident(nspname), oid, 'pg_namespace'::regclass FROM namespaces WHERE nspname <> 'public'
)
SELECT min(what COLLATE "C")
FROM found f
WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = f.class AND d.objid = f.oid AND d.deptype = 'e')
