-- lease_claim
-- $1 generation, $2 holder, $3 now, $4 end of the lease, $5 limit, $6 today.
--
-- A session whose org has used a quota up is put off to the period's end instead, unless a turn of it was lost in the middle:
-- what was begun goes on.
WITH ready AS (
    SELECT leases.org_id, leases.session_id, leases.leased_until IS NOT NULL AS begun
    FROM session_leases AS leases JOIN sessions USING (org_id, session_id)
    WHERE leases.wake_at <= $3
        AND (leases.leased_until IS NULL OR leases.leased_until <= $3 OR sessions.generation < $1)
        AND $1 = (SELECT max(generation) FROM generations)
        AND NOT EXISTS (SELECT FROM maintenance WHERE maintenance.generation = $1)
    ORDER BY leases.wake_at
    LIMIT $5
    -- Both at once, so that a claim never waits for a session while it holds its lease.
    FOR NO KEY UPDATE OF leases, sessions SKIP LOCKED
), judged AS MATERIALIZED (
    SELECT org_id, session_id, CASE WHEN NOT begun THEN (
        SELECT max(CASE period WHEN 'day' THEN ($6::date + 1)::timestamp ELSE date_trunc('month', $6::timestamp) + interval '1 month' END)
            AT TIME ZONE 'UTC'
        FROM quotas
        WHERE quotas.org_id = ready.org_id AND kind IN ('turns', 'turn_ms', 'input_tokens', 'output_tokens', 'artifact_bytes')
            AND quantity_max <= (
                SELECT coalesce(sum(quantity), 0) FROM usage_counters AS used
                WHERE used.org_id = quotas.org_id AND used.kind = quotas.kind
                    AND used.day >= CASE period WHEN 'day' THEN $6::date ELSE date_trunc('month', $6::timestamp)::date END)
    ) END AS held_until
    FROM ready
), token AS (
    UPDATE sessions SET generation = $1, fencing_counter = fencing_counter + 1
    FROM judged
    WHERE sessions.org_id = judged.org_id AND sessions.session_id = judged.session_id AND judged.held_until IS NULL
    RETURNING sessions.org_id, sessions.session_id, sessions.fencing_counter
), taken AS (
    UPDATE session_leases SET leased_until = $4, holder = $2
    FROM token WHERE session_leases.org_id = token.org_id AND session_leases.session_id = token.session_id
    RETURNING token.org_id, token.session_id, token.fencing_counter
), held AS (
    UPDATE session_leases SET wake_at = judged.held_until
    FROM judged
    WHERE session_leases.org_id = judged.org_id AND session_leases.session_id = judged.session_id
        AND judged.held_until IS NOT NULL
    RETURNING judged.org_id, judged.session_id, judged.held_until
)
SELECT org_id AS "org_id!: OrgId", session_id AS "session_id!: SessionId", fencing_counter AS "fencing_counter?",
    NULL::timestamptz AS "held_until?"
FROM taken
UNION ALL
SELECT org_id, session_id, NULL, held_until FROM held
