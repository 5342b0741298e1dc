//! Subscriptions: which plan each org is on, who says so, and what of that is in force.
//!
//! What changes a subscription also changes the quotas that come from it, in the same transaction. Time and configuration change it,
//! too: those are found by [`Store::subscription_due`] and put right by [`Store::subscription_settle`], which takes no other input.
//!
//! A provider's event has its effect once: its id is written in the transaction of the effect. Older news never undo newer
//! (`domain::subscription`).
//!
//! Not promised: that a restored row is what the provider knows. It is `confirmed` again when the provider, or an operator, has said
//! since the restore what it is.
//!
//! Not here: what an org may use (`quota`), the provider (crate `billing`).

use chrono::TimeDelta;
use clock::Timestamp;
use domain::plan::{Plan, Plans};
use domain::subscription::{Known, MANUAL, Ruling, SubscriptionState, Terms};
use domain::version::{Expected, RowVersion};
use ids::OrgId;
use serde_json::json;
use sqlx::{PgConnection, PgExecutor};

use crate::wake::Wake;
use crate::{Store, StoreError, audit, quota};

/// How long an event's id is remembered. Providers repeat one for days.
const REMEMBERED: TimeDelta = TimeDelta::days(60);
/// Ids of one sweep.
const SWEPT: i64 = 1_000;

/// The plan that an org is on, and on which terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    pub plan: String,
    pub state: SubscriptionState,
    /// `manual`: an operator says what it is.
    pub provider: String,
    pub customer: Option<String>,
    pub reference: Option<String>,
    pub started_at: Timestamp,
    pub period_ends_at: Option<Timestamp>,
    /// From then on nothing new begins. `None`: it goes on.
    pub refused_from: Option<Timestamp>,
    /// Whether it was said in this generation that it is so.
    pub confirmed: bool,
    pub version: RowVersion,
    changed_at: Option<Timestamp>,
}

/// What an operator says that a subscription is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSubscription {
    pub plan: String,
    pub state: SubscriptionState,
    pub period_ends_at: Option<Timestamp>,
}

/// What became of a provider's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionChange {
    Taken,
    /// The event was here already.
    Known,
    /// It changes nothing (`domain::subscription`).
    Ruled(Ruling),
    /// It is no org's of ours.
    NoSuchOrg,
}

struct Row {
    plan: String,
    state: String,
    provider: String,
    customer: Option<String>,
    reference: Option<String>,
    started_at: Timestamp,
    period_ends_at: Option<Timestamp>,
    changed_at: Option<Timestamp>,
    refused_from: Option<Timestamp>,
    confirmed: bool,
    version: i64,
}

impl TryFrom<Row> for Subscription {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let unreadable = StoreError::unreadable("subscriptions", "state", row.state.clone());
        Ok(Self {
            state: row.state.parse().map_err(unreadable)?,
            version: RowVersion { since: row.started_at, version: row.version },
            plan: row.plan,
            provider: row.provider,
            customer: row.customer,
            reference: row.reference,
            started_at: row.started_at,
            period_ends_at: row.period_ends_at,
            refused_from: row.refused_from,
            confirmed: row.confirmed,
            changed_at: row.changed_at,
        })
    }
}

impl Subscription {
    fn known(&self) -> Known {
        Known {
            provider: self.provider.clone(),
            state: self.state,
            reference: self.reference.clone(),
            changed_at: self.changed_at,
            refused_from: self.refused_from,
        }
    }

    /// What comes in the place of one that was lost, before somebody says what it is.
    fn anew(now: Timestamp) -> Self {
        Self {
            plan: String::new(),
            state: SubscriptionState::Active,
            provider: MANUAL.to_owned(),
            customer: None,
            reference: None,
            started_at: now,
            period_ends_at: None,
            refused_from: None,
            confirmed: false,
            version: RowVersion { since: now, version: 0 },
            changed_at: None,
        }
    }

    /// After an operator's word at `at`. One that is cancelled goes on until the end of what is paid.
    fn set(&self, new: &NewSubscription, at: Timestamp, grace: TimeDelta) -> Self {
        let ends = new.period_ends_at.filter(|ends| new.state == SubscriptionState::Cancelled && *ends > at);
        Self {
            plan: new.plan.clone(),
            state: new.state,
            provider: MANUAL.to_owned(),
            reference: None,
            period_ends_at: new.period_ends_at,
            refused_from: ends.or_else(|| new.state.refused_from(at, grace)),
            changed_at: Some(at),
            ..self.clone()
        }
    }

    fn told(&self, provider: &str, terms: &Terms, grace: TimeDelta) -> Self {
        Self {
            plan: terms.plan.clone().unwrap_or_else(|| self.plan.clone()),
            state: terms.state,
            provider: provider.to_owned(),
            customer: terms.customer.clone().or_else(|| self.customer.clone()),
            reference: Some(terms.reference.clone()),
            period_ends_at: terms.period_ends_at,
            refused_from: self.known().refused_from(terms, grace),
            changed_at: Some(terms.at),
            ..self.clone()
        }
    }
}

