-- interaction_list
SELECT interaction_id AS "interaction_id: InteractionId", interactions.session_id AS "session_id: SessionId",
    binding_id AS "binding_id: BindingId", request_id, interactions.kind, interactions.generation,
    interactions.created_at, expires_at, decision, decided_by AS "decided_by: ChannelIdentityId",
    command_id AS "command_id: CommandId", decided_at,
    -- The session waits for it, and no command that speaks to it is on its way.
    coalesce(projections.content -> 'waiting_for' ->> 'request_id' = request_id, false) AND NOT EXISTS (
        SELECT FROM commands
        WHERE commands.org_id = $1 AND commands.session_id = $2 AND commands.state = 'pending'
            AND commands.kind IN ('approve', 'reject', 'answer')
            AND commands.payload ->> 'request_id' = interactions.request_id) AS "waits!"
FROM interactions LEFT JOIN projections USING (org_id, session_id)
WHERE interactions.org_id = $1 AND interactions.session_id = $2
    AND ($3::uuid IS NULL OR interaction_id = $3) AND ($4::uuid IS NULL OR interaction_id > $4)
ORDER BY interaction_id LIMIT $5
