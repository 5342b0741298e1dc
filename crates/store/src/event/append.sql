-- event_append
-- The fenced write, of several sessions of one org at once. $1 org; one entry a session each: $2 sessions, $3 generations,
-- $4 fencing counters, $5 newest sequences before, $6 and after, $7 projections as text, $8 the command whose turn begins
-- with these events, or NULL, $9 its attempt, $10 its ordinal. $11 now. One entry an event each: $12 place of its session
-- in those lists, $13 sequence, $14 kind, $15 payload as text. $16 whether to wait for sessions that somebody else has
-- locked; they are left out otherwise.
-- Of `asked`, and why its places have a bound: see turn_finish.
WITH asked AS (
    SELECT $1::uuid AS org_id, place, session_id, generation, fencing_counter, before, after, content, command_id, attempt, ordinal
    FROM unnest($2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::text[], $8::uuid[], $9::int[], $10::bigint[])
        WITH ORDINALITY AS asked (session_id, generation, fencing_counter, before, after, content, command_id, attempt, ordinal, place)
    WHERE place BETWEEN 1 AND 64
), free AS (
    SELECT place FROM asked JOIN sessions USING (org_id, session_id) WHERE NOT $16::boolean
    FOR NO KEY UPDATE OF sessions SKIP LOCKED
), waited AS (
    SELECT place FROM asked JOIN sessions USING (org_id, session_id) WHERE $16
    FOR NO KEY UPDATE OF sessions
), locked AS (
    SELECT place FROM free UNION ALL SELECT place FROM waited
), session AS (
    UPDATE sessions
    SET last_sequence = asked.after, updated_at = $11,
        feed_position = greatest(feed_position, (asked.generation << 48) + pg_current_xact_id()::text::bigint)
    FROM asked JOIN locked USING (place)
    WHERE sessions.org_id = asked.org_id AND sessions.session_id = asked.session_id
        AND sessions.generation = asked.generation AND sessions.fencing_counter = asked.fencing_counter
        AND last_sequence = asked.before
    RETURNING asked.*, feed_position
), event AS (
    INSERT INTO events (org_id, session_id, sequence, kind, payload, created_at, feed_position)
    SELECT org_id, session_id, new.sequence, new.kind, new.payload::jsonb, $11, feed_position
    FROM unnest($12::bigint[], $13::bigint[], $14::text[], $15::text[]) AS new (place, sequence, kind, payload)
        JOIN session USING (place)
), projection AS (
    UPDATE projections SET sequence = session.after, content = session.content::jsonb, updated_at = $11
    FROM session
    WHERE projections.org_id = session.org_id AND projections.session_id = session.session_id
), command AS (
    UPDATE commands SET attempt = session.attempt
    FROM session
    WHERE commands.org_id = session.org_id AND commands.command_id = session.command_id
)
SELECT place AS "place!", locked.place IS NOT NULL AS "locked!", session.place IS NOT NULL AS "current!",
    aborting.one IS NOT NULL AS "aborting!", steering.one IS NOT NULL AS "steering!"
FROM asked
    LEFT JOIN locked USING (place)
    LEFT JOIN session USING (place)
    LEFT JOIN LATERAL (
        SELECT 1 AS one FROM commands
        WHERE session.command_id IS NOT NULL AND org_id = $1 AND session_id = session.session_id AND state = 'pending'
            AND kind = 'abort' AND ordinal > session.ordinal
        LIMIT 1
    ) AS aborting ON true
    LEFT JOIN LATERAL (
        SELECT 1 AS one FROM commands
        WHERE session.command_id IS NOT NULL AND org_id = $1 AND session_id = session.session_id AND state = 'pending'
            AND while_running = 'steer' AND ordinal <> session.ordinal
        LIMIT 1
    ) AS steering ON true
