//! Applying what was noted: it is added up, then a statement for each thing that a row can learn tells how many rows learned it.
//!
//! Not here: the notes (`note`), deliveries' statements and those about what no row stands for (`deliveries`).

use chrono::TimeDelta;
use clock::Timestamp;
use sqlx::{PgConnection, Row as _};

use super::{DeliveriesReplayed, Extent, Lost, Remembered, Replayed, SlotsReplayed, deliveries};
use crate::StoreError;

/// How far the clocks of a gateway and of the database may be apart.
const SKEW: TimeDelta = TimeDelta::minutes(5);

/// A statement about the notes. Those that take parameters take, in this order, what [`Statements`] has.
struct Statements<'a> {
    tx: &'a mut PgConnection,
    generation: i64,
    /// When the rows stop knowing. Without it, everything in the notes counts as younger than the rows.
    as_of: Timestamp,
    /// Whether the notes are all that the lost system did since then.
    complete: bool,
}

/// What is remembered without a row.
struct Effects {
    sent: u64,
    dead: u64,
    unknown: u64,
    inbound: u64,
    /// Of these, what happened after the snapshot.
    inbound_after: u64,
    interactions: u64,
}

pub(super) async fn all(
    tx: &mut PgConnection,
    generation: i64,
    extent: Extent,
    now: Timestamp,
) -> Result<Replayed, StoreError> {
    let Extent { as_of, complete } = extent;
    let mut run = Statements { tx, generation, as_of: as_of.unwrap_or(Timestamp::UNIX_EPOCH), complete };
    run.analyze(&["replay_noted_deliveries", "replay_noted_slots", "replay_noted_others"]).await?;
    run.change_since("replay_known", deliveries::KNOWN, run.as_of - SKEW).await?;
    run.change("replay_others", OTHERS).await?;
    run.analyze(&["replay_deliveries", "replay_others"]).await?;
    let effects = run.remember().await?;
    let slots = run.slots().await?;
    let mut replayed = Replayed {
        lost: run.lost(slots.fired, &effects).await?,
        remembered: effects.remembered(),
        deliveries: run.deliveries().await?,
        slots,
        inbound_accepted: effects.inbound,
        interactions_used: effects.interactions,
        identities_disabled: run.change_since("replay_identities", IDENTITIES, run.as_of - SKEW).await?,
        tokens_revoked: run.change("replay_tokens", TOKENS).await?,
        browser_sessions_revoked: run.change("replay_browser_sessions", BROWSER_SESSIONS).await?,
        members_removed: run.change("replay_members", MEMBERS).await?,
        keys_revoked: run.change("replay_keys", KEYS).await?,
        channels_rotated: run.change("replay_channels", CHANNELS).await?,
        channels_closed: run.channels_closed().await?,
        triggers_rotated: run.change("replay_triggers", TRIGGERS).await?,
        subjects_erased: run.number("replay_subjects_erased", SUBJECTS).await?,
        attention: Vec::new(),
    };
    replayed.attention = run.attention(now).await?;
    Ok(replayed)
}

