-- turn_finish
-- $1 org, $2 session, $3 generation, $4 fencing counter, $5 newest sequence before, $6 and after, $7 now,
-- $8 kinds and $9 payloads of the events, $10 projection.
-- $11 command, $12 its state, $13 its outcome; $14 whether a turn ended with it, $15 what the session is blocked on then,
-- $16 whether it was aborted, $17 the state that a run has then; NULL: the turn goes on.
-- $18 checkpoint or NULL, $19 key of its manifest, $20 keys of its files.
-- $21 keys, $22 sizes and $23 hashes of blobs, sorted by key, $24 when their saving began, less the skew of clocks.
-- $25 ids, $26 names, $27 media types and $28 blob keys of artifacts.
-- $29 ids, $30 sources, $31 kinds and $32 quantities of what is metered. $33 prompts that steered the turn and were heard.
--
-- Everything hangs from `session`: if the token is not current, nothing is written. The snapshot may be older than the
-- lock on the session's row, if somebody else held it: a command that came meanwhile has raised last_ordinal, and then
-- the lease stays.
-- Rows are looked for by $1 and $2, not by joining `session`: where the server has no statistics yet, a join may read all
-- that the org has and filter (measured: 700 commands for each turn that ended).
WITH session AS (
    UPDATE sessions
    SET last_sequence = $6, updated_at = $7,
        feed_position = greatest(feed_position, ($3::bigint << 48) + pg_current_xact_id()::text::bigint),
        checkpoint_id = coalesce($18::uuid, checkpoint_id),
        blocked_on = CASE WHEN $14::boolean THEN $15 ELSE blocked_on END
    WHERE org_id = $1 AND session_id = $2 AND generation = $3 AND fencing_counter = $4 AND last_sequence = $5
    RETURNING org_id, session_id, last_ordinal, blocked_on, feed_position
), event AS (
    INSERT INTO events (org_id, session_id, sequence, kind, payload, created_at, feed_position)
    SELECT org_id, session_id, $5 + new.place, new.kind, new.payload, $7, feed_position
    FROM session, unnest($8::text[], $9::jsonb[]) WITH ORDINALITY AS new (kind, payload, place)
), projection AS (
    UPDATE projections SET sequence = $6, content = $10, updated_at = $7
    WHERE org_id = $1 AND session_id = $2 AND EXISTS (SELECT FROM session)
), doomed AS (
    SELECT blob_key, state, deleted_at FROM blob_deletions
    WHERE org_id = $1 AND blob_key = ANY ($21::text[]) AND EXISTS (SELECT FROM session) ORDER BY blob_key FOR UPDATE
), spared AS (
    DELETE FROM blob_deletions USING doomed
    WHERE org_id = $1 AND blob_deletions.blob_key = doomed.blob_key AND doomed.state = 'waiting'
), blob AS (
    INSERT INTO blobs (org_id, blob_key, size, sha256, created_at)
    SELECT org_id, new.key, new.size, new.sha256, $7
    FROM session, unnest($21::text[], $22::bigint[], $23::bytea[], $24::timestamptz[]) AS new (key, size, sha256, since)
    WHERE NOT EXISTS (
        SELECT FROM doomed WHERE doomed.blob_key = new.key AND (state = 'deleting' OR deleted_at >= new.since))
    ON CONFLICT (org_id, blob_key) DO NOTHING
), checkpoint AS (
    INSERT INTO checkpoints (org_id, checkpoint_id, session_id, sequence, manifest_key, created_at)
    SELECT org_id, $18, session_id, $6, $19, $7 FROM session WHERE $18::uuid IS NOT NULL
), checkpoint_blob AS (
    INSERT INTO checkpoint_blobs (org_id, checkpoint_id, blob_key)
    SELECT org_id, $18, key FROM session, unnest($20::text[]) AS key
), artifact AS (
    INSERT INTO artifacts (org_id, artifact_id, session_id, name, media_type, blob_key, created_at)
    SELECT org_id, new.artifact_id, session_id, new.name, new.media_type, new.blob_key, $7
    FROM session, unnest($25::uuid[], $26::text[], $27::text[], $28::text[])
        AS new (artifact_id, name, media_type, blob_key)
), metered AS (
    INSERT INTO usage_records (org_id, usage_id, source_id, kind, quantity, recorded_at)
    SELECT org_id, new.usage_id, new.source_id, new.kind, new.quantity, $7
    FROM session, unnest($29::uuid[], $30::uuid[], $31::text[], $32::bigint[])
        AS new (usage_id, source_id, kind, quantity)
    ON CONFLICT (org_id, source_id, kind) DO NOTHING
    RETURNING org_id, kind, quantity
), counted AS (
    INSERT INTO usage_counters (org_id, kind, day, stripe, quantity)
    SELECT org_id, kind, ($7::timestamptz AT TIME ZONE 'UTC')::date, pg_backend_pid() & 31, sum(quantity)
    FROM metered GROUP BY org_id, kind ORDER BY kind
    ON CONFLICT (org_id, kind, day, stripe) DO UPDATE SET quantity = usage_counters.quantity + excluded.quantity
), command AS (
    UPDATE commands SET state = $12, outcome = $13, finished_at = $7
    WHERE org_id = $1 AND command_id = $11 AND EXISTS (SELECT FROM session)
), steered AS (
    UPDATE commands SET state = $12, finished_at = $7,
        outcome = 'the turn that ran heard it' || CASE $12 WHEN 'failed' THEN ', and failed' ELSE '' END
    WHERE org_id = $1 AND command_id = ANY ($33::uuid[]) AND state = 'pending' AND EXISTS (SELECT FROM session)
), heard AS (
    -- The wishes to abort that the turn was aborted for, so that they don't abort the next one, too.
    UPDATE commands SET state = 'done', outcome = 'the turn was aborted', finished_at = $7
    WHERE $16::boolean AND org_id = $1 AND session_id = $2 AND state = 'pending' AND kind = 'abort'
        AND command_id <> $11 AND EXISTS (SELECT FROM session)
        -- One that makes way for a later prompt than the next one that interrupts, or steered and was not heard, is for that one to hear.
        AND (while_running IS NULL OR ordinal < coalesce((
            SELECT min(ordinal) FROM commands
            WHERE org_id = $1 AND session_id = $2 AND state = 'pending' AND while_running IN ('interrupt', 'steer')
                AND kind = 'prompt' AND command_id <> $11 AND command_id <> ALL ($33)), ordinal + 1))
), origin AS (
    -- The prompt that began the turn which the command ends: itself, or the last one before it that had a turn of its own.
    SELECT command_id FROM commands
    WHERE $17::text IS NOT NULL AND org_id = $1 AND session_id = $2 AND kind = 'prompt'
        AND (state <> 'pending' AND (attempt > 0 OR while_running IS DISTINCT FROM 'steer') OR command_id = $11)
        AND ordinal <= (SELECT ordinal FROM commands WHERE org_id = $1 AND command_id = $11)
    ORDER BY ordinal DESC LIMIT 1
), run AS (
    UPDATE runs SET state = $17, finished_at = $7
    WHERE org_id = $1 AND command_id = (SELECT command_id FROM origin) AND state = 'running'
        AND EXISTS (SELECT FROM session)
), cursor AS (
    -- Also one that the snapshot shows as behind: a gateway may have brought it up while this waited for the session.
    UPDATE delivery_cursors SET behind = true, updated_at = CASE WHEN behind THEN delivery_cursors.updated_at ELSE $7 END
    WHERE $14 AND org_id = $1 AND session_id = $2 AND EXISTS (SELECT FROM session)
    RETURNING 1
), next AS (
    SELECT command_id, ordinal, kind, payload, attempt, traceparent FROM commands
    WHERE org_id = $1 AND session_id = $2 AND state = 'pending' AND command_id <> $11
        AND command_id <> ALL ($33) AND EXISTS (SELECT FROM session) AND ((SELECT blocked_on FROM session) IS NULL OR kind <> 'prompt')
        AND NOT ($16 AND kind = 'abort')
        AND (kind = 'abort' OR ordinal >= coalesce((
            SELECT min(ordinal) FROM commands AS ahead
            WHERE org_id = $1 AND session_id = $2 AND state = 'pending' AND while_running IN ('interrupt', 'steer')
                AND command_id <> $11 AND command_id <> ALL ($33) AND NOT ($16 AND kind = 'abort')), 0))
    ORDER BY ordinal LIMIT 1
), ended AS (
    DELETE FROM session_leases
    WHERE org_id = $1 AND session_id = $2 AND NOT EXISTS (SELECT FROM next)
        AND (SELECT last_ordinal FROM session) = (
            SELECT ordinal FROM commands WHERE org_id = $1 AND session_id = $2 ORDER BY ordinal DESC LIMIT 1)
    RETURNING 1
)
SELECT EXISTS (SELECT FROM ended) AS "ended!", EXISTS (SELECT FROM cursor) AS "behind!",
    next.command_id AS "command_id?: CommandId", next.ordinal AS "ordinal?", next.kind AS "kind?",
    next.payload AS "payload?", next.attempt AS "attempt?",
    next.traceparent AS "traceparent?"
FROM session LEFT JOIN next ON true
