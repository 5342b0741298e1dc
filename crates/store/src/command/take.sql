-- command_take
-- Commands of sessions that differ, of one org, which wait for their turns. $1 org; one entry a command each: $2 sessions,
-- $3 commands, $4 kinds, $5 payloads as text, $6 idempotency keys, $7 who, $8 the spans that write them or NULL, $9 while_running,
-- $10 whether it speaks to a turn that waits, $11 whether an archived session takes it, $12 whether it is a prompt, which needs
-- what quotas of turns and the policy allow. $13 now, $14 today, $15 whether to wait for sessions that somebody else has locked;
-- they are left out otherwise. Again one entry a command each: $16 ids of audit records, $17 who, as the audit trail names them.
-- Of `asked`, and why its places have a bound: see turn_finish.
--
-- Two at once with one key can both find it unknown; the second then breaks the unique key, changes nothing, and asks again.
-- An existing lease row is left alone: its holder sees that last_ordinal was raised before it takes the row away.
WITH asked AS (
    SELECT $1::uuid AS org_id, place, session_id, command_id, kind, payload::jsonb AS payload, idempotency_key, created_by,
        traceparent, while_running, speaks, though_archived, is_prompt, audit_id, actor
    FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::uuid[], $8::text[], $9::text[], $10::boolean[],
        $11::boolean[], $12::boolean[], $16::uuid[], $17::text[])
        WITH ORDINALITY AS asked (session_id, command_id, kind, payload, idempotency_key, created_by, traceparent, while_running,
            speaks, though_archived, is_prompt, audit_id, actor, place)
    WHERE place BETWEEN 1 AND 64
), known AS (
    SELECT place, commands.command_id, ordinal, state, commands.kind = asked.kind AND commands.payload = asked.payload
        AND commands.while_running IS NOT DISTINCT FROM asked.while_running AS same
    FROM asked JOIN commands USING (org_id, session_id, idempotency_key)
), free AS (
    SELECT place FROM asked JOIN sessions USING (org_id, session_id) WHERE NOT $15::boolean
    FOR NO KEY UPDATE OF sessions SKIP LOCKED
), waited AS (
    SELECT place FROM asked JOIN sessions USING (org_id, session_id) WHERE $15
    FOR NO KEY UPDATE OF sessions
), locked AS (
    SELECT place FROM free UNION ALL SELECT place FROM waited
), session AS (
    UPDATE sessions SET last_ordinal = last_ordinal + 1
    FROM asked JOIN locked USING (place)
    WHERE sessions.org_id = asked.org_id AND sessions.session_id = asked.session_id
        AND place NOT IN (SELECT place FROM known) AND (though_archived OR archived_at IS NULL)
        AND NOT (is_prompt AND EXISTS (
            SELECT FROM quotas
            WHERE quotas.org_id = $1 AND quotas.kind IN ('turns', 'turn_ms', 'input_tokens', 'output_tokens', 'artifact_bytes')
                AND quantity_max <= (
                SELECT coalesce(sum(quantity), 0) FROM usage_counters AS used
                WHERE used.org_id = quotas.org_id AND used.kind = quotas.kind
                    AND used.day >= CASE period WHEN 'day' THEN $14::date ELSE date_trunc('month', $14::timestamp)::date END)))
        AND NOT (is_prompt AND EXISTS (
            SELECT FROM org_policies AS policy WHERE policy.org_id = $1 AND NOT sessions.agent = ANY (policy.agents)))
    RETURNING asked.*, last_ordinal, blocked_on
), inserted AS (
    INSERT INTO commands (org_id, session_id, command_id, ordinal, kind, payload, idempotency_key, state, created_by,
        created_at, traceparent, while_running)
    SELECT org_id, session_id, command_id, last_ordinal, kind, payload, idempotency_key, 'pending', created_by, $13, traceparent,
        while_running
    FROM session
    RETURNING command_id, ordinal, state
), woken AS (
    INSERT INTO session_leases (org_id, session_id, wake_at)
    SELECT org_id, session_id, $13 FROM session WHERE blocked_on IS NULL OR speaks ON CONFLICT DO NOTHING
), told AS (
    INSERT INTO audit_records (org_id, audit_id, actor, action, target, detail, recorded_at)
    SELECT org_id, audit_id, actor, 'session.' || kind, 'session:' || session_id,
        jsonb_strip_nulls(jsonb_build_object('command_id', command_id, 'while_running', while_running)), $13
    FROM session
)
SELECT place AS "place!", locked.place IS NOT NULL AS "locked!", inserted.command_id IS NOT NULL AS "created!",
    coalesce(inserted.command_id, known.command_id) AS "command_id?: CommandId",
    coalesce(inserted.ordinal, known.ordinal) AS "ordinal?", coalesce(inserted.state, known.state) AS "state?",
    coalesce(known.same, true) AS "same!"
FROM asked
    LEFT JOIN locked USING (place)
    LEFT JOIN known USING (place)
    LEFT JOIN inserted ON inserted.command_id = asked.command_id
