//! Claiming deliveries, and settling what was claimed.
//!
//! Of each binding only the oldest pending delivery can be claimed, so messages arrive in their thread's order and one
//! that fails holds up its own thread only. So threads are claimed, not deliveries: `due_threads` says which to look at, and
//! what waits behind the oldest one costs nothing. Triggers keep that table, whoever writes deliveries. A claim is a lease with a fencing token of generation and counter: whoever
//! is late with a result touches no row, and a restored system does not wait for claims of gateways that are gone.
//!
//! A claim that ran out may have been sent. Where the far side takes a repeat once, the delivery is claimed again, under
//! the same id. Elsewhere, and where the channel was closed since, it becomes unknown, and a person decides.
//!
//! Not guaranteed: exactly once on a channel that deduplicates; the far side's look at the id makes it so.
//!
//! Not here: telling the recovery ledger before and after (`gateway`).

use chrono::TimeDelta;
use clock::Timestamp;
use domain::channel::DeliveryState;
use domain::quota::UsageKind;
use domain::session::FencingToken;
use ids::{ChannelId, DeliveryId, OrgId, UsageId};
use serde_json::Value;
use sqlx::{PgConnection, PgExecutor};

use crate::outbox::{self, Effect, SettledAs};
use crate::{Store, StoreError};

/// Rounds of one claim. Each looks at threads that the one before did not: those had nothing to send, or were put off to the
/// end of a quota's period.
const CLAIM_ROUNDS: u32 = 20;

/// Permission to send one delivery until the lease ends.
#[derive(Debug, Clone)]
pub struct ClaimedDelivery {
    pub org: OrgId,
    pub delivery_id: DeliveryId,
    pub channel_id: ChannelId,
    /// The channel's kind and destination as they are stored: reading them is part of sending, so that a row that can't be
    /// read fails alone.
    pub kind: String,
    pub destination: String,
    pub secret_version: String,
    /// Whether the far side takes a repeat once.
    pub deduplicates: bool,
    /// Where the org lets its channels lead, as it is stored; `None`: anywhere.
    pub channel_hosts: Option<Vec<String>>,
    /// What is posted, whole.
    pub payload: Value,
    /// From 1; an operator's retry begins again.
    pub attempt: i32,
    /// From 1; the recovery ledger's number of this sending.
    pub sending: i32,
    pub token: FencingToken,
    pub created_at: Timestamp,
    /// The span that wrote the command which it tells the end of (crate `traces`); `None`: it was not traced.
    pub traceparent: Option<String>,
}

/// Threads that are looked at, as columns.
#[derive(Default)]
struct Threads {
    orgs: Vec<uuid::Uuid>,
    bindings: Vec<uuid::Uuid>,
}

/// What a look for due deliveries found.
#[derive(Debug, Default)]
pub struct Claims {
    pub deliveries: Vec<ClaimedDelivery>,
    /// Deliveries whose claim had run out and that must not be sent again by themselves. They are unknown now.
    pub unknown: Vec<DeliveryId>,
}

struct ClaimRow {
    org: OrgId,
    delivery_id: DeliveryId,
    channel_id: ChannelId,
    kind: String,
    destination: String,
    secret_version: String,
    deduplicates: bool,
    payload: Value,
    attempt: i32,
    sending: i32,
    generation: i64,
    fencing_counter: i64,
    created_at: Timestamp,
    traceparent: Option<String>,
    unknown: bool,
    /// Its channel was closed while it was being sent, and that failed.
    closed: bool,
    /// Its org has used its quota up.
    put_off: bool,
    channel_hosts: Option<Vec<String>>,
}

impl From<ClaimRow> for ClaimedDelivery {
    fn from(row: ClaimRow) -> Self {
        Self {
            org: row.org,
            delivery_id: row.delivery_id,
            channel_id: row.channel_id,
            kind: row.kind,
            destination: row.destination,
            secret_version: row.secret_version,
            deduplicates: row.deduplicates,
            channel_hosts: row.channel_hosts,
            payload: row.payload,
            attempt: row.attempt,
            sending: row.sending,
            token: FencingToken { generation: row.generation, counter: row.fencing_counter },
            created_at: row.created_at,
            traceparent: row.traceparent,
        }
    }
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The far side has accepted it.
    Sent,
    /// It goes out again. Errors are for people, and hold no secret.
    Retry {
        at: Timestamp,
        error: String,
        /// It may have been accepted already, by a far side that takes a repeat once.
        ambiguous: bool,
    },
    Dead(String),
    /// It may have been accepted, and goes out again only by a person's word.
    Unknown(String),
}

