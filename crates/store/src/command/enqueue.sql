-- command_enqueue_alone
-- $1 org, $2 session, $3 command, $4 kind, $5 payload, $6 idempotency key, $7 who, $8 now, $9 whether it speaks to a turn
-- that waits, $10 whether an archived session takes it, $11 whether it is a prompt, which needs what quotas of turns and the policy allow, $12 today, $13 the span
-- that writes it or NULL, $14 while_running, $15 id of the abort that makes way for it if it interrupts, or NULL.
--
-- Whether the session is at work is asked of its row as it is when it is locked, and of commands as the snapshot has them: one
-- that came in between has raised last_ordinal, so it is at work then, too.
--
-- Two at once with one key can both find it unknown; the second then breaks the unique key, changes nothing, and asks again.
-- An existing lease row is left alone: its holder sees that last_ordinal was raised before it takes the row away.
WITH known AS (
    SELECT command_id, ordinal, state, kind = $4 AND payload = $5 AND while_running IS NOT DISTINCT FROM $14 AS same
    FROM commands WHERE org_id = $1 AND session_id = $2 AND idempotency_key = $6
), session AS (
    UPDATE sessions SET last_ordinal = last_ordinal + CASE
        WHEN $14::text = 'interrupt' AND (blocked_on IS NOT NULL
            OR EXISTS (SELECT FROM commands WHERE org_id = $1 AND session_id = $2 AND state = 'pending')
            OR last_ordinal > (SELECT coalesce(max(ordinal), 0) FROM commands WHERE org_id = $1 AND session_id = $2))
        THEN 2 ELSE 1 END
    WHERE org_id = $1 AND session_id = $2 AND NOT EXISTS (SELECT FROM known) AND ($10 OR archived_at IS NULL)
        AND NOT ($11 AND EXISTS (
            SELECT FROM quotas
            WHERE quotas.org_id = $1 AND kind IN ('turns', 'input_tokens', 'output_tokens', 'artifact_bytes')
                AND quantity_max <= (
                SELECT coalesce(sum(quantity), 0) FROM usage_counters AS used
                WHERE used.org_id = quotas.org_id AND used.kind = quotas.kind
                    AND used.day >= CASE period WHEN 'day' THEN $12::date ELSE date_trunc('month', $12::timestamp)::date END)))
        AND NOT ($11 AND EXISTS (
            SELECT FROM org_policies AS policy WHERE policy.org_id = $1 AND NOT sessions.agent = ANY (policy.agents)))
        AND NOT ($14 IS NOT DISTINCT FROM 'reject' AND (blocked_on IS NOT NULL
            OR EXISTS (SELECT FROM commands WHERE org_id = $1 AND session_id = $2 AND state = 'pending')
            OR last_ordinal > (SELECT coalesce(max(ordinal), 0) FROM commands WHERE org_id = $1 AND session_id = $2)))
    RETURNING org_id, session_id, last_ordinal, blocked_on,
        -- It was raised by two.
        $14 IS NOT DISTINCT FROM 'interrupt' AND (blocked_on IS NOT NULL OR last_ordinal > 1 + (
            SELECT coalesce(max(ordinal), 0) FROM commands WHERE org_id = $1 AND session_id = $2)) AS interrupts
), aborting AS (
    INSERT INTO commands (org_id, session_id, command_id, ordinal, kind, payload, idempotency_key, state, created_by,
        created_at, traceparent, while_running)
    SELECT org_id, session_id, $15::uuid, last_ordinal - 1, 'abort', '{}', $15::uuid::text, 'pending', $7, $8, $13, $14
    FROM session WHERE interrupts
), inserted AS (
    INSERT INTO commands (org_id, session_id, command_id, ordinal, kind, payload, idempotency_key, state, created_by,
        created_at, traceparent, while_running)
    SELECT org_id, session_id, $3, last_ordinal, $4, $5, $6, 'pending', $7, $8, $13, $14 FROM session
    RETURNING command_id, ordinal, state
), woken AS (
    INSERT INTO session_leases (org_id, session_id, wake_at)
    SELECT org_id, session_id, $8 FROM session WHERE blocked_on IS NULL OR $9 OR interrupts ON CONFLICT DO NOTHING
)
SELECT command_id AS "command_id!: CommandId", ordinal AS "ordinal!", state AS "state!", true AS "created!",
    true AS "same!"
FROM inserted
UNION ALL
SELECT command_id, ordinal, state, false, same FROM known
