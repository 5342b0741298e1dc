-- backup_activity: one row of counters; while no worker, scheduler or gateway is up, none of them may move
SELECT s.fencing_counters, s.last_sequences, s.checkpointed_sessions,
       l.leases, l.leases_held,
       c.commands, c.commands_pending, c.commands_done, c.command_attempts,
       (SELECT count(*) FROM events) AS events,
       (SELECT COALESCE(sum(sequence), 0)::bigint FROM projections) AS projection_sequences,
       (SELECT count(*) FROM artifacts) AS artifacts,
       (SELECT count(*) FROM checkpoints) AS checkpoints,
       (SELECT count(*) FROM slots) AS slots,
       r.runs, r.runs_running,
       (SELECT md5(COALESCE(string_agg(trigger_id::text || COALESCE(next_due_at::text, ''), ',' ORDER BY trigger_id), ''))
        FROM triggers) AS triggers_next_due,
       d.deliveries, d.deliveries_pending, d.deliveries_sent, d.deliveries_dead, d.deliveries_unknown,
       d.delivery_attempts,
       d.delivery_fencing_counters,
       (SELECT COALESCE(sum(sequence), 0)::bigint FROM delivery_cursors) AS cursor_sequences,
       (SELECT count(*) FROM inbound_messages) AS inbound_messages,
       (SELECT count(*) FROM trigger_calls) AS trigger_calls,
       (SELECT count(*) FROM usage_records) AS usage_records
FROM (
    SELECT COALESCE(sum(fencing_counter), 0)::bigint AS fencing_counters,
           COALESCE(sum(last_sequence), 0)::bigint AS last_sequences,
           count(checkpoint_id) AS checkpointed_sessions
    FROM sessions
) AS s, (
    SELECT count(*) AS leases, count(holder) AS leases_held FROM session_leases
) AS l, (
    SELECT count(*) AS commands, count(*) FILTER (WHERE state = 'pending') AS commands_pending,
           count(*) FILTER (WHERE state = 'done') AS commands_done, COALESCE(sum(attempt), 0) AS command_attempts
    FROM commands
) AS c, (
    SELECT count(*) AS runs, count(*) FILTER (WHERE state = 'running') AS runs_running FROM runs
) AS r, (
    SELECT count(*) AS deliveries, count(*) FILTER (WHERE state = 'pending') AS deliveries_pending,
           count(*) FILTER (WHERE state = 'sent') AS deliveries_sent,
           count(*) FILTER (WHERE state = 'dead') AS deliveries_dead,
           count(*) FILTER (WHERE state = 'unknown') AS deliveries_unknown,
           COALESCE(sum(attempt), 0) AS delivery_attempts,
           COALESCE(sum(fencing_counter), 0)::bigint AS delivery_fencing_counters
    FROM deliveries
) AS d