impl Outcome {
    fn state(&self) -> DeliveryState {
        match self {
            Self::Sent => DeliveryState::Sent,
            Self::Retry { .. } => DeliveryState::Pending,
            Self::Dead(_) => DeliveryState::Dead,
            Self::Unknown(_) => DeliveryState::Unknown,
        }
    }

    fn error(&self) -> Option<&str> {
        match self {
            Self::Sent => None,
            Self::Retry { error, .. } | Self::Dead(error) | Self::Unknown(error) => Some(error),
        }
    }

    fn retry_at(&self) -> Option<Timestamp> {
        if let Self::Retry { at, .. } = self { Some(*at) } else { None }
    }

    /// As the recovery ledger knows it.
    #[must_use]
    pub fn settled_as(&self) -> SettledAs {
        match self {
            Self::Sent => SettledAs::Sent,
            Self::Retry { ambiguous: false, .. } => SettledAs::NotSent,
            Self::Dead(_) => SettledAs::Dead,
            Self::Retry { ambiguous: true, .. } | Self::Unknown(_) => SettledAs::Unknown,
        }
    }
}

/// What became of a claimed delivery.
#[derive(Debug, Clone)]
pub struct Settlement {
    pub claim: ClaimedDelivery,
    pub outcome: Outcome,
}

impl Settlement {
    fn effect(&self) -> Effect {
        let ClaimedDelivery { org, delivery_id, sending, .. } = self.claim;
        Effect::DeliverySettled { org, delivery: delivery_id, sending, outcome: self.outcome.settled_as() }
    }
}

impl Store {
    /// Claims up to `limit` deliveries that are due, for `lease`. A gateway of an earlier generation claims nothing.
    pub async fn delivery_claim(&self, generation: i64, limit: i64, lease: TimeDelta) -> Result<Claims, StoreError> {
        let during = || StoreError::during("delivery_claim");
        let now = self.sources.now();
        let mut claims = Claims::default();
        let mut tx = self.begin_everywhere().await.map_err(during())?;
        for _ in 0..CLAIM_ROUNDS {
            let free = limit - i64::try_from(claims.deliveries.len() + claims.unknown.len()).unwrap_or(limit);
            if free <= 0 {
                break;
            }
            let threads = due_threads(&mut tx, generation, now, free).await.map_err(during())?;
            for row in claim_heads(&mut tx, generation, now, lease, &threads).await.map_err(during())? {
                match row {
                    ClaimRow { put_off: true, .. } | ClaimRow { closed: true, .. } => {}
                    ClaimRow { unknown: true, delivery_id, .. } => claims.unknown.push(delivery_id),
                    row => claims.deliveries.push(row.into()),
                }
            }
            if i64::try_from(threads.orgs.len()).is_ok_and(|looked| looked < free) {
                break;
            }
        }
        tx.commit().await.map_err(during())?;
        Ok(claims)
    }