impl Store {
    pub async fn subscription_get(&self, org: OrgId) -> Result<Option<Subscription>, StoreError> {
        get(self.of(org), org).await
    }

    /// Sets what a subscription is, by an operator's word. `plans` has its plan. `None`: it is in another state than `expected`. An org
    /// whose subscription was lost has one again.
    pub async fn subscription_put(
        &self,
        org: OrgId,
        new: &NewSubscription,
        (plans, grace): (&Plans, TimeDelta),
        expected: &Expected,
        actor: &str,
    ) -> Result<Option<Subscription>, StoreError> {
        let during = || StoreError::during("subscription_put");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        let found = lock(&mut tx, org).await?;
        if !expected.met_by(found.as_ref().map(|found| found.version)) {
            return Ok(None);
        }
        let now = self.sources.now();
        let next = found.unwrap_or_else(|| Subscription::anew(now)).set(new, now, grace);
        put(&mut tx, org, &next, plans, now).await.map_err(during())?;
        let detail = detail(&next);
        audit::record(&mut tx, &self.sources, org, actor, "subscription.put", &target(org), detail)
            .await
            .map_err(during())?;
        let put = get(&mut *tx, org).await?;
        tx.commit().await.map_err(during())?;
        self.wakes.tell(Wake::Work);
        Ok(put)
    }

    /// Takes a provider's word for what a subscription is, once for each of its events. Without one it was asked. Whose it is, the
    /// provider says, or its reference does.
    pub async fn subscription_change(
        &self,
        org: Option<OrgId>,
        provider: &str,
        (event, terms): (Option<&str>, &Terms),
        (plans, grace): (&Plans, TimeDelta),
    ) -> Result<SubscriptionChange, StoreError> {
        let during = || StoreError::during("subscription_change");
        let org = match org {
            Some(org) => Some(org),
            None => self.subscription_owner(provider, &terms.reference).await?,
        };
        let Some(org) = org else { return Ok(SubscriptionChange::NoSuchOrg) };
        let mut tx = self.begin_of(org).await.map_err(during())?;
        let Some(found) = lock(&mut tx, org).await? else { return Ok(SubscriptionChange::NoSuchOrg) };
        let now = self.sources.now();
        if let Some(id) = event
            && !remember(&mut tx, org, provider, id, now).await.map_err(during())?
        {
            return Ok(SubscriptionChange::Known);
        }
        let ruling = found.known().rule(provider, terms);
        // What is over stays so; it is known again that it is.
        let confirms = event.is_none() && ruling == Ruling::Ended;
        if ruling == Ruling::Take || confirms {
            let next = if confirms { found } else { found.told(provider, terms, grace) };
            put(&mut tx, org, &next, plans, now).await.map_err(during())?;
            let actor = format!("provider:{provider}");
            let detail = detail(&next);
            audit::record(&mut tx, &self.sources, org, &actor, "subscription.change", &target(org), detail)
                .await
                .map_err(during())?;
        }
        tx.commit().await.map_err(during())?;
        self.wakes.tell(Wake::Work);
        Ok(if ruling == Ruling::Take { SubscriptionChange::Taken } else { SubscriptionChange::Ruled(ruling) })
    }

    async fn subscription_owner(&self, provider: &str, reference: &str) -> Result<Option<OrgId>, StoreError> {
        sqlx::query_scalar!(
            r#"-- subscription_owner
            SELECT org_id AS "org_id: OrgId" FROM subscriptions WHERE provider = $1 AND reference = $2
            ORDER BY org_id LIMIT 1"#,
            provider,
            reference,
        )
        .fetch_optional(self.everywhere())
        .await
        .map_err(StoreError::during("subscription_owner"))
    }

    /// Orgs whose quotas are not what their subscription says: its time has run out, or their plan allows something else now. One on
    /// a plan that `plans` has not keeps the quotas that it has.
    pub async fn subscription_due(&self, plans: &Plans, limit: i64) -> Result<Vec<OrgId>, StoreError> {
        let (names, allows): (Vec<String>, Vec<String>) =
            plans.iter().map(|(name, plan)| (name.to_owned(), plan.allows())).unzip();
        sqlx::query_scalar!(
            r#"-- subscription_due
            SELECT org_id AS "org_id: OrgId" FROM subscriptions
            WHERE refused_from <= $1 AND NOT refused
                OR EXISTS (SELECT FROM unnest($2::text[], $3::text[]) AS known (plan, allows)
                    WHERE known.plan = subscriptions.plan AND known.allows <> subscriptions.allows)
            ORDER BY org_id LIMIT $4"#,
            self.sources.now(),
            &names,
            &allows,
            limit,
        )
        .fetch_all(self.everywhere())
        .await
        .map_err(StoreError::during("subscription_due"))
    }

