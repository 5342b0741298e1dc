-- event_append
-- The fenced write. $11 the command whose turn begins with these events, or NULL; $12 its attempt, $13 its ordinal.
-- Rows are looked for by $1 and $2, not by joining `session`: see turn_finish.
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
    UPDATE projections SET sequence = $6, content = $10, updated_at = $7
    WHERE org_id = $1 AND session_id = $2 AND EXISTS (SELECT FROM session)
), command AS (
    UPDATE commands SET attempt = $12
    WHERE org_id = $1 AND command_id = $11::uuid AND EXISTS (SELECT FROM session)
)
SELECT EXISTS (
    SELECT FROM commands
    WHERE $11::uuid IS NOT NULL AND org_id = $1 AND session_id = $2 AND state = 'pending' AND kind = 'abort'
        AND ordinal > $13) AS "aborting!",
    EXISTS (
    SELECT FROM commands
    WHERE $11::uuid IS NOT NULL AND org_id = $1 AND session_id = $2 AND state = 'pending' AND while_running = 'steer'
        AND ordinal <> $13) AS "steering!"
FROM session
