-- diagnostics_backlog
SELECT
    (SELECT count(*) FROM commands WHERE state = 'pending') AS "commands_pending!",
    (SELECT min(created_at) FROM commands WHERE state = 'pending') AS oldest_command_at,
    (SELECT count(*) FROM session_leases WHERE leased_until > $1) AS "leases_held!",
    (SELECT count(*) FROM deliveries WHERE state = 'pending') AS "deliveries_pending!",
    (SELECT count(*) FROM deliveries WHERE state = 'dead') AS "deliveries_dead!",
    (SELECT count(*) FROM deliveries WHERE state = 'unknown') AS "deliveries_unknown!",
    (SELECT count(*) FROM ledger_outbox) AS "effects_untold!",
    (SELECT count(*) FROM triggers JOIN workflows USING (org_id, workflow_id)
     WHERE next_due_at <= $1 AND workflows.state = 'active') AS "triggers_due!"
