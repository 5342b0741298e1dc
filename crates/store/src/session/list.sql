-- sessions_list
-- Pages of one org. $1 org; one entry a page each: $2 the session before its first one, $3 its limit. A page is full although some
-- of its sessions have lost their projections. States are looked up for those of the page, which OFFSET 0 makes sure of: joined
-- otherwise, projections would be read from the org's first one (a tenth of a second in the middle of a million sessions).
SELECT place AS "place!", session_id AS "session_id!: SessionId", title AS "title!", agent AS "agent!", page.state AS "state?",
    last_sequence AS "last_sequence!", checkpoint_id AS "checkpoint_id?: CheckpointId", tags AS "tags!",
    archived_at AS "archived_at?: clock::Timestamp", created_at AS "created_at!: clock::Timestamp",
    updated_at AS "updated_at!: clock::Timestamp"
FROM unnest($2::uuid[], $3::bigint[]) WITH ORDINALITY AS asked (after, most, place) CROSS JOIN LATERAL (
    SELECT session_id, title, agent, found.state, last_sequence, checkpoint_id, tags, archived_at, created_at, updated_at
    FROM sessions CROSS JOIN LATERAL (
        SELECT state FROM projections
        WHERE projections.org_id = sessions.org_id AND projections.session_id = sessions.session_id OFFSET 0
    ) AS found
    WHERE org_id = $1 AND session_id > after ORDER BY session_id LIMIT most
) AS page
