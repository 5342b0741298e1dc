-- sessions_search_all
-- $1 org, $2 the session before the stretch and $3 its last one; $4 whether archived, $5 agent, $6 state, each NULL for
-- any; $7 limit. The stretch is named for both tables: a planner that joins by merging
-- would read one of them from its beginning.
SELECT session_id AS "session_id: SessionId", title, agent, projections.state, last_sequence,
    checkpoint_id AS "checkpoint_id: CheckpointId", tags, archived_at, created_at, sessions.updated_at
FROM sessions JOIN projections USING (org_id, session_id)
WHERE org_id = $1 AND session_id > $2 AND session_id <= $3
    AND projections.session_id > $2 AND projections.session_id <= $3
    AND ($4::boolean IS NULL OR (archived_at IS NOT NULL) = $4)
    AND ($5::text IS NULL OR agent = $5)
    AND ($6::text IS NULL OR projections.state = $6)
ORDER BY session_id LIMIT $7