impl Statements<'_> {
    /// Without it the planner knows nothing of tables that were filled a moment ago.
    async fn analyze(&mut self, tables: &[&'static str]) -> Result<(), StoreError> {
        for table in tables {
            let sql = sqlx::AssertSqlSafe(format!("ANALYZE {table}"));
            sqlx::query(sql).execute(&mut *self.tx).await.map_err(StoreError::during("replay_analyze"))?;
        }
        Ok(())
    }

    /// Rows that a statement changed.
    async fn change(&mut self, name: &'static str, sql: &'static str) -> Result<u64, StoreError> {
        let done = sqlx::query(sql).execute(&mut *self.tx).await.map_err(StoreError::during(name))?;
        Ok(done.rows_affected())
    }

    /// As [`Self::change`], of one that asks for the instant of the snapshot.
    async fn change_since(&mut self, name: &'static str, sql: &'static str, at: Timestamp) -> Result<u64, StoreError> {
        let done = sqlx::query(sql).bind(at).execute(&mut *self.tx).await.map_err(StoreError::during(name))?;
        Ok(done.rows_affected())
    }

    /// The one number that a statement answers with.
    async fn number(&mut self, name: &'static str, sql: &'static str) -> Result<u64, StoreError> {
        let number: i64 = sqlx::query_scalar(sql).fetch_one(&mut *self.tx).await.map_err(StoreError::during(name))?;
        Ok(number.unsigned_abs())
    }

    async fn deliveries(&mut self) -> Result<DeliveriesReplayed, StoreError> {
        self.change("replay_closed", deliveries::CLOSED).await?;
        self.change("replay_settle", deliveries::SETTLE).await?;
        self.change("replay_set_aside", deliveries::SET_ASIDE).await?;
        if self.complete {
            self.change_since("replay_claims", deliveries::CLAIMS, self.as_of).await?;
        }
        let during = || StoreError::during("replay_settled");
        let row = sqlx::query(deliveries::SETTLED).fetch_one(&mut *self.tx).await.map_err(during())?;
        let count = |column| row.get::<i64, _>(column).unsigned_abs();
        Ok(DeliveriesReplayed {
            sent: count("sent"),
            dead: count("dead"),
            unknown: count("unknown"),
            again: count("again"),
        })
    }

    /// A closed channel has no bound thread, and nothing waits for it: see `deliveries` for that.
    async fn channels_closed(&mut self) -> Result<u64, StoreError> {
        self.change("replay_cursors_of_closed", CURSORS_OF_CLOSED).await?;
        self.change("replay_threads_of_closed", THREADS_OF_CLOSED).await?;
        self.change("replay_channels_closed", CHANNELS_CLOSED).await
    }

    async fn slots(&mut self) -> Result<SlotsReplayed, StoreError> {
        let rows = sqlx::query(SLOTS).fetch_one(&mut *self.tx).await.map_err(StoreError::during("replay_slots"))?;
        let count = |column| rows.get::<i64, _>(column).unsigned_abs();
        Ok(SlotsReplayed { fired: count("fired"), unknown: count("unknown") })
    }

    async fn remember(&mut self) -> Result<Effects, StoreError> {
        self.change("replay_alone", deliveries::ALONE).await?;
        for (name, sql) in
            [("replay_remember_again", deliveries::REMEMBER_AGAIN), ("replay_remember", deliveries::REMEMBER)]
        {
            let remembering = sqlx::query(sql).bind(self.generation).execute(&mut *self.tx);
            remembering.await.map_err(StoreError::during(name))?;
        }
        let row = sqlx::query(deliveries::REMEMBERED)
            .bind(self.generation)
            .bind(self.as_of)
            .fetch_one(&mut *self.tx)
            .await
            .map_err(StoreError::during("replay_remembered"))?;
        let count = |column| row.get::<i64, _>(column).unsigned_abs();
        Ok(Effects {
            sent: count("sent"),
            dead: count("dead"),
            unknown: count("unknown"),
            inbound: count("inbound"),
            inbound_after: count("inbound_after"),
            interactions: count("interactions"),
        })
    }

    async fn lost(&mut self, runs: u64, effects: &Effects) -> Result<Lost, StoreError> {
        let row = sqlx::query(LOST).fetch_one(&mut *self.tx).await.map_err(StoreError::during("replay_lost"))?;
        let count = |column| row.get::<i64, _>(column).unsigned_abs();
        Ok(Lost {
            deliveries: effects.sent,
            inbound: effects.inbound_after,
            runs,
            slots: count("slots"),
            tokens: count("tokens"),
            members: count("members"),
            keys: count("keys"),
            channels: count("channels"),
            subjects: count("subjects"),
            browser_sessions: count("browser_sessions"),
        })
    }

    /// Keys of which the backup has an older value: taken out of force, and told.
    async fn attention(&mut self, now: Timestamp) -> Result<Vec<String>, StoreError> {
        let during = || StoreError::during("replay_attention");
        let keys: Vec<(uuid::Uuid, String)> =
            sqlx::query_as(KEYS_ROTATED).bind(now).fetch_all(&mut *self.tx).await.map_err(during())?;
        let mut attention: Vec<String> = keys
            .into_iter()
            .map(|(key, version)| {
                format!("the BYOK key {key} was given its secret number {version} after the backup; it is out of force: bring it again")
            })
            .collect();
        let adapter: Option<String> =
            sqlx::query_scalar(ADAPTER).fetch_optional(&mut *self.tx).await.map_err(during())?;
        attention.extend(adapter.map(|version| {
            format!("the adapter key was rotated to version {version} after the backup; configure it as the current one and keep the older ones")
        }));
        Ok(attention)
    }
}

impl Effects {
    fn remembered(&self) -> Remembered {
        Remembered {
            deliveries: self.sent + self.dead,
            deliveries_unknown: self.unknown,
            inbound: self.inbound,
            interactions: self.interactions,
        }
    }
}

