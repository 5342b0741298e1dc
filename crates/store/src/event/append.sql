-- event_append
-- The fenced write. $11 the command whose turn begins with these events, or NULL; $12 its attempt, $13 its ordinal.
WITH session AS (
    UPDATE sessions
    SET last_sequence = $6, updated_at = $7,
        feed_position = greatest(feed_position, ($3::bigint << 48) + pg_current_xact_id()::text::bigint)
    WHERE org_id = $1 AND session_id = $2 AND generation = $3 AND fencing_counter = $4 AND last_sequence = $5
    RETURNING org_id, session_id, feed_position
), event AS (
    INSERT INTO events (org_id, session_id, sequence, kind, payload, created_at, feed_position)
    SELECT org_id, session_id, $5 + new.place, new.kind, new.payload, $7, feed_position
    FROM session, unnest($8::text[], $9::jsonb[]) WITH ORDINALITY AS new (kind, payload, place)
), projection AS (
    UPDATE projections SET sequence = $6, content = $10, updated_at = $7 FROM session
    WHERE projections.org_id = session.org_id AND projections.session_id = session.session_id
), command AS (
    UPDATE commands SET attempt = $12 FROM session
    WHERE commands.org_id = session.org_id AND commands.command_id = $11::uuid
)
SELECT EXISTS (
    SELECT FROM commands
    WHERE $11::uuid IS NOT NULL AND commands.org_id = session.org_id AND commands.session_id = session.session_id
        AND commands.state = 'pending' AND commands.kind = 'abort' AND commands.ordinal > $13) AS "aborting!"
FROM session
