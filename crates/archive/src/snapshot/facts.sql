-- snapshot_facts
SELECT current_setting('server_version') AS postgres_version,
       current_setting('server_version_num')::int AS postgres_version_num,
       (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,
       d.datname::text AS database,
       d.oid::bigint AS database_oid,
       pg_encoding_to_char(d.encoding)::text AS encoding,
       d.datcollate::text AS collation
FROM pg_database d WHERE d.datname = current_database()
