-- One of everything that a backup carries, with text that printing and reading back could damage.
INSERT INTO generations VALUES (1, '0192a000-0000-7000-8000-000000000001', 'production', 'initialised', NULL, '2026-01-01');
INSERT INTO orgs VALUES ('0192a000-0000-7000-8000-0000000000a1', E'Müller \\ Söhne\n"&"\tx', '2026-01-01 00:00:00.123456');
INSERT INTO accounts VALUES ('0192a000-0000-7000-8000-0000000000b1', 'a@example.test', 'A', '2026-01-01');
INSERT INTO memberships VALUES ('0192a000-0000-7000-8000-0000000000a1', '0192a000-0000-7000-8000-0000000000b1', 'owner', '2026-01-01');
INSERT INTO org_keys VALUES ('0192a000-0000-7000-8000-0000000000a1', '\x00ff5c0a', '1', '2026-01-01');
INSERT INTO byok_keys VALUES ('0192a000-0000-7000-8000-0000000000a1', '0192a000-0000-7000-8000-0000000000c1', 'p', 'l', 'abcd', '\x0102', '\x03', '1', '2026-01-01', NULL);
INSERT INTO sessions (org_id, session_id, title, agent, last_sequence, last_ordinal, generation, fencing_counter, created_at, updated_at)
SELECT '0192a000-0000-7000-8000-0000000000a1', ('0192a000-0000-7000-8001-' || lpad(to_hex(n), 12, '0'))::uuid, 's' || n, 'scripted', 20, 0, 1, n, '2026-01-01', '2026-01-01'
FROM generate_series(1, 10) AS n;
INSERT INTO events (org_id, session_id, sequence, kind, payload, created_at)
SELECT org_id, session_id, sequence, 'agent_text', jsonb_build_object('text', E'line\nbreak \\N \t ' || repeat('x', sequence::int), 'n', 1.50, 'deep', jsonb_build_array(NULL, true)), '2026-01-01'::timestamptz + sequence * interval '1.000001 s'
FROM sessions, generate_series(1, 20) AS sequence;
INSERT INTO projections SELECT org_id, session_id, 20, '{"turns": []}', '2026-01-01' FROM sessions;
INSERT INTO audit_records (org_id, audit_id, actor, action, target, detail, recorded_at)
SELECT org_id, session_id, 'role:worker', 'a', 't', '{}', '2026-01-01' FROM sessions;
INSERT INTO role_instances VALUES ('0192a000-0000-7000-8000-0000000000d1', '{web}', 1, '2026-01-01', '2026-01-01');
