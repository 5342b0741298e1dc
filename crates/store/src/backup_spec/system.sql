-- backup_system
SELECT g.system_id, g.generation, g.environment,
       (SELECT max(version) FROM _sqlx_migrations WHERE success) AS schema_version
FROM generations g
ORDER BY g.generation DESC
LIMIT 1