/// What works by rows, each once.
const OTHERS: &str = "-- replay_others
    INSERT INTO replay_others (kind, org_id, id, key, label, happened_at)
    SELECT DISTINCT ON (kind, org_id, id, key) kind, org_id, id, key, label, happened_at
    FROM replay_noted_others WHERE kind NOT IN ('inbound', 'interaction')
    ORDER BY kind, org_id, id, key, happened_at DESC, coalesce(label, '') DESC";

/// A slot is known by its row, whether it has a run or not; so it never fires by itself.
const SLOTS: &str = "-- replay_slots
    WITH told AS (
        SELECT org_id, workflow_id, due_at, bool_or(fired) AS fired, max(happened_at) AS happened_at
        FROM replay_noted_slots GROUP BY org_id, workflow_id, due_at
    ), settled AS (
        INSERT INTO slots (org_id, workflow_id, due_at, trigger_id, state, reason, claimed_at)
        SELECT org_id, workflow_id, due_at, NULL, CASE WHEN fired THEN 'fired' ELSE 'unknown' END,
            CASE WHEN fired THEN 'fired by the lost system, after the backup; its run is not in the backup'
                ELSE 'the lost system was about to fire it; whether it did is not known' END,
            happened_at
        FROM told JOIN workflows USING (org_id, workflow_id)
        ON CONFLICT (org_id, workflow_id, due_at) DO NOTHING
        RETURNING state
    )
    SELECT count(*) FILTER (WHERE state = 'fired') AS fired, count(*) FILTER (WHERE state = 'unknown') AS unknown
    FROM settled";

/// What exactly was taken is not told, so all of it is. What was taken before the snapshot, the backup knows.
const IDENTITIES: &str = "-- replay_identities
    UPDATE channel_identities AS known SET state = 'disabled', changed_at = told.happened_at, version = known.version + 1
    FROM replay_others AS told
    WHERE told.kind = 'identity' AND known.org_id = told.org_id AND known.digest = told.key
        AND known.state <> 'disabled' AND told.happened_at >= $1 AND known.changed_at <= told.happened_at";

const TOKENS: &str = "-- replay_tokens
    UPDATE api_tokens SET revoked_at = told.happened_at FROM replay_others AS told
    WHERE told.kind = 'token' AND api_tokens.org_id = told.org_id AND api_tokens.token_id = told.id
        AND api_tokens.revoked_at IS NULL";

const BROWSER_SESSIONS: &str = "-- replay_browser_sessions
    UPDATE browser_sessions SET revoked_at = told.happened_at FROM replay_others AS told
    WHERE told.kind = 'browser_session' AND browser_sessions.account_id = told.id
        AND browser_sessions.session_hash = told.key AND browser_sessions.revoked_at IS NULL";

/// Somebody who was added again after having been removed stays.
const MEMBERS: &str = "-- replay_members
    DELETE FROM memberships USING replay_others AS told
    WHERE told.kind = 'member' AND memberships.org_id = told.org_id AND memberships.account_id = told.id
        AND memberships.created_at <= told.happened_at";

const KEYS: &str = "-- replay_keys
    UPDATE byok_keys SET revoked_at = told.happened_at, ciphertext = '', wrapped_key = '' FROM replay_others AS told
    WHERE told.kind = 'key' AND byok_keys.org_id = told.org_id AND byok_keys.byok_key_id = told.id
        AND byok_keys.revoked_at IS NULL";

/// The backup has a secret from before. Using it would be using a key that its owner has replaced. A version that is no number is
/// of another build: nobody knows here which is newer, so the key is out of force, too.
const KEYS_ROTATED: &str = "-- replay_keys_rotated
    UPDATE byok_keys SET revoked_at = $1, ciphertext = '', wrapped_key = '' FROM (
        SELECT org_id, id, label, CASE WHEN label ~ '^[0-9]{1,10}$' THEN label::bigint END AS number FROM replay_others
        WHERE kind = 'key_rotated'
    ) AS told
    WHERE byok_keys.org_id = told.org_id AND byok_keys.byok_key_id = told.id AND byok_keys.revoked_at IS NULL
        AND (told.number IS NULL OR byok_keys.secret_number < told.number)
    RETURNING byok_keys.byok_key_id, ltrim(told.label, '0')";

const CHANNELS: &str = "-- replay_channels
    UPDATE channels SET secret_version = told.label FROM replay_others AS told
    WHERE told.kind = 'channel_rotated' AND channels.org_id = told.org_id AND channels.channel_id = told.id
        AND channels.secret_version <> told.label";

