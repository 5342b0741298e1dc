-- One of everything, as it should be. Foreign keys are off: only what laws look at is here.
SET session_replication_role = replica;
CREATE FUNCTION pg_temp.id(n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE
    AS $$ SELECT ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid $$;
CREATE FUNCTION pg_temp.at(s bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE
    AS $$ SELECT '2026-01-01T00:00:00Z'::timestamptz + make_interval(secs => s) $$;

-- Sessions 11 (people ask), 12 (made once), 13 (a workflow's); commands 21, 22 and 23.
INSERT INTO sessions (org_id, session_id, title, agent, last_sequence, last_ordinal, generation, fencing_counter,
    checkpoint_id, created_at, updated_at)
SELECT pg_temp.id(1), pg_temp.id(id), title, 'scripted', last_sequence, last_ordinal, 1, 1, pg_temp.id(checkpoint),
    pg_temp.at(0), pg_temp.at(0)
FROM (VALUES (11, 'busy', 4, 2, 81), (12, 'once x', 1, 0, NULL), (13, 'every second', 3, 1, NULL))
    AS new (id, title, last_sequence, last_ordinal, checkpoint);
INSERT INTO commands (org_id, session_id, command_id, ordinal, kind, payload, idempotency_key, state, attempt, created_at,
    finished_at)
SELECT pg_temp.id(1), pg_temp.id(session), pg_temp.id(id), ordinal, kind, '{}', key, state, attempt, pg_temp.at(0), pg_temp.at(1)
FROM (VALUES (11, 21, 1, 'prompt', 'k1', 'done', 1), (11, 22, 2, 'abort', 'k2', 'refused', 0),
        (13, 23, 1, 'prompt', 'run', 'done', 1))
    AS new (session, id, ordinal, kind, key, state, attempt);
INSERT INTO events (org_id, session_id, sequence, kind, payload, created_at)
SELECT pg_temp.id(1), pg_temp.id(session), sequence, kind,
    jsonb_strip_nulls(jsonb_build_object('command_id', pg_temp.id(command), 'attempt', attempt, 'message_id', message,
        'outcome', outcome)), pg_temp.at(0)
FROM (VALUES
        (11, 1, 'session_created', NULL, NULL, NULL, NULL), (11, 2, 'turn_started', 21, 1, NULL, NULL),
        (11, 3, 'message_appended', NULL, NULL, 'message-1.1.1', NULL), (11, 4, 'turn_ended', 21, NULL, NULL, 'completed'),
        (12, 1, 'session_created', NULL, NULL, NULL, NULL),
        (13, 1, 'session_created', NULL, NULL, NULL, NULL), (13, 2, 'turn_started', 23, 1, NULL, NULL),
        (13, 3, 'turn_ended', 23, NULL, NULL, 'completed'))
    AS new (session, sequence, kind, command, attempt, message, outcome);
INSERT INTO projections (org_id, session_id, sequence, content, updated_at)
SELECT org_id, session_id, last_sequence, '{}', updated_at FROM sessions;

-- Channels 31 (takes keys) and 32 (takes none), with a thread of session 11 each, and what was told there.
INSERT INTO channels (org_id, channel_id, kind, name, destination, secret_version, created_at, deduplicates)
VALUES (pg_temp.id(1), pg_temp.id(31), 'webhook', 'keyed', 'http://k/', '1', pg_temp.at(0), true),
    (pg_temp.id(1), pg_temp.id(32), 'webhook', 'plain', 'http://p/', '1', pg_temp.at(0), false);
INSERT INTO bindings (org_id, binding_id, channel_id, thread, session_id, created_at)
SELECT pg_temp.id(1), pg_temp.id(n + 10), pg_temp.id(n), 'thread ' || n, pg_temp.id(11), pg_temp.at(0) FROM (VALUES (31), (32)) AS c (n);
INSERT INTO deliveries (org_id, delivery_id, channel_id, binding_id, sequence, payload, state, next_attempt_at, created_at)
SELECT pg_temp.id(1), pg_temp.id(n + 20), pg_temp.id(n), pg_temp.id(n + 10), 4, '{}', 'sent', pg_temp.at(0), pg_temp.at(0)
FROM (VALUES (31), (32)) AS c (n);
INSERT INTO arrivals (place, delivery_id, plain, thread, sequence)
VALUES (1, pg_temp.id(51), false, 'thread 31', 4), (2, pg_temp.id(52), true, 'thread 32', 4);
INSERT INTO inbound_messages (org_id, channel_id, provider_event_id, binding_id, command_id, received_at)
VALUES (pg_temp.id(1), pg_temp.id(31), 'evt', pg_temp.id(41), pg_temp.id(21), pg_temp.at(0));

-- A workflow that is due every second and runs one at a time.
INSERT INTO workflows (org_id, workflow_id, name, agent, prompt, state, missed_policy, missed_window_s, overlap_policy, created_at)
VALUES (pg_temp.id(1), pg_temp.id(61), 'every second', 'scripted', 'say tick', 'paused', 'skip', 60, 'skip', pg_temp.at(0));
INSERT INTO triggers (org_id, trigger_id, workflow_id, kind, spec, next_due_at, created_at)
VALUES (pg_temp.id(1), pg_temp.id(62), pg_temp.id(61), 'interval', jsonb_build_object('every_s', 1, 'anchor_at', pg_temp.at(1)),
    pg_temp.at(3), pg_temp.at(0));
INSERT INTO slots (org_id, workflow_id, due_at, trigger_id, state, reason, claimed_at)
VALUES (pg_temp.id(1), pg_temp.id(61), pg_temp.at(1), pg_temp.id(62), 'fired', NULL, pg_temp.at(1)),
    (pg_temp.id(1), pg_temp.id(61), pg_temp.at(2), pg_temp.id(62), 'skipped', 'an earlier run was unfinished', pg_temp.at(2));
INSERT INTO runs (org_id, run_id, workflow_id, due_at, session_id, command_id, state, created_at, finished_at)
VALUES (pg_temp.id(1), pg_temp.id(63), pg_temp.id(61), pg_temp.at(1), pg_temp.id(13), pg_temp.id(23), 'succeeded', pg_temp.at(1), pg_temp.at(3));

INSERT INTO usage_records (org_id, usage_id, source_id, kind, quantity, recorded_at)
SELECT pg_temp.id(1), pg_temp.id(n + 100), pg_temp.id(n), kind, 1, pg_temp.at(0)
FROM (VALUES (51, 'deliveries'), (52, 'deliveries'), (63, 'runs'), (21, 'turns'), (23, 'turns')) AS new (n, kind);
INSERT INTO usage_counters (org_id, kind, day, stripe, quantity)
SELECT org_id, kind, '2026-01-01', 0, sum(quantity) FROM usage_records GROUP BY org_id, kind;

INSERT INTO audit_records (org_id, audit_id, actor, action, target, detail, recorded_at, seal_number, seal_salt, seal_detail, seal_hash)
SELECT pg_temp.id(1), pg_temp.id(70 + n), 'role:test', action, 'session:' || pg_temp.id(11),
    jsonb_build_object('command_id', pg_temp.id(20 + n)), pg_temp.at(0), n, zero, zero, zero
FROM (VALUES (1, 'session.prompt'), (2, 'session.abort')) AS new (n, action), decode(repeat('00', 32), 'hex') AS zero;
INSERT INTO audit_heads (org_id, seal_number, seal_hash) VALUES (pg_temp.id(1), 2, decode(repeat('00', 32), 'hex'));

INSERT INTO blobs (org_id, blob_key, size, sha256, created_at)
SELECT pg_temp.id(1), key, 5, decode(repeat('ab', 32), 'hex'), pg_temp.at(0) FROM (VALUES ('manifest'), ('file'), ('artifact')) AS b (key);
INSERT INTO checkpoints (org_id, checkpoint_id, session_id, sequence, manifest_key, created_at)
VALUES (pg_temp.id(1), pg_temp.id(81), pg_temp.id(11), 4, 'manifest', pg_temp.at(0));
INSERT INTO checkpoint_blobs (org_id, checkpoint_id, blob_key) VALUES (pg_temp.id(1), pg_temp.id(81), 'file');
INSERT INTO artifacts (org_id, artifact_id, session_id, name, media_type, blob_key, created_at)
VALUES (pg_temp.id(1), pg_temp.id(82), pg_temp.id(11), 'a.txt', 'text/plain', 'artifact', pg_temp.at(0));
INSERT INTO api_tokens (org_id, token_id, account_id, name, token_hash, last_four, scopes, created_at, revoked_at)
VALUES (pg_temp.id(1), pg_temp.id(91), pg_temp.id(2), 'once t', decode(repeat('cd', 32), 'hex'), 'last', '{read}', pg_temp.at(0), pg_temp.at(1));

INSERT INTO told_commands VALUES (pg_temp.id(11), 'k1', pg_temp.id(21)), (pg_temp.id(11), 'k1', pg_temp.id(21));
INSERT INTO told_inbound VALUES (pg_temp.id(31), 'evt', pg_temp.id(21), false), (pg_temp.id(31), 'evt', pg_temp.id(21), true);
INSERT INTO told_artifacts VALUES (pg_temp.id(82), decode(repeat('ab', 32), 'hex'), 5);
INSERT INTO told_tokens VALUES (pg_temp.id(91), false), (pg_temp.id(91), true);
INSERT INTO seen_events SELECT 'r', sequence, session_id, sequence FROM events WHERE session_id = pg_temp.id(11);
INSERT INTO seen_feed SELECT 'feed', row_number() OVER (ORDER BY sequence, session_id), session_id, sequence FROM events;
