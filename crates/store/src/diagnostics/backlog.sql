-- diagnostics_backlog
-- $1 now.
--
-- The oldest of a kind stands first in an index. Deliveries are counted by partial indexes, so those that were sent cost nothing, however
-- many. Leases are read once, all of them: the table holds only sessions that have something to do, and an index on their ends would
-- be written by every claim and every renewal.
WITH leases AS MATERIALIZED (
    SELECT count(*) FILTER (WHERE leased_until > $1) AS held,
        count(*) FILTER (WHERE leased_until <= $1) AS lapsed,
        min(leased_until) FILTER (WHERE leased_until <= $1) AS lapsed_at
    FROM session_leases
)
SELECT
    (SELECT count(*) FROM commands WHERE state = 'pending') AS "commands_pending!",
    (SELECT min(created_at) FROM commands WHERE state = 'pending') AS oldest_command_at,
    leases.held AS "leases_held!",
    leases.lapsed AS "leases_lapsed!",
    leases.lapsed_at AS "lease_lapsed_at?",
    (SELECT count(*) FROM deliveries WHERE state = 'pending') AS "deliveries_pending!",
    -- A row of a thread may be early, and stays until a gateway looks at the thread: what counts is its oldest delivery.
    (SELECT greatest(due_threads.due_at, head.next_attempt_at) FROM due_threads CROSS JOIN LATERAL (
        SELECT next_attempt_at FROM deliveries
        WHERE deliveries.org_id = due_threads.org_id AND deliveries.binding_id = due_threads.binding_id
            AND state = 'pending'
        ORDER BY sequence LIMIT 1) AS head
     WHERE due_threads.due_at <= $1 AND head.next_attempt_at <= $1
     ORDER BY due_threads.due_at LIMIT 1) AS "delivery_due_at?",
    (SELECT count(*) FROM deliveries WHERE state = 'dead') AS "deliveries_dead!",
    (SELECT count(*) FROM deliveries WHERE state = 'unknown') AS "deliveries_unknown!",
    (SELECT coalesce(finished_at, created_at) FROM deliveries WHERE state = 'unknown'
     ORDER BY coalesce(finished_at, created_at) LIMIT 1) AS "delivery_unknown_since?",
    (SELECT count(*) FROM ledger_outbox) AS "effects_untold!",
    (SELECT happened_at FROM ledger_outbox ORDER BY outbox_id LIMIT 1) AS "effect_untold_since?",
    (SELECT count(*) FROM triggers JOIN workflows USING (org_id, workflow_id)
     WHERE next_due_at <= $1 AND workflows.state = 'active') AS "triggers_due!",
    (SELECT next_due_at FROM triggers JOIN workflows USING (org_id, workflow_id)
     WHERE next_due_at <= $1 AND workflows.state = 'active'
     ORDER BY next_due_at LIMIT 1) AS "trigger_due_at?"
FROM leases
