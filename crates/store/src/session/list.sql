-- sessions_list
-- $1 org, $2 the session before the first one, $3 limit. States are looked up for those of the page, which OFFSET 0 makes sure
-- of: joined otherwise, projections would be read from the org's first one (a tenth of a second in the middle of a million
-- sessions).
SELECT session_id AS "session_id: SessionId", title, agent, found.state, last_sequence,
    checkpoint_id AS "checkpoint_id: CheckpointId", tags, archived_at, created_at, updated_at
FROM sessions CROSS JOIN LATERAL (
    SELECT state FROM projections
    WHERE projections.org_id = sessions.org_id AND projections.session_id = sessions.session_id OFFSET 0
) AS found
WHERE org_id = $1 AND session_id > $2 ORDER BY session_id LIMIT $3
