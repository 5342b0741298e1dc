//! What a subscription does to quotas, and what a provider's late, repeated and foreign news do not.

use std::collections::BTreeMap;

use domain::plan::Allowance;
use domain::quota::{QuotaOrigin as Origin, QuotaPeriod, UsageKind};
use domain::subscription::SubscriptionState::{Active, Cancelled, PastDue};

use super::*;
use crate::testing::World;
use crate::{AuditFilter, EnqueueError, Environment, QuotaRemoval};

const GRACE: TimeDelta = TimeDelta::days(7);

fn plans(turns: i64) -> Plans {
    let allowance = Allowance { period: QuotaPeriod::Month, quantity_max: turns };
    let plan = Plan { quotas: [(UsageKind::Turns, allowance)].into(), ..Plan::default() };
    BTreeMap::from([("team".to_owned(), plan), ("free".to_owned(), Plan::default())]).into()
}

fn terms(world: &World, state: SubscriptionState, seconds: i64) -> Terms {
    Terms {
        plan: Some("team".into()),
        state,
        period_ends_at: None,
        customer: Some("cus_1".into()),
        reference: "sub_1".into(),
        at: world.store.sources().now() + TimeDelta::seconds(seconds),
    }
}

impl World {
    async fn told(&self, event: &str, terms: &Terms) -> SubscriptionChange {
        let told = (Some(event), terms);
        self.store.subscription_change(Some(self.org), "stripe", told, (&plans(5), GRACE)).await.unwrap()
    }

    async fn put_on(&self, plan: &str, state: SubscriptionState) {
        let new = NewSubscription { plan: plan.into(), state, period_ends_at: None };
        let (plans, anything) = (plans(5), Expected::Anything);
        let put = self.store.subscription_put(self.org, &new, (&plans, GRACE), &anything, "role:test");
        put.await.unwrap().unwrap();
    }

    async fn lose_subscription(&self) {
        sqlx::query("DELETE FROM subscriptions").execute(&self.store.pool).await.unwrap();
    }

    async fn subscription(&self) -> Subscription {
        self.store.subscription_get(self.org).await.unwrap().unwrap()
    }

    async fn quota_of_turns(&self) -> Option<(Origin, i64)> {
        let quota = self.store.quota_get(self.org, UsageKind::Turns).await.unwrap();
        quota.map(|quota| (quota.origin, quota.quantity_max))
    }

    async fn settle(&self, plans: &Plans) -> usize {
        let due = self.store.subscription_due(plans, 10).await.unwrap();
        for org in &due {
            self.store.subscription_settle(*org, plans).await.unwrap();
        }
        due.len()
    }

