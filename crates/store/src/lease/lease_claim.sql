-- lease_claim
WITH ready AS (
    SELECT leases.org_id, leases.session_id
    FROM session_leases AS leases JOIN sessions USING (org_id, session_id)
    WHERE leases.wake_at <= $3
        AND (leases.leased_until IS NULL OR leases.leased_until <= $3 OR sessions.generation < $1)
        AND $1 = (SELECT max(generation) FROM generations)
    ORDER BY leases.wake_at
    LIMIT $5
    -- Both at once, so that a claim never waits for a session while it holds its lease.
    FOR NO KEY UPDATE OF leases, sessions SKIP LOCKED
), token AS (
    UPDATE sessions SET generation = $1, fencing_counter = fencing_counter + 1
    FROM ready WHERE sessions.org_id = ready.org_id AND sessions.session_id = ready.session_id
    RETURNING sessions.org_id, sessions.session_id, sessions.fencing_counter
)
UPDATE session_leases SET leased_until = $4, holder = $2
FROM token WHERE session_leases.org_id = token.org_id AND session_leases.session_id = token.session_id
RETURNING token.org_id AS "org_id!: OrgId", token.session_id AS "session_id!: SessionId",
    token.fencing_counter AS "fencing_counter!"
