-- sessions_search_terms
-- As sessions_search_all; $8 the term whose sessions are looked at, $9 the others that they must have, each
-- once. The stretch is named for each table: a planner that joins by merging would read one of them from its beginning.
SELECT session_id AS "session_id: SessionId", title, agent, projections.state, last_sequence,
    checkpoint_id AS "checkpoint_id: CheckpointId", tags, archived_at, created_at, sessions.updated_at
FROM session_terms AS having_it JOIN sessions USING (org_id, session_id) JOIN projections USING (org_id, session_id)
WHERE org_id = $1 AND having_it.term = $8 AND session_id > $2 AND session_id <= $3
    AND sessions.session_id > $2 AND sessions.session_id <= $3
    AND projections.session_id > $2 AND projections.session_id <= $3
    AND ($4::boolean IS NULL OR (archived_at IS NOT NULL) = $4)
    AND ($5::text IS NULL OR agent = $5)
    AND ($6::text IS NULL OR projections.state = $6)
    AND cardinality($9::text[]) = (
        SELECT count(*) FROM session_terms AS other
        WHERE other.org_id = $1 AND other.session_id = sessions.session_id AND other.term = ANY ($9))
ORDER BY session_id LIMIT $7