    /// Why a prompt is refused.
    async fn refused(&self, key: &str) -> Option<Origin> {
        let session = self.session().await;
        match self.store.command_enqueue(&self.prompt(session, key)).await {
            Ok(_) => None,
            Err(EnqueueError::OverQuota(used_up)) => Some(used_up.origin),
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn an_orgs_own_quota_stands_before_its_plans() {
    let world = World::new().await;
    world.put_on("team", Active).await;
    assert_eq!(world.quota_of_turns().await, Some((Origin::Plan, 5)));
    let own = world.store.quota_put(world.org, UsageKind::Turns, QuotaPeriod::Day, 9, &Expected::Anything, "role:test");
    assert_eq!(own.await.unwrap().unwrap().origin, Origin::Org);
    world.put_on("team", Active).await;
    assert_eq!(world.quota_of_turns().await, Some((Origin::Org, 9)));
    let remove =
        async || world.store.quota_remove(world.org, UsageKind::Turns, &Expected::Anything, "role:test").await.unwrap();
    assert_eq!(remove().await, QuotaRemoval::Done);
    assert_eq!(world.quota_of_turns().await, Some((Origin::Plan, 5)));
    assert_eq!(remove().await, QuotaRemoval::NoSuchQuota, "the plan's is not the org's to remove");
    world.put_on("free", Active).await;
    assert_eq!(world.quota_of_turns().await, None);
}

#[tokio::test]
async fn who_has_ended_begins_nothing_until_it_is_active_again() {
    let world = World::new().await;
    world.put_on("team", Active).await;
    assert_eq!(world.refused("one").await, None);
    world.put_on("team", Cancelled).await;
    assert_eq!(world.refused("two").await, Some(Origin::Subscription));
    // What waits is not taken either.
    assert!(world.claim(10).await.is_empty());
    world.put_on("team", Active).await;
    assert_eq!(world.refused("three").await, None);
    assert_eq!(world.quota_of_turns().await, Some((Origin::Plan, 5)));
    assert_eq!(world.claim(10).await.len(), 2);
}

#[tokio::test]
async fn who_does_not_pay_goes_on_for_the_time_of_grace() {
    let world = World::new().await;
    assert_eq!(world.told("evt_1", &terms(&world, Active, 0)).await, SubscriptionChange::Taken);
    assert_eq!(world.told("evt_2", &terms(&world, PastDue, 1)).await, SubscriptionChange::Taken);
    assert_eq!(world.settle(&plans(5)).await, 0);
    world.clock.advance(TimeDelta::days(6));
    assert_eq!(world.told("evt_3", &terms(&world, PastDue, 0)).await, SubscriptionChange::Taken);
    assert_eq!(world.refused("one").await, None);
    world.clock.advance(TimeDelta::days(1) + TimeDelta::seconds(1));
    assert_eq!(world.settle(&plans(5)).await, 1);
    assert_eq!(world.settle(&plans(5)).await, 0);
    assert_eq!(world.refused("two").await, Some(Origin::Subscription));
    assert_eq!(world.told("evt_4", &terms(&world, Active, 0)).await, SubscriptionChange::Taken);
    assert_eq!(world.refused("three").await, None);
}

#[tokio::test]
async fn an_event_has_its_effect_once_and_late_news_have_none() {
    let world = World::new().await;
    world.told("evt_1", &terms(&world, Active, 0)).await;
    let newer = terms(&world, PastDue, 20);
    assert_eq!(world.told("evt_2", &newer).await, SubscriptionChange::Taken);
    let before = world.subscription().await;
    assert_eq!(world.told("evt_2", &newer).await, SubscriptionChange::Known);
    let late = terms(&world, Active, 10);
    assert_eq!(world.told("evt_3", &late).await, SubscriptionChange::Ruled(Ruling::Older));
    assert_eq!(world.told("evt_3", &late).await, SubscriptionChange::Known);
    let foreign = Terms { reference: "sub_2".into(), ..terms(&world, Cancelled, 30) };
    assert_eq!(world.told("evt_4", &foreign).await, SubscriptionChange::Ruled(Ruling::Another));
    assert_eq!(world.subscription().await, before);
    world.told("evt_5", &terms(&world, Cancelled, 40)).await;
    let risen = terms(&world, Active, 50);
    assert_eq!(world.told("evt_6", &risen).await, SubscriptionChange::Ruled(Ruling::Ended));
    let (audited, _) = world.store.audit_list(world.org, &AuditFilter::default(), 0, 100).await.unwrap();
    assert_eq!(audited.iter().filter(|record| record.action == "subscription.change").count(), 3);
}

#[tokio::test]
async fn a_subscription_is_found_by_what_the_provider_calls_it() {
    let world = World::new().await;
    world.told("evt_1", &terms(&world, Active, 0)).await;
    let change = async |provider: &str, event: &str| {
        let ended = terms(&world, Cancelled, 1);
        let told = (Some(event), &ended);
        world.store.subscription_change(None, provider, told, (&plans(5), GRACE)).await.unwrap()
    };
    assert_eq!(change("another", "evt_2").await, SubscriptionChange::NoSuchOrg);
    assert_eq!(change("stripe", "evt_2").await, SubscriptionChange::Taken);
}

#[tokio::test]
async fn the_same_event_twice_at_once_counts_once() {
    let world = World::new().await;
    let active = terms(&world, Active, 0);
    let (one, two) = tokio::join!(world.told("evt_1", &active), world.told("evt_1", &active));
    let mut both = [one, two].map(|change| change == SubscriptionChange::Taken);
    both.sort_unstable();
    assert_eq!(both, [false, true]);
}

#[tokio::test]
async fn a_plan_that_allows_something_else_now_reaches_who_is_on_it() {
    let world = World::new().await;
    world.put_on("team", Active).await;
    assert_eq!(world.settle(&plans(50)).await, 1);
    assert_eq!(world.quota_of_turns().await, Some((Origin::Plan, 50)));
    // Whoever takes a plan out of the configuration has not said that it may be used without end.
    assert_eq!(world.settle(&Plans::default()).await, 0);
    assert_eq!(world.quota_of_turns().await, Some((Origin::Plan, 50)));
}

#[tokio::test]
async fn after_a_restore_a_subscription_is_unconfirmed_until_somebody_says_what_it_is() {
    let world = World::new().await;
    world.told("evt_1", &terms(&world, Active, 0)).await;
    assert!(world.subscription().await.confirmed);
    world.clock.advance(TimeDelta::hours(1));
    let backup = world.store.sources().id();
    world.store.generation_start(backup, Environment::Production).await.unwrap();
    let restored = world.subscription().await;
    assert!(!restored.confirmed);
    world.clock.advance(TimeDelta::hours(1));
    let asked = async |terms: &Terms| {
        world.store.subscription_change(Some(world.org), "stripe", (None, terms), (&plans(5), GRACE)).await.unwrap()
    };
    let ended = terms(&world, Cancelled, 0);
    assert_eq!(asked(&ended).await, SubscriptionChange::Taken);
    assert!(world.subscription().await.confirmed);
    assert_eq!(world.refused("one").await, Some(Origin::Subscription));
    // What was sent before the question comes after the answer.
    assert_eq!(world.told("evt_2", &terms(&world, PastDue, -1)).await, SubscriptionChange::Ruled(Ruling::Ended));
    let backup = world.store.sources().id();
    world.clock.advance(TimeDelta::hours(1));
    world.store.generation_start(backup, Environment::Production).await.unwrap();
    world.clock.advance(TimeDelta::hours(1));
    assert_eq!(asked(&terms(&world, Cancelled, 0)).await, SubscriptionChange::Ruled(Ruling::Ended));
    assert!(world.subscription().await.confirmed, "it is over, and that is known again");
}

#[tokio::test]
async fn events_are_forgotten_when_nobody_repeats_them_any_more() {
    let world = World::new().await;
    world.told("evt_1", &terms(&world, Active, 0)).await;
    assert_eq!(world.store.billing_event_sweep().await.unwrap(), 0);
    world.clock.advance(REMEMBERED + TimeDelta::seconds(1));
    assert_eq!(world.store.billing_event_sweep().await.unwrap(), 1);
}

#[tokio::test]
async fn an_operator_gives_an_org_a_subscription_whose_own_was_lost() {
    let world = World::new().await;
    world.lose_subscription().await;
    assert_eq!(world.store.subscription_get(world.org).await.unwrap(), None);
    let (new, plans) = (NewSubscription { plan: "team".into(), state: Active, period_ends_at: None }, plans(5));
    let seen = Expected::Something;
    let put = world.store.subscription_put(world.org, &new, (&plans, GRACE), &seen, "role:test").await.unwrap();
    assert_eq!(put, None, "what was seen is not there any more");
    for version in 1..3 {
        world.put_on("team", Active).await;
        let found = world.subscription().await;
        assert_eq!((found.plan.as_str(), found.confirmed, found.version.version), ("team", true, version));
    }
    assert_eq!(world.quota_of_turns().await, Some((Origin::Plan, 5)));
}
