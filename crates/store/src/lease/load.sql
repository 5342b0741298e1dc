-- lease_load
SELECT held.org_id AS "org!: OrgId", held.session_id AS "session!: SessionId", agent, last_sequence,
    checkpoint_id AS "checkpoint: CheckpointId", project_source_id AS "project_source: ProjectSourceId",
    content AS "content: Json<serde_json::Value>",
    next.command_id AS "command_id?: CommandId", next.ordinal AS "ordinal?", next.kind AS "kind?",
    next.payload AS "payload?", next.attempt AS "attempt?",
    next.traceparent AS "traceparent?"
FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[])
        AS held (org_id, session_id, generation, fencing_counter)
    JOIN sessions USING (org_id, session_id, generation, fencing_counter)
    JOIN projections USING (org_id, session_id)
    LEFT JOIN LATERAL (
        SELECT command_id, ordinal, kind, payload, attempt, traceparent FROM commands
        WHERE commands.org_id = held.org_id AND commands.session_id = held.session_id AND state = 'pending'
            AND (sessions.blocked_on IS NULL OR kind <> 'prompt')
            -- What was begun goes first, then what interrupts or steers (`command_next`).
            AND (kind = 'abort' OR ordinal = 1 OR ordinal >= coalesce((
                SELECT coalesce(min(ordinal) FILTER (WHERE attempt > 0), min(ordinal)) FROM commands AS ahead
                WHERE ahead.org_id = held.org_id AND ahead.session_id = held.session_id AND ahead.state = 'pending'
                    AND (ahead.attempt > 0 OR ahead.while_running IN ('interrupt', 'steer'))), 0))
        ORDER BY ordinal LIMIT 1
    ) AS next ON true
