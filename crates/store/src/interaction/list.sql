-- interaction_list
-- $1 org, $2 session, $3 this one only or NULL, $4 those after it or NULL, $5 limit.
WITH waiting AS MATERIALIZED (
    -- Once: a projection may be large.
    SELECT content -> 'waiting_for' ->> 'request_id' AS request_id FROM projections WHERE org_id = $1 AND session_id = $2
)
SELECT interaction_id AS "interaction_id: InteractionId", session_id AS "session_id: SessionId",
    binding_id AS "binding_id: BindingId", request_id, kind, generation, created_at, expires_at, decision,
    decided_by AS "decided_by: ChannelIdentityId", command_id AS "command_id: CommandId", decided_at,
    -- The session waits for it, and no command that speaks to it is on its way.
    EXISTS (SELECT FROM waiting WHERE waiting.request_id = interactions.request_id) AND NOT EXISTS (
        SELECT FROM commands
        WHERE commands.org_id = $1 AND commands.session_id = $2 AND commands.state = 'pending'
            AND commands.kind IN ('approve', 'reject', 'answer')
            AND commands.payload ->> 'request_id' = interactions.request_id) AS "waits!"
FROM interactions
WHERE org_id = $1 AND session_id = $2
    AND ($3::uuid IS NULL OR interaction_id = $3) AND ($4::uuid IS NULL OR interaction_id > $4)
ORDER BY interaction_id LIMIT $5
