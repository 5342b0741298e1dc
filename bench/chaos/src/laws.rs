//! What must hold when all is over: a list of laws, each a name, a sentence and a query that gives whatever breaks it.
//!
//! The queries are asked of the system's own tables and, beside them, of what somebody outside was told or has seen (`outside`).
//! A law that had nothing to look at does not hold: `of` counts that.
//!
//! Not here: what only other programs can say (`proof`), folding events (`folds`).

/// Something that must hold.
#[derive(Debug)]
pub(crate) struct Law {
    pub(crate) name: &'static str,
    pub(crate) sentence: &'static str,
    /// How much there is to look at; one number.
    pub(crate) of: &'static str,
    /// What breaks it; one column of text, a row for each.
    pub(crate) broken: &'static str,
}

pub(crate) const LAWS: &[Law] = &[
    Law {
        name: "acknowledged",
        sentence: "every command that was acknowledged is there, and is finished",
        of: "SELECT count(*) FROM told_commands",
        broken: "SELECT DISTINCT told.command_id::text FROM told_commands AS told LEFT JOIN commands USING (command_id)
            WHERE commands.command_id IS NULL OR commands.session_id <> told.session_id
                OR commands.state = 'pending' OR commands.finished_at IS NULL",
    },
    Law {
        name: "one-key-one-command",
        sentence: "an idempotency key stands for one command, whoever answers",
        of: "SELECT count(*) FROM told_commands",
        broken: "SELECT key FROM told_commands GROUP BY session_id, key HAVING count(DISTINCT command_id) > 1
            UNION ALL
            SELECT key FROM told_commands AS told JOIN commands USING (session_id)
            WHERE commands.idempotency_key = told.key AND commands.command_id <> told.command_id",
    },
    Law {
        name: "once",
        sentence: "what was asked for under one key was made once: sessions, tokens, uploads",
        of: "SELECT count(*) FROM sessions WHERE title LIKE 'once %'",
        broken: "SELECT title FROM sessions WHERE title LIKE 'once %' GROUP BY title HAVING count(*) > 1
            UNION ALL SELECT name FROM api_tokens WHERE name LIKE 'once %' GROUP BY name HAVING count(*) > 1
            UNION ALL SELECT name FROM uploads GROUP BY name HAVING count(*) > 1",
    },
    Law {
        name: "ordinals",
        sentence: "the commands of a session are numbered from 1 without a hole",
        of: "SELECT count(*) FROM commands",
        broken: "SELECT sessions.session_id::text FROM sessions LEFT JOIN commands USING (org_id, session_id)
            GROUP BY sessions.org_id, sessions.session_id
            HAVING count(ordinal) <> last_ordinal OR coalesce(max(ordinal), 0) <> last_ordinal",
    },
    Law {
        name: "sequences",
        sentence: "the events of a session are numbered from 1 without a hole or a repeat",
        of: "SELECT count(*) FROM events",
        broken: "SELECT sessions.session_id::text FROM sessions LEFT JOIN events USING (org_id, session_id)
            GROUP BY sessions.org_id, sessions.session_id
            HAVING count(sequence) <> last_sequence OR min(sequence) <> 1 OR max(sequence) <> last_sequence",
    },
    Law {
        name: "projections",
        sentence: "every session has a projection of its newest event",
        of: "SELECT count(*) FROM projections",
        broken: "SELECT sessions.session_id::text FROM sessions LEFT JOIN projections USING (org_id, session_id)
            WHERE projections.sequence IS DISTINCT FROM last_sequence",
    },
    Law {
        name: "turns-end-once",
        sentence: "the turn of a command ends once, and of every command that had one and was carried out it has ended",
        of: "SELECT count(*) FROM events WHERE kind = 'turn_ended'",
        broken: "SELECT payload->>'command_id' FROM events WHERE kind = 'turn_ended'
            GROUP BY session_id, payload->>'command_id' HAVING count(*) > 1
            UNION ALL
            SELECT command_id::text FROM commands
            WHERE state IN ('done', 'failed', 'dead') AND kind <> 'abort'
                AND NOT (attempt = 0 AND while_running IS NOT DISTINCT FROM 'steer') AND NOT EXISTS (
                SELECT FROM events WHERE events.session_id = commands.session_id AND events.kind = 'turn_ended'
                    AND events.payload->>'command_id' = command_id::text)",
    },
    Law {
        name: "attempts",
        sentence: "the attempts of a command are numbered from 1, each begun after the one before",
        of: "SELECT count(*) FROM events WHERE kind = 'turn_started'",
        broken: "WITH started AS (
                SELECT payload->>'command_id' AS command_id, (payload->>'attempt')::bigint AS attempt,
                    row_number() OVER (PARTITION BY session_id, payload->>'command_id' ORDER BY sequence) AS place
                FROM events WHERE kind = 'turn_started')
            SELECT command_id FROM started WHERE attempt <> place
            UNION ALL
            SELECT commands.command_id::text FROM commands
            WHERE attempt <> (SELECT count(*) FROM started WHERE started.command_id = commands.command_id::text)",
    },
    Law {
        name: "prompts-in-order",
        sentence: "the prompts of a session are begun in the order in which they were taken down",
        of: "SELECT count(*) FROM events WHERE kind = 'turn_started'",
        broken: "WITH begun AS (
                SELECT commands.session_id, ordinal, min(sequence) AS first FROM commands JOIN events
                    ON events.session_id = commands.session_id AND events.kind = 'turn_started'
                    AND events.payload->>'command_id' = command_id::text
                WHERE commands.kind = 'prompt' GROUP BY commands.session_id, ordinal
            ), placed AS (
                SELECT session_id, ordinal, lag(ordinal) OVER (PARTITION BY session_id ORDER BY first) AS before FROM begun)
            SELECT session_id || ': ' || ordinal || ' after ' || before FROM placed WHERE before > ordinal",
    },
    Law {
        name: "one-holder",
        sentence: "what an attempt says stands between its own beginning and the next: no late holder has written",
        of: "SELECT count(*) FROM events WHERE payload->>'message_id' LIKE 'message-%'",
        broken: "WITH placed AS (
                SELECT session_id, sequence, payload->>'message_id' AS message_id,
                    max(sequence) FILTER (WHERE kind = 'turn_started') OVER (
                        PARTITION BY session_id ORDER BY sequence) AS started_at
                FROM events)
            SELECT placed.session_id || ' ' || placed.message_id FROM placed
                LEFT JOIN events AS started ON started.session_id = placed.session_id AND started.sequence = started_at
                LEFT JOIN commands ON commands.command_id::text = started.payload->>'command_id'
            WHERE message_id LIKE 'message-%' AND message_id NOT LIKE
                format('message-%s.%s.', commands.ordinal, started.payload->>'attempt') || '%'",
    },
    Law {
        name: "at-rest",
        sentence: "nothing is left to do: no lease, pending command, waiting delivery, thread behind, running run, untold effect",
        of: "SELECT count(*) FROM commands",
        broken: "SELECT 'lease of ' || session_id FROM session_leases
            UNION ALL SELECT 'command ' || command_id FROM commands WHERE state = 'pending'
            UNION ALL SELECT 'delivery ' || delivery_id FROM deliveries WHERE state = 'pending' OR leased_until IS NOT NULL
            UNION ALL SELECT 'thread ' || binding_id FROM delivery_cursors WHERE behind
            UNION ALL SELECT 'run ' || run_id FROM runs WHERE state = 'running'
            UNION ALL SELECT 'effect ' || outbox_id FROM ledger_outbox",
    },
    Law {
        name: "slots-due",
        sentence: "every slot that was due is settled, and no other",
        of: "SELECT count(*) FROM slots",
        broken: "WITH every AS (
                SELECT workflow_id, created_at, next_due_at, (spec->>'anchor_at')::timestamptz AS anchor_at,
                    make_interval(secs => (spec->>'every_s')::bigint) AS step
                FROM triggers WHERE kind = 'interval'
            ), due AS (
                SELECT workflow_id, due_at FROM every, generate_series(
                    CASE WHEN anchor_at > created_at THEN anchor_at ELSE anchor_at + step END, next_due_at - step, step) AS due_at
            )
            SELECT 'not settled: ' || due_at FROM (
                SELECT workflow_id, due_at FROM due EXCEPT SELECT workflow_id, due_at FROM slots) AS missing
            UNION ALL
            SELECT 'not due: ' || due_at FROM (
                SELECT workflow_id, due_at FROM slots EXCEPT SELECT workflow_id, due_at FROM due) AS surplus",
    },
    Law {
        // A run's end carries the time at which its worker wrote it down, which may be a mishap earlier than it was seen.
        name: "slots-skipped",
        sentence: "a slot is skipped only where its workflow says so: while an earlier run was unfinished",
        of: "SELECT count(*) FROM slots WHERE state <> 'fired'",
        broken: "SELECT workflow_id || ' ' || due_at || ': ' || coalesce(reason, slots.state) FROM slots JOIN workflows USING (org_id, workflow_id)
            WHERE slots.state <> 'fired' AND NOT (
                overlap_policy = 'skip' AND slots.state = 'skipped' AND reason = 'an earlier run was unfinished'
                AND EXISTS (
                    SELECT FROM runs WHERE runs.workflow_id = slots.workflow_id AND runs.due_at < slots.due_at
                        AND (runs.finished_at IS NULL OR runs.finished_at >= slots.due_at - interval '20 seconds')))",
    },
    Law {
        name: "one-run-a-slot",
        sentence: "a slot that fired has one run with a command, and one that did not has none",
        of: "SELECT count(*) FROM runs",
        broken: "SELECT slots.workflow_id || ' ' || slots.due_at FROM slots
                LEFT JOIN runs USING (org_id, workflow_id, due_at) LEFT JOIN commands USING (org_id, command_id)
            WHERE (slots.state = 'fired') <> (runs.run_id IS NOT NULL)
                OR (runs.run_id IS NOT NULL AND commands.session_id IS DISTINCT FROM runs.session_id)
            UNION ALL
            SELECT 'run ' || min(run_id::text) FROM runs GROUP BY workflow_id, due_at HAVING count(*) > 1",
    },
    Law {
        name: "runs-end",
        sentence: "a run has succeeded if its command is done, and failed otherwise",
        of: "SELECT count(*) FROM runs",
        broken: "SELECT run_id || ': ' || runs.state || ', its command: ' || commands.state
            FROM runs JOIN commands USING (org_id, command_id)
            WHERE runs.state <> CASE commands.state WHEN 'done' THEN 'succeeded' ELSE 'failed' END",
    },
    Law {
        name: "turns-are-told",
        sentence: "every turn with something to say is told in every thread of its session",
        of: "SELECT count(*) FROM deliveries",
        broken: "SELECT bindings.thread || ' ' || events.sequence FROM events JOIN bindings USING (org_id, session_id)
            WHERE events.kind = 'turn_ended' AND payload->>'outcome' NOT IN ('aborted', 'dead') AND NOT EXISTS (
                SELECT FROM deliveries WHERE deliveries.binding_id = bindings.binding_id
                    AND deliveries.sequence = events.sequence)",
    },
    Law {
        name: "sent-has-arrived",
        sentence: "what is told as sent has arrived",
        of: "SELECT count(*) FROM deliveries WHERE state = 'sent'",
        broken: "SELECT delivery_id::text FROM deliveries
            WHERE state = 'sent' AND NOT EXISTS (SELECT FROM arrivals WHERE arrivals.delivery_id = deliveries.delivery_id)",
    },
    Law {
        name: "arrived-is-known",
        sentence: "what arrived is known as sent, or is held for a person where nobody can know",
        of: "SELECT count(*) FROM arrivals",
        broken: "SELECT DISTINCT arrivals.delivery_id || ' ' || coalesce(state, 'is not there')
            FROM arrivals LEFT JOIN deliveries USING (delivery_id)
            WHERE state IS NULL OR NOT (state = 'sent' OR (state = 'unknown' AND plain))",
    },
    Law {
        name: "never-twice",
        sentence: "a destination without keys takes no message twice, and one with keys knows each effect by one key",
        of: "SELECT count(*) FROM arrivals WHERE plain",
        broken: "SELECT delivery_id::text FROM arrivals WHERE plain GROUP BY delivery_id HAVING count(*) > 1
            UNION ALL
            SELECT thread || ' ' || sequence FROM arrivals GROUP BY plain, thread, sequence
            HAVING count(DISTINCT delivery_id) > 1",
    },
    Law {
        name: "held-or-dead",
        sentence: "deliveries are held as unknown only where a repeat would be seen, and nobody gives up but an operator",
        of: "SELECT count(*) FROM deliveries",
        broken: "SELECT delivery_id || ' ' || state || ': ' || coalesce(last_error, '')
            FROM deliveries JOIN channels USING (org_id, channel_id)
            WHERE (state = 'unknown' AND deduplicates) OR (state = 'dead' AND channels.name <> 'away')",
    },
    Law {
        // One that is held was perhaps sent by a gateway that had been stopped for longer than its lease.
        name: "order-in-a-thread",
        sentence: "the messages of a thread arrive in order, but for those that are held as unknown",
        of: "SELECT count(*) FROM arrivals",
        broken: "WITH first AS (SELECT delivery_id, min(place) AS place FROM arrivals GROUP BY delivery_id), placed AS (
                SELECT delivery_id, sequence, lag(sequence) OVER (PARTITION BY binding_id ORDER BY first.place) AS before
                FROM first JOIN deliveries USING (delivery_id) WHERE state <> 'unknown')
            SELECT delivery_id || ': ' || sequence || ' after ' || before FROM placed WHERE before > sequence",
    },
    Law {
        name: "inbound-once",
        sentence: "an event from outside became one prompt, however often it came",
        of: "SELECT count(*) FROM told_inbound",
        broken: "SELECT event FROM told_inbound GROUP BY channel_id, event
            HAVING count(DISTINCT command_id) <> 1 OR count(*) FILTER (WHERE NOT duplicate) > 1
            UNION ALL
            SELECT event FROM told_inbound AS told WHERE NOT EXISTS (
                SELECT FROM inbound_messages AS known JOIN commands USING (command_id)
                WHERE known.channel_id = told.channel_id AND known.provider_event_id = told.event
                    AND known.command_id = told.command_id)",
    },
    Law {
        name: "usage-once",
        sentence: "deliveries, runs and turns are metered once, and nothing that did not happen is",
        of: "SELECT count(*) FROM usage_records",
        broken: "SELECT 'delivery ' || coalesce(delivery_id, source_id) FROM deliveries
                FULL JOIN (SELECT source_id FROM usage_records WHERE kind = 'deliveries') AS used ON source_id = delivery_id
            WHERE (state = 'sent') IS DISTINCT FROM (source_id IS NOT NULL)
            UNION ALL
            SELECT 'run ' || coalesce(run_id, source_id) FROM runs
                FULL JOIN (SELECT source_id FROM usage_records WHERE kind = 'runs') AS used ON source_id = run_id
            WHERE source_id IS NULL OR run_id IS NULL
            UNION ALL
            SELECT 'turn ' || coalesce(command_id, source_id::text) FROM (
                    SELECT payload->>'command_id' AS command_id FROM events WHERE kind = 'turn_ended') AS ended
                FULL JOIN (SELECT source_id FROM usage_records WHERE kind = 'turns') AS used ON source_id::text = command_id
            WHERE source_id IS NULL OR command_id IS NULL",
    },
    Law {
        name: "usage-adds-up",
        sentence: "the counters of usage are the sums of its records",
        of: "SELECT count(*) FROM usage_counters",
        broken: "SELECT kind || ' of ' || day FROM (
                SELECT org_id, kind, (recorded_at AT TIME ZONE 'UTC')::date AS day, sum(quantity) AS recorded
                FROM usage_records GROUP BY 1, 2, 3) AS records
            FULL JOIN (
                SELECT org_id, kind, day, sum(quantity) AS counted FROM usage_counters GROUP BY 1, 2, 3) AS counters
            USING (org_id, kind, day)
            WHERE coalesce(recorded, 0) <> coalesce(counted, 0)",
    },
    Law {
        name: "audit",
        sentence: "every audit record is sealed, and the numbers of a chain have no hole",
        of: "SELECT count(*) FROM audit_records",
        broken: "SELECT org_id::text FROM audit_records GROUP BY org_id
            HAVING count(*) <> count(seal_number) OR count(*) <> max(seal_number)
            UNION ALL
            SELECT org_id::text FROM audit_heads WHERE seal_number IS DISTINCT FROM (
                SELECT max(seal_number) FROM audit_records WHERE audit_records.org_id = audit_heads.org_id)",
    },
    Law {
        name: "commands-are-audited",
        sentence: "every command is in the audit trail once, but for those of runs",
        of: "SELECT count(*) FROM commands",
        broken: "SELECT commands.command_id::text FROM commands
                LEFT JOIN audit_records AS told ON told.org_id = commands.org_id AND action = 'session.' || kind
                    AND target = 'session:' || session_id AND detail->>'command_id' = command_id::text
            WHERE NOT EXISTS (SELECT FROM runs WHERE runs.command_id = commands.command_id)
            GROUP BY commands.org_id, commands.command_id HAVING count(audit_id) <> 1",
    },
    Law {
        name: "checkpoints",
        sentence: "a session stands at its newest checkpoint, which covers no event that is not there",
        of: "SELECT count(*) FROM checkpoints",
        broken: "SELECT sessions.session_id::text FROM sessions, LATERAL (
                SELECT checkpoints.checkpoint_id, sequence FROM checkpoints
                WHERE checkpoints.org_id = sessions.org_id AND checkpoints.session_id = sessions.session_id
                ORDER BY sequence DESC LIMIT 1) AS newest
            WHERE sessions.checkpoint_id IS DISTINCT FROM newest.checkpoint_id OR newest.sequence > last_sequence",
    },
    Law {
        name: "blobs-stay",
        sentence: "no object that a row names is to be deleted",
        of: "SELECT count(*) FROM blobs",
        broken: "SELECT blob_key FROM blob_deletions WHERE blob_key IN (
            SELECT blob_key FROM artifacts UNION ALL SELECT blob_key FROM checkpoint_blobs
            UNION ALL SELECT manifest_key FROM checkpoints)",
    },
    Law {
        name: "uploads",
        sentence: "every file that was acknowledged is there, with its size and hash",
        of: "SELECT count(*) FROM told_artifacts",
        broken: "SELECT told.artifact_id::text FROM told_artifacts AS told
                LEFT JOIN artifacts USING (artifact_id) LEFT JOIN blobs USING (org_id, blob_key)
            WHERE blobs.sha256 IS DISTINCT FROM told.sha256 OR blobs.size IS DISTINCT FROM told.size",
    },
    Law {
        name: "tokens",
        sentence: "every token that was made is there, and one that was revoked stays revoked",
        of: "SELECT count(*) FROM told_tokens",
        broken: "SELECT told.token_id::text FROM told_tokens AS told LEFT JOIN api_tokens USING (token_id)
            WHERE api_tokens.token_id IS NULL OR (told.revoked AND revoked_at IS NULL)",
    },
    Law {
        name: "streams",
        sentence: "every reader of a session saw each event once, in order, to the last",
        of: "SELECT count(*) FROM seen_events",
        broken: "SELECT DISTINCT session_id || ' at ' || min(place) OVER (PARTITION BY reader) FROM seen_events
            WHERE sequence <> place
            UNION ALL
            SELECT session_id || ' ends at ' || max(seen_events.sequence) FROM seen_events JOIN sessions USING (session_id)
            GROUP BY session_id, last_sequence HAVING max(seen_events.sequence) <> last_sequence",
    },
    Law {
        name: "feed",
        sentence: "the reader of the feed saw every event of the org once, those of a session in order",
        of: "SELECT count(*) FROM seen_feed",
        broken: "SELECT session_id || ' ' || sequence || ': ' || coalesce(times, 0) || ' times' FROM events
                FULL JOIN (SELECT session_id, sequence, count(*) AS times FROM seen_feed GROUP BY 1, 2) AS seen
                USING (session_id, sequence)
            WHERE times IS DISTINCT FROM 1 OR events.kind IS NULL
            UNION ALL
            SELECT session_id || ' ' || sequence || ' late' FROM (
                SELECT session_id, sequence, lag(sequence) OVER (PARTITION BY session_id ORDER BY place) AS before
                FROM seen_feed) AS placed
            WHERE before > sequence",
    },
];

#[cfg(test)]
mod tests;
