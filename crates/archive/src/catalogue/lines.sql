-- catalogue_lines
WITH namespaces AS (
    SELECT oid, nspname, nspacl, nspowner FROM pg_namespace
    WHERE nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema'
),
extended AS (
    SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
),
relations AS (
    SELECT c.*, format('%I.%I', n.nspname, c.relname) AS full_name
    FROM pg_class c JOIN namespaces n ON n.oid = c.relnamespace
    WHERE NOT EXISTS (SELECT FROM extended e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid)
),
attributes AS (
    SELECT a.*, r.full_name, r.relowner,
           row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum) AS place
    FROM pg_attribute a JOIN relations r ON r.oid = a.attrelid
    WHERE a.attnum > 0 AND NOT a.attisdropped AND r.relkind IN ('r', 'p', 'v', 'm', 'f', 'c')
),
routines AS (
    SELECT p.*, format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)) AS full_name
    FROM pg_proc p JOIN namespaces n ON n.oid = p.pronamespace
    WHERE NOT EXISTS (SELECT FROM extended e WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid)
),
-- A missing list of grants means the built-in one, so both spellings give the same lines.
granted AS (
    SELECT 'schema' AS kind, quote_ident(nspname) AS full_name, nspowner AS owner,
           COALESCE(nspacl, acldefault('n', nspowner)) AS acl
    FROM namespaces
    UNION ALL
    SELECT CASE relkind WHEN 'S' THEN 'sequence' ELSE 'relation' END, full_name, relowner,
           COALESCE(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner))
    FROM relations WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    UNION ALL
    SELECT 'column', format('%s.%I', full_name, attname), relowner, attacl FROM attributes WHERE attacl IS NOT NULL
    UNION ALL
    SELECT 'function', full_name, proowner, COALESCE(proacl, acldefault('f', proowner)) FROM routines
)
SELECT 'schema ' || quote_ident(nspname) FROM namespaces
UNION ALL
SELECT format('extension %I %s', extname, extversion) FROM pg_extension
UNION ALL
SELECT format('relation %s kind=%s persistence=%s row_security=%s,%s options=%s partition=%s', full_name, relkind,
              relpersistence, relrowsecurity, relforcerowsecurity, reloptions, pg_get_expr(relpartbound, oid))
FROM relations WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c')
UNION ALL
SELECT format('column %s.%I place=%s type=%s not_null=%s default=%s identity=%s generated=%s collation=%s',
              a.full_name, a.attname, a.place, format_type(a.atttypid, a.atttypmod), a.attnotnull,
              pg_get_expr(d.adbin, d.adrelid), a.attidentity, a.attgenerated, co.collname)
FROM attributes a
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN pg_collation co ON co.oid = a.attcollation
UNION ALL
SELECT format('constraint %s %I valid=%s %s', r.full_name, k.conname, k.convalidated, pg_get_constraintdef(k.oid))
FROM pg_constraint k JOIN relations r ON r.oid = k.conrelid
WHERE k.contype IN ('c', 'f', 'p', 'u', 'x')
UNION ALL
SELECT format('index %s valid=%s %s', r.full_name, i.indisvalid AND i.indisready, pg_get_indexdef(i.indexrelid))
FROM pg_index i JOIN relations r ON r.oid = i.indrelid
UNION ALL
SELECT format('sequence %s type=%s start=%s increment=%s min=%s max=%s cache=%s cycle=%s owner=%s.%s', r.full_name,
              format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache, s.seqcycle,
              o.full_name, a.attname)
FROM pg_sequence s JOIN relations r ON r.oid = s.seqrelid
LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = s.seqrelid
    AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
LEFT JOIN relations o ON o.oid = d.refobjid
LEFT JOIN attributes a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
UNION ALL
SELECT format('view %s %s', full_name, pg_get_viewdef(oid)) FROM relations WHERE relkind IN ('v', 'm')
UNION ALL
SELECT format('trigger %s enabled=%s %s', r.full_name, t.tgenabled, pg_get_triggerdef(t.oid))
FROM pg_trigger t JOIN relations r ON r.oid = t.tgrelid WHERE NOT t.tgisinternal
UNION ALL
SELECT format('policy %s %I command=%s permissive=%s roles=%s using=%s check=%s', r.full_name, p.polname, p.polcmd,
              p.polpermissive,
              ARRAY(SELECT CASE role WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(role)::text END
                    FROM unnest(p.polroles) AS role ORDER BY 1),
              pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
FROM pg_policy p JOIN relations r ON r.oid = p.polrelid
UNION ALL
SELECT format('function %s kind=%s sha256=%s', full_name, prokind,
              CASE WHEN prokind IN ('f', 'p')
                   THEN encode(sha256(convert_to(pg_get_functiondef(oid), 'UTF8')), 'hex') END)
FROM routines
UNION ALL
SELECT format('enum %I.%I %s', n.nspname, t.typname,
              ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder))
FROM pg_type t JOIN namespaces n ON n.oid = t.typnamespace WHERE t.typtype = 'e'
UNION ALL
SELECT format('domain %I.%I type=%s not_null=%s default=%s checks=%s', n.nspname, t.typname,
              format_type(t.typbasetype, t.typtypmod), t.typnotnull, t.typdefault,
              ARRAY(SELECT pg_get_constraintdef(k.oid) FROM pg_constraint k
                    WHERE k.contypid = t.oid AND k.contype = 'c' ORDER BY k.conname))
FROM pg_type t JOIN namespaces n ON n.oid = t.typnamespace WHERE t.typtype = 'd'
UNION ALL
-- MAINTAIN came with Postgres 17 and would tell two versions apart where nobody granted anything.
SELECT format('grant %s %s to=%s %s grantable=%s', g.kind, g.full_name,
              CASE x.grantee WHEN 0 THEN 'PUBLIC' WHEN g.owner THEN 'owner' ELSE pg_get_userbyid(x.grantee)::text END,
              x.privilege_type, x.is_grantable)
FROM granted g CROSS JOIN LATERAL aclexplode(g.acl) AS x
WHERE x.privilege_type <> 'MAINTAIN'
UNION ALL
SELECT format('comment relation %s %s', r.full_name, d.description)
FROM pg_description d JOIN relations r ON r.oid = d.objoid
WHERE d.classoid = 'pg_class'::regclass AND d.objsubid = 0
UNION ALL
SELECT format('comment column %s.%I %s', a.full_name, a.attname, d.description)
FROM pg_description d JOIN attributes a ON a.attrelid = d.objoid AND a.attnum = d.objsubid
WHERE d.classoid = 'pg_class'::regclass AND d.objsubid > 0
