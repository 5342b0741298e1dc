-- turn_finish
-- Of several sessions of one org at once. $1 org; one entry a session each: $2 sessions, $3 generations, $4 fencing
-- counters, $5 newest sequences before, $6 and after, $7 projections as text, $8 commands, $9 their states, $10 their
-- outcomes; $11 whether a turn ended with it, $12 what the session is blocked on then, $13 whether it was aborted, $14 the
-- state that a run has then; NULL: the turn goes on. $15 checkpoint or NULL, $16 key of its manifest. $17 now.
-- What follows names its session by the place in those lists.
-- One entry an event each: $18 place, $19 sequence, $20 kind, $21 payload as text.
-- Of files of checkpoints: $22 place, $23 key. Of blobs, sorted by key: $24 place, $25 key, $26 size, $27 hash, $28 when
-- their saving began, less the skew of clocks. Of artifacts: $29 place, $30 id, $31 name, $32 media type, $33 blob key.
-- Of what is metered: $34 place, $35 id, $36 source, $37 kind, $38 quantity.
-- Of prompts that steered a turn and were heard: $40 place, $41 command.
-- Of models that were asked: $42 place, $43 provider, $44 name, $45 input tokens, $46 output tokens, $47 cached ones, $48 requests,
-- $49 those of unknown use.
-- $39 whether to wait for sessions that somebody else has locked; they are left out otherwise.
--
-- Everything hangs from `session`: of a session whose token is not current nothing is written. The snapshot may be older
-- than the lock on a session's row, if somebody else held it: a command that came meanwhile has raised last_ordinal, and
-- then the lease stays.
-- Where the server has no statistics yet, it may read all that the org has and filter (measured: 700 commands for each turn that
-- ended). So `asked` brings the org as a column, by which nothing can be looked for ahead of the join, and its places have a
-- bound, for which the server expects one of them. Where that is not enough, rows are looked for laterally.
WITH asked AS (
    SELECT $1::uuid AS org_id, place, session_id, generation, fencing_counter, before, after, content, command_id, state, outcome, ends,
        blocks_on, aborted, run_state, checkpoint_id, manifest_key
    FROM unnest($2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::text[], $8::uuid[], $9::text[],
            $10::text[], $11::boolean[], $12::text[], $13::boolean[], $14::text[], $15::uuid[], $16::text[])
        WITH ORDINALITY AS asked (session_id, generation, fencing_counter, before, after, content, command_id, state, outcome, ends,
            blocks_on, aborted, run_state, checkpoint_id, manifest_key, place)
    WHERE place BETWEEN 1 AND 64
), free AS (
    SELECT place FROM asked JOIN sessions USING (org_id, session_id) WHERE NOT $39::boolean
    FOR NO KEY UPDATE OF sessions SKIP LOCKED
), waited AS (
    SELECT place FROM asked JOIN sessions USING (org_id, session_id) WHERE $39
    FOR NO KEY UPDATE OF sessions
), locked AS (
    SELECT place FROM free UNION ALL SELECT place FROM waited
), session AS (
    UPDATE sessions
    SET last_sequence = asked.after, updated_at = $17,
        feed_position = greatest(feed_position, (asked.generation << 48) + pg_current_xact_id()::text::bigint),
        checkpoint_id = coalesce(asked.checkpoint_id, sessions.checkpoint_id),
        blocked_on = CASE WHEN asked.ends THEN asked.blocks_on ELSE blocked_on END
    FROM asked JOIN locked USING (place)
    WHERE sessions.org_id = asked.org_id AND sessions.session_id = asked.session_id
        AND sessions.generation = asked.generation AND sessions.fencing_counter = asked.fencing_counter
        AND last_sequence = asked.before
    RETURNING asked.*, last_ordinal, blocked_on, feed_position
), event AS (
    INSERT INTO events (org_id, session_id, sequence, kind, payload, created_at, feed_position)
    SELECT org_id, session_id, new.sequence, new.kind, new.payload::jsonb, $17, feed_position
    FROM unnest($18::bigint[], $19::bigint[], $20::text[], $21::text[]) AS new (place, sequence, kind, payload)
        JOIN session USING (place)
), projection AS (
    UPDATE projections SET sequence = session.after, content = session.content::jsonb, updated_at = $17
    FROM session
    WHERE projections.org_id = session.org_id AND projections.session_id = session.session_id
), doomed AS (
    SELECT blob_key, state, deleted_at FROM blob_deletions
    WHERE org_id = $1 AND blob_key = ANY ($25::text[]) AND EXISTS (SELECT FROM session) ORDER BY blob_key FOR UPDATE
), spared AS (
    DELETE FROM blob_deletions USING doomed
    WHERE org_id = $1 AND blob_deletions.blob_key = doomed.blob_key AND doomed.state = 'waiting'
), blob AS (
    INSERT INTO blobs (org_id, blob_key, size, sha256, created_at)
    SELECT org_id, new.key, new.size, new.sha256, $17
    FROM unnest($24::bigint[], $25, $26::bigint[], $27::bytea[], $28::timestamptz[]) AS new (place, key, size, sha256, since)
        JOIN session USING (place)
    WHERE NOT EXISTS (
        SELECT FROM doomed WHERE doomed.blob_key = new.key AND (state = 'deleting' OR deleted_at >= new.since))
    ON CONFLICT (org_id, blob_key) DO NOTHING
), checkpoint AS (
    INSERT INTO checkpoints (org_id, checkpoint_id, session_id, sequence, manifest_key, created_at)
    SELECT org_id, checkpoint_id, session_id, after, manifest_key, $17 FROM session WHERE checkpoint_id IS NOT NULL
), checkpoint_blob AS (
    INSERT INTO checkpoint_blobs (org_id, checkpoint_id, blob_key)
    SELECT org_id, checkpoint_id, new.key
    FROM unnest($22::bigint[], $23::text[]) AS new (place, key) JOIN session USING (place)
), artifact AS (
    INSERT INTO artifacts (org_id, artifact_id, session_id, name, media_type, blob_key, created_at)
    SELECT org_id, new.artifact_id, session_id, new.name, new.media_type, new.blob_key, $17
    FROM unnest($29::bigint[], $30::uuid[], $31::text[], $32::text[], $33::text[])
        AS new (place, artifact_id, name, media_type, blob_key) JOIN session USING (place)
), metered AS (
    INSERT INTO usage_records (org_id, usage_id, source_id, kind, quantity, recorded_at)
    SELECT org_id, new.usage_id, new.source_id, new.kind, new.quantity, $17
    FROM unnest($34::bigint[], $35::uuid[], $36::uuid[], $37::text[], $38::bigint[])
        AS new (place, usage_id, source_id, kind, quantity) JOIN session USING (place)
    ON CONFLICT (org_id, source_id, kind) DO NOTHING
    RETURNING kind, quantity
), counted AS (
    INSERT INTO usage_counters (org_id, kind, day, stripe, quantity)
    SELECT $1, kind, ($17::timestamptz AT TIME ZONE 'UTC')::date, pg_backend_pid() & 31, sum(quantity)
    FROM metered GROUP BY kind ORDER BY kind
    ON CONFLICT (org_id, kind, day, stripe) DO UPDATE SET quantity = usage_counters.quantity + excluded.quantity
), model AS (
    INSERT INTO model_usage (org_id, command_id, provider, model, input_tokens, output_tokens, cached_tokens, requests,
        requests_unknown, recorded_at)
    SELECT org_id, command_id, new.provider, new.model, new.input_tokens, new.output_tokens, new.cached_tokens, new.requests,
        new.requests_unknown, $17
    FROM unnest($42::bigint[], $43::text[], $44::text[], $45::bigint[], $46::bigint[], $47::bigint[], $48::bigint[], $49::bigint[])
        AS new (place, provider, model, input_tokens, output_tokens, cached_tokens, requests, requests_unknown)
        JOIN session USING (place)
    ON CONFLICT (org_id, command_id, provider, model) DO NOTHING
), command AS (
    UPDATE commands SET state = session.state, outcome = session.outcome, finished_at = $17
    FROM session
    WHERE commands.org_id = session.org_id AND commands.command_id = session.command_id
), steered AS (
    UPDATE commands SET state = session.state, finished_at = $17,
        outcome = 'the turn that ran heard it' || CASE session.state WHEN 'failed' THEN ', and failed' ELSE '' END
    FROM unnest($40::bigint[], $41::uuid[]) AS heard (place, command_id) JOIN session USING (place)
    WHERE commands.org_id = session.org_id AND commands.command_id = heard.command_id AND commands.state = 'pending'
), hears AS (
    -- The wishes to abort that the turn was aborted for, so that they don't abort the next one, too.
    SELECT org_id, abort.command_id
    FROM session CROSS JOIN LATERAL (
        SELECT command_id FROM commands
        WHERE org_id = $1 AND session_id = session.session_id AND state = 'pending' AND kind = 'abort'
            AND command_id <> session.command_id
            -- One that makes way for a later prompt than the next one that interrupts, or steered and was not heard, is for
            -- that one to hear.
            AND (while_running IS NULL OR ordinal < coalesce((
                SELECT min(ordinal) FROM commands
                WHERE org_id = $1 AND session_id = session.session_id AND state = 'pending'
                    AND while_running IN ('interrupt', 'steer') AND kind = 'prompt' AND command_id <> session.command_id
                    AND command_id <> ALL ($41)), ordinal + 1))
        OFFSET 0
    ) AS abort
    WHERE session.aborted
), heard AS (
    UPDATE commands SET state = 'done', outcome = 'the turn was aborted', finished_at = $17
    FROM hears
    WHERE commands.org_id = hears.org_id AND commands.command_id = hears.command_id
), origin AS (
    -- The prompt that began the turn which the command ends: itself, or the last one before it that had a turn of its
    -- own.
    SELECT org_id, prompt.command_id, run_state
    FROM session CROSS JOIN LATERAL (
        SELECT command_id FROM commands
        WHERE org_id = $1 AND session_id = session.session_id AND kind = 'prompt'
            AND (state <> 'pending' AND (attempt > 0 OR while_running IS DISTINCT FROM 'steer')
                OR command_id = session.command_id)
            AND ordinal <= (SELECT ordinal FROM commands WHERE org_id = $1 AND command_id = session.command_id)
        ORDER BY ordinal DESC LIMIT 1
    ) AS prompt
    WHERE session.run_state IS NOT NULL
), run AS (
    UPDATE runs SET state = origin.run_state, finished_at = $17
    FROM origin
    WHERE runs.org_id = origin.org_id AND runs.command_id = origin.command_id AND state = 'running'
), cursor AS (
    -- Also one that the snapshot shows as behind: a gateway may have brought it up while this waited for the session.
    UPDATE delivery_cursors SET behind = true, updated_at = CASE WHEN behind THEN delivery_cursors.updated_at ELSE $17 END
    FROM session
    WHERE ends AND delivery_cursors.org_id = session.org_id AND delivery_cursors.session_id = session.session_id
    RETURNING place
), next AS (
    SELECT session.place, command.command_id, command.ordinal, command.kind, command.payload, command.attempt,
        command.traceparent
    FROM session CROSS JOIN LATERAL (
        SELECT command_id, ordinal, kind, payload, attempt, traceparent FROM commands
        WHERE org_id = $1 AND session_id = session.session_id AND state = 'pending' AND command_id <> session.command_id
            AND command_id <> ALL ($41) AND (session.blocked_on IS NULL OR kind <> 'prompt')
            AND NOT (session.aborted AND kind = 'abort')
            AND (kind = 'abort' OR ordinal >= coalesce((
                SELECT min(ordinal) FROM commands AS ahead
                WHERE org_id = $1 AND session_id = session.session_id AND state = 'pending'
                    AND while_running IN ('interrupt', 'steer') AND command_id <> session.command_id
                    AND command_id <> ALL ($41) AND NOT (session.aborted AND kind = 'abort')), 0))
        ORDER BY ordinal LIMIT 1
    ) AS command
), idle AS (
    -- In the order in which leases are renewed, or two could wait for each other.
    SELECT org_id, session_id, place FROM session
    WHERE place NOT IN (SELECT place FROM next) AND last_ordinal = (
        SELECT ordinal FROM commands WHERE org_id = $1 AND commands.session_id = session.session_id
        ORDER BY ordinal DESC LIMIT 1)
    ORDER BY session_id
), ended AS (
    DELETE FROM session_leases USING idle
    WHERE session_leases.org_id = idle.org_id AND session_leases.session_id = idle.session_id
    RETURNING place
)
SELECT place AS "place!", locked.place IS NOT NULL AS "locked!", session.place IS NOT NULL AS "current!",
    ended.place IS NOT NULL AS "ended!", EXISTS (SELECT FROM cursor WHERE cursor.place = asked.place) AS "behind!",
    next.command_id AS "command_id?: CommandId", next.ordinal AS "ordinal?", next.kind AS "kind?",
    next.payload AS "payload?", next.attempt AS "attempt?", next.traceparent AS "traceparent?",
    EXISTS (SELECT FROM quotas WHERE quotas.org_id = $1) AS "limited!"
FROM asked
    LEFT JOIN locked USING (place)
    LEFT JOIN session USING (place)
    LEFT JOIN next USING (place)
    LEFT JOIN ended USING (place)
