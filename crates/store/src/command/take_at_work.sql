-- command_take_at_work
-- A prompt for which it matters whether the session is at work. $1 org, $2 session, $3 command, $4 payload, $5 idempotency key,
-- $6 who, $7 now, $8 today, $9 the span that writes it or NULL, $10 while_running: reject or interrupt, $11 id of the abort that
-- makes way for it, $12 id of the audit record of the prompt, $13 of that of the abort, $14 who, as the audit trail names them.
--
-- Whether the session is at work is asked of its row as it is when it is locked, and of commands as the snapshot has them: one
-- that came in between has raised last_ordinal, so it is at work then, too.
--
-- Of two at once with one key, and of an existing lease row: see command_take.
WITH known AS (
    SELECT command_id, ordinal, state, kind = 'prompt' AND payload = $4 AND while_running IS NOT DISTINCT FROM $10 AS same
    FROM commands WHERE org_id = $1 AND session_id = $2 AND idempotency_key = $5
), session AS (
    UPDATE sessions SET last_ordinal = last_ordinal + CASE
        WHEN $10::text = 'interrupt' AND (blocked_on IS NOT NULL
            OR EXISTS (SELECT FROM commands WHERE org_id = $1 AND session_id = $2 AND state = 'pending')
            OR last_ordinal > (SELECT coalesce(max(ordinal), 0) FROM commands WHERE org_id = $1 AND session_id = $2))
        THEN 2 ELSE 1 END
    WHERE org_id = $1 AND session_id = $2 AND NOT EXISTS (SELECT FROM known) AND archived_at IS NULL
        AND NOT EXISTS (
            SELECT FROM quotas
            WHERE quotas.org_id = $1 AND kind IN ('turns', 'turn_ms', 'input_tokens', 'output_tokens', 'artifact_bytes')
                AND quantity_max <= (
                SELECT coalesce(sum(quantity), 0) FROM usage_counters AS used
                WHERE used.org_id = quotas.org_id AND used.kind = quotas.kind
                    AND used.day >= CASE period WHEN 'day' THEN $8::date ELSE date_trunc('month', $8::timestamp)::date END))
        AND NOT EXISTS (
            SELECT FROM org_policies AS policy WHERE policy.org_id = $1 AND NOT sessions.agent = ANY (policy.agents))
        AND NOT ($10 = 'reject' AND (blocked_on IS NOT NULL
            OR EXISTS (SELECT FROM commands WHERE org_id = $1 AND session_id = $2 AND state = 'pending')
            OR last_ordinal > (SELECT coalesce(max(ordinal), 0) FROM commands WHERE org_id = $1 AND session_id = $2)))
    RETURNING org_id, session_id, last_ordinal, blocked_on,
        -- It was raised by two.
        $10 = 'interrupt' AND (blocked_on IS NOT NULL OR last_ordinal > 1 + (
            SELECT coalesce(max(ordinal), 0) FROM commands WHERE org_id = $1 AND session_id = $2)) AS interrupts
), aborting AS (
    INSERT INTO commands (org_id, session_id, command_id, ordinal, kind, payload, idempotency_key, state, created_by,
        created_at, traceparent, while_running)
    SELECT org_id, session_id, $11::uuid, last_ordinal - 1, 'abort', '{}', $11::uuid::text, 'pending', $6, $7, $9, $10
    FROM session WHERE interrupts
), inserted AS (
    INSERT INTO commands (org_id, session_id, command_id, ordinal, kind, payload, idempotency_key, state, created_by,
        created_at, traceparent, while_running)
    SELECT org_id, session_id, $3, last_ordinal, 'prompt', $4, $5, 'pending', $6, $7, $9, $10 FROM session
    RETURNING command_id, ordinal, state
), woken AS (
    INSERT INTO session_leases (org_id, session_id, wake_at)
    SELECT org_id, session_id, $7 FROM session WHERE blocked_on IS NULL OR interrupts ON CONFLICT DO NOTHING
), told AS (
    INSERT INTO audit_records (org_id, audit_id, actor, action, target, detail, recorded_at)
    SELECT org_id, audit_id, $14::text, 'session.' || kind, 'session:' || session_id,
        jsonb_build_object('command_id', command_id, 'while_running', $10::text), $7
    FROM session, (VALUES ($13::uuid, 'abort', $11::uuid), ($12::uuid, 'prompt', $3::uuid))
        AS written (audit_id, kind, command_id)
    WHERE kind = 'prompt' OR interrupts
)
SELECT command_id AS "command_id!: CommandId", ordinal AS "ordinal!", state AS "state!", true AS "created!",
    true AS "same!"
FROM inserted
UNION ALL
SELECT command_id, ordinal, state, false, same FROM known