const CURSORS_OF_CLOSED: &str = "-- replay_cursors_of_closed
    DELETE FROM delivery_cursors USING replay_others AS told, bindings
    WHERE told.kind = 'channel_closed' AND bindings.org_id = told.org_id AND bindings.channel_id = told.id
        AND delivery_cursors.org_id = bindings.org_id AND delivery_cursors.binding_id = bindings.binding_id";

const THREADS_OF_CLOSED: &str = "-- replay_threads_of_closed
    UPDATE bindings SET thread = NULL FROM replay_others AS told
    WHERE told.kind = 'channel_closed' AND bindings.org_id = told.org_id AND bindings.channel_id = told.id
        AND bindings.thread IS NOT NULL";

/// Nobody opens a channel again, so one that was closed at any time stays closed.
const CHANNELS_CLOSED: &str = "-- replay_channels_closed
    UPDATE channels SET closed_at = told.happened_at, version = channels.version + 1 FROM replay_others AS told
    WHERE told.kind = 'channel_closed' AND channels.org_id = told.org_id AND channels.channel_id = told.id
        AND channels.closed_at IS NULL";

/// Numbers only grow, so that no secret of the lost system that was taken out of force is in force again. An overlap that the backup
/// knows was of another rotation.
const TRIGGERS: &str = "-- replay_triggers
    UPDATE triggers SET secret_number = told.number, overlap_until = NULL, overlap_version = NULL FROM (
        SELECT org_id, id, CASE WHEN label ~ '^[0-9]{1,10}$' THEN label::bigint END AS number FROM replay_others
        WHERE kind = 'trigger_rotated'
    ) AS told
    WHERE triggers.org_id = told.org_id AND triggers.trigger_id = told.id AND triggers.secret_number < told.number";

/// What the operator of the lost system had made current stays so. Told only if the backup does not know it.
const ADAPTER: &str = "-- replay_adapter
    INSERT INTO key_rotations (version, rotated_at)
    SELECT label, happened_at FROM replay_others WHERE kind = 'adapter_rotated'
        AND label IS DISTINCT FROM (SELECT version FROM key_rotations ORDER BY rotated_at DESC, version DESC LIMIT 1)
        AND happened_at > coalesce((SELECT max(rotated_at) FROM key_rotations), '-infinity')
    ON CONFLICT (version) DO UPDATE SET rotated_at = excluded.rotated_at
    RETURNING version";

const SUBJECTS: &str = "-- replay_subjects_erased
    SELECT count(*) FROM replay_others AS told JOIN subject_erasures AS erasure ON erasure.account_id = told.id
    WHERE told.kind = 'subject' AND erasure.state = 'erased'";

const LOST: &str = "-- replay_lost
    SELECT
        (SELECT count(DISTINCT (org_id, workflow_id, due_at)) FROM replay_noted_slots AS told WHERE NOT EXISTS (
            SELECT FROM workflows
            WHERE workflows.org_id = told.org_id AND workflows.workflow_id = told.workflow_id)) AS slots,
        (SELECT count(*) FROM replay_others AS told WHERE kind = 'token' AND NOT EXISTS (
            SELECT FROM api_tokens WHERE api_tokens.org_id = told.org_id AND token_id = told.id)) AS tokens,
        (SELECT count(*) FROM replay_others AS told WHERE kind = 'member' AND NOT EXISTS (
            SELECT FROM accounts WHERE account_id = told.id)) AS members,
        (SELECT count(*) FROM replay_others AS told WHERE kind IN ('key', 'key_rotated') AND NOT EXISTS (
            SELECT FROM byok_keys WHERE byok_keys.org_id = told.org_id AND byok_key_id = told.id)) AS keys,
        (SELECT count(DISTINCT id) FROM replay_others AS told
            WHERE kind IN ('channel_rotated', 'channel_closed') AND NOT EXISTS (
            SELECT FROM channels WHERE channels.org_id = told.org_id AND channel_id = told.id)) AS channels,
        (SELECT count(*) FROM replay_others AS told WHERE kind = 'subject' AND NOT EXISTS (
            SELECT FROM accounts WHERE account_id = told.id)) AS subjects,
        (SELECT count(*) FROM replay_others AS told WHERE kind = 'browser_session' AND NOT EXISTS (
            SELECT FROM browser_sessions WHERE session_hash = told.key)) AS browser_sessions";