    /// Makes an org's quotas what its subscription says by now.
    pub async fn subscription_settle(&self, org: OrgId, plans: &Plans) -> Result<(), StoreError> {
        let during = || StoreError::during("subscription_settle");
        let mut tx = self.begin_of(org).await.map_err(during())?;
        let Some(found) = lock(&mut tx, org).await? else { return Ok(()) };
        in_force(&mut tx, org, &found, plans, self.sources.now()).await.map_err(during())?;
        tx.commit().await.map_err(during())?;
        self.wakes.tell(Wake::Work);
        Ok(())
    }

    /// Forgets some of the events that came long ago, and gives back how many.
    pub async fn billing_event_sweep(&self) -> Result<u64, StoreError> {
        let swept = sqlx::query!(
            "-- billing_event_sweep
            DELETE FROM billing_events WHERE (provider, event_id) IN (
                SELECT provider, event_id FROM billing_events
                WHERE received_at < $1 ORDER BY received_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
            self.sources.now() - REMEMBERED,
            SWEPT,
        )
        .execute(self.everywhere())
        .await
        .map_err(StoreError::during("billing_event_sweep"))?;
        Ok(swept.rows_affected())
    }
}

/// `false`: it was remembered already.
async fn remember(
    connection: &mut PgConnection,
    org: OrgId,
    provider: &str,
    event: &str,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let inserted = sqlx::query!(
        "-- billing_event_remember
        INSERT INTO billing_events (org_id, provider, event_id, received_at) VALUES ($1, $2, $3, $4)
        ON CONFLICT (provider, event_id) DO NOTHING",
        org as OrgId,
        provider,
        event,
        now,
    )
    .execute(connection)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

async fn get(connection: impl PgExecutor<'_>, org: OrgId) -> Result<Option<Subscription>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        r#"-- subscription_get
        SELECT plan, state, provider, customer, reference, started_at, period_ends_at, changed_at, refused_from, version,
            NOT EXISTS (SELECT FROM generations WHERE reason = 'restored'
                AND generations.started_at > coalesce(confirmed_at, subscriptions.started_at)) AS "confirmed!"
        FROM subscriptions WHERE org_id = $1"#,
        org as OrgId,
    )
    .fetch_optional(connection)
    .await
    .map_err(StoreError::during("subscription_get"))?;
    row.map(Subscription::try_from).transpose()
}

/// Nobody else changes it meanwhile.
async fn lock(connection: &mut PgConnection, org: OrgId) -> Result<Option<Subscription>, StoreError> {
    sqlx::query!(
        "-- subscription_lock
        SELECT org_id FROM subscriptions WHERE org_id = $1 FOR UPDATE",
        org as OrgId,
    )
    .fetch_optional(&mut *connection)
    .await
    .map_err(StoreError::during("subscription_lock"))?;
    get(connection, org).await
}

async fn put(
    connection: &mut PgConnection,
    org: OrgId,
    next: &Subscription,
    plans: &Plans,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "-- subscription_put
        INSERT INTO subscriptions (org_id, plan, state, provider, customer, reference, period_ends_at, changed_at,
            refused_from, confirmed_at, started_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        ON CONFLICT (org_id) DO UPDATE SET plan = $2, state = $3, provider = $4, customer = $5, reference = $6,
            period_ends_at = $7, changed_at = $8, refused_from = $9, confirmed_at = $10, version = subscriptions.version + 1",
        org as OrgId,
        next.plan,
        next.state.as_str(),
        next.provider,
        next.customer,
        next.reference,
        next.period_ends_at,
        next.changed_at,
        next.refused_from,
        now,
        next.started_at,
    )
    .execute(&mut *connection)
    .await?;
    in_force(connection, org, next, plans, now).await
}

/// Makes the quotas what the subscription says. Of a plan that nobody knows the quotas stay as they were.
async fn in_force(
    connection: &mut PgConnection,
    org: OrgId,
    subscription: &Subscription,
    plans: &Plans,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let plan = plans.get(&subscription.plan);
    sqlx::query!(
        "-- subscription_in_force
        UPDATE subscriptions SET refused = coalesce(refused_from <= $2, false), allows = coalesce($3, allows)
        WHERE org_id = $1",
        org as OrgId,
        now,
        plan.map(Plan::allows),
    )
    .execute(&mut *connection)
    .await?;
    quota::apply(connection, org, plan, now).await
}

fn target(org: OrgId) -> String {
    format!("subscription:{org}")
}

fn detail(next: &Subscription) -> serde_json::Value {
    json!({
        "plan": next.plan, "state": next.state, "provider": next.provider, "reference": next.reference,
        "period_ends_at": next.period_ends_at, "refused_from": next.refused_from,
    })
}

#[cfg(test)]
mod tests;