    /// Gives claims back that nothing was done with: they are due as before, and the attempt does not count.
    pub async fn delivery_give_back(&self, claims: &[ClaimedDelivery]) -> Result<(), StoreError> {
        let keys = Keys::of(claims.iter());
        sqlx::query!(
            "-- delivery_give_back
            UPDATE deliveries SET leased_until = NULL, attempt = attempt - 1, sendings = sendings - 1
            FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[])
                AS claims (org_id, delivery_id, generation, fencing_counter)
            WHERE deliveries.org_id = claims.org_id AND deliveries.delivery_id = claims.delivery_id
                AND deliveries.generation = claims.generation
                AND deliveries.fencing_counter = claims.fencing_counter AND deliveries.state = 'pending'",
            &keys.orgs,
            &keys.deliveries,
            &keys.generations,
            &keys.counters,
        )
        .execute(self.everywhere())
        .await
        .map_err(StoreError::during("delivery_give_back"))?;
        Ok(())
    }

    /// Records what became of claimed deliveries, and meters those that were accepted. With `untold`, the recovery ledger
    /// does not know yet, and finds it in the outbox.
    ///
    /// Gives back those that were recorded. Of the others somebody else holds the delivery by now, or an operator set it
    /// aside.
    pub async fn delivery_settle(
        &self,
        settlements: &[Settlement],
        untold: bool,
    ) -> Result<Vec<DeliveryId>, StoreError> {
        let during = || StoreError::during("delivery_settle");
        if !untold {
            return self.settle_claimed(self.everywhere(), settlements).await.map_err(during());
        }
        let mut tx = self.begin_everywhere().await.map_err(during())?;
        let settled = self.settle_claimed(&mut *tx, settlements).await.map_err(during())?;
        let effects: Vec<Effect> = settlements.iter().map(Settlement::effect).collect();
        outbox::insert(&mut tx, &self.sources, &effects).await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        Ok(settled)
    }

    async fn settle_claimed(
        &self,
        executor: impl PgExecutor<'_>,
        settlements: &[Settlement],
    ) -> Result<Vec<DeliveryId>, sqlx::Error> {
        let keys = Keys::of(settlements.iter().map(|one| &one.claim));
        let outcomes = || settlements.iter().map(|one| &one.outcome);
        let states: Vec<String> = outcomes().map(|outcome| outcome.state().as_str().to_owned()).collect();
        let retry_at: Vec<Option<Timestamp>> = outcomes().map(Outcome::retry_at).collect();
        let errors: Vec<Option<String>> = outcomes().map(|outcome| outcome.error().map(str::to_owned)).collect();
        let usage: Vec<uuid::Uuid> = settlements.iter().map(|_| self.sources.id::<UsageId>().into()).collect();
        let settled = sqlx::query_file_scalar!(
            "src/delivery/settle.sql",
            &keys.orgs,
            &keys.deliveries,
            &keys.generations,
            &keys.counters,
            &states,
            &retry_at as &[Option<Timestamp>],
            &errors as &[Option<String>],
            &usage,
            self.sources.now(),
            UsageKind::Deliveries.as_str(),
        );
        settled.fetch_all(executor).await
    }
}

/// Locks up to `limit` threads that are to be looked at, those that wait longest first. None in maintenance.
async fn due_threads(
    connection: &mut PgConnection,
    generation: i64,
    now: Timestamp,
    limit: i64,
) -> Result<Threads, sqlx::Error> {
    let rows = sqlx::query!(
        r#"-- delivery_due_threads
        SELECT org_id, binding_id FROM due_threads
        WHERE due_at <= $1 AND $2 = (SELECT max(generation) FROM generations)
            AND NOT EXISTS (SELECT FROM maintenance WHERE maintenance.generation = $2)
        ORDER BY due_at, binding_id LIMIT $3 FOR UPDATE SKIP LOCKED"#,
        now,
        generation,
        limit,
    )
    .fetch_all(connection)
    .await?;
    let (orgs, bindings) = rows.into_iter().map(|row| (row.org_id, row.binding_id)).unzip();
    Ok(Threads { orgs, bindings })
}

/// Claims what these threads have to send. A statement of its own: its snapshot is younger than the lock, so whoever changed
/// one of them before is seen.
async fn claim_heads(
    connection: &mut PgConnection,
    generation: i64,
    now: Timestamp,
    lease: TimeDelta,
    threads: &Threads,
) -> Result<Vec<ClaimRow>, sqlx::Error> {
    if threads.orgs.is_empty() {
        return Ok(Vec::new());
    }
    let Threads { orgs, bindings } = threads;
    let (until, today) = (now + lease, now.date_naive());
    sqlx::query_file_as!(ClaimRow, "src/delivery/claim.sql", now, until, orgs, bindings, generation, today)
        .fetch_all(connection)
        .await
}

/// Claims as columns.
#[derive(Default)]
struct Keys {
    orgs: Vec<uuid::Uuid>,
    deliveries: Vec<uuid::Uuid>,
    generations: Vec<i64>,
    counters: Vec<i64>,
}

impl Keys {
    fn of<'a>(claims: impl Iterator<Item = &'a ClaimedDelivery>) -> Self {
        let mut keys = Self::default();
        for claim in claims {
            keys.orgs.push(claim.org.into());
            keys.deliveries.push(claim.delivery_id.into());
            keys.generations.push(claim.token.generation);
            keys.counters.push(claim.token.counter);
        }
        keys
    }
}
