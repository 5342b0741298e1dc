//! Who is refused, who is put off, and who is not in whose way.

use chrono::TimeDelta;
use domain::command::{CommandState, WhileRunning, Wish};
use domain::event::TurnOutcome;
use ids::SessionId;
use uuid::Uuid;

use super::*;
use crate::testing::World;
use crate::{Append, EnqueueError, Finish, Lease, NewCommand, NewSession, usage};

impl World {
    async fn allow(&self, kind: UsageKind, quantity_max: i64) {
        let put =
            self.store.quota_put(self.org, kind, QuotaPeriod::Day, quantity_max, &Expected::Anything, "role:test");
        put.await.unwrap().unwrap();
    }

    /// Meters one unit of `kind` from `source`.
    async fn uses(&self, kind: UsageKind, source: Uuid) {
        let mut connection = self.store.pool.acquire().await.unwrap();
        usage::record(&mut connection, self.store.sources(), self.org, source, kind, 1).await.unwrap();
    }

    async fn used(&self, kind: UsageKind) -> i64 {
        let quotas = self.store.quota_list(self.org).await.unwrap();
        quotas.iter().find(|it| it.quota.kind == kind).unwrap().used
    }

    /// Carries the command of a lease out, with 3 tokens in and 5 out, in a second.
    async fn finish(&self, lease: &Lease) {
        let held = self.store.lease_load(lease).await.unwrap();
        let next = held.next.unwrap();
        let finish = Finish {
            append: Append { after: held.last_sequence, events: &[], projection: &held.projection },
            command: next.command,
            state: CommandState::Done,
            sentence: "done".into(),
            turn: Some(TurnOutcome::Completed),
            checkpoint: None,
            turn_ms: 1_000,
            input_tokens: 3,
            output_tokens: 5,
            models: Vec::new(),
            heard: Vec::new(),
        };
        self.store.turn_finish(lease, &finish, &[]).await.unwrap();
    }

    /// Another org, with a session that has something to do.
    async fn other_ready(&self) -> OrgId {
        let org = self.store.org_create("Other", "role:test").await.unwrap().org_id;
        let new = NewSession { org, created_by: None, title: "Plan".into(), agent: "scripted".into() };
        let session = self.store.session_create(1, &new).await.unwrap();
        let wish = Wish::Prompt { text: "say hi".into() };
        let new = NewCommand { org, session, wish, idempotency_key: "k".into(), created_by: None };
        self.store.command_enqueue(&new).await.unwrap();
        org
    }

    async fn enqueue(&self, session: SessionId, key: &str) -> Result<(), EnqueueError> {
        self.store.command_enqueue(&self.prompt(session, key)).await.map(drop)
    }
}

#[tokio::test]
async fn a_source_counts_once_however_many_meter_it_at_once() {
    let world = World::new().await;
    world.allow(UsageKind::Runs, 10).await;
    let source: Uuid = world.store.sources().id();
    futures::future::join_all((0..8).map(|_| world.uses(UsageKind::Runs, source))).await;
    assert_eq!(world.used(UsageKind::Runs).await, 1);
}

#[tokio::test]
async fn a_turn_counts_what_it_used_and_the_next_prompt_is_refused() {
    let world = World::new().await;
    for (kind, max) in
        [(UsageKind::Turns, 9), (UsageKind::TurnMs, 9_000), (UsageKind::InputTokens, 3), (UsageKind::OutputTokens, 9)]
    {
        world.allow(kind, max).await;
    }
    let (session, _) = world.ready().await;
    let lease = world.claim(1).await.remove(0);
    world.finish(&lease).await;
    for (kind, used) in
        [(UsageKind::Turns, 1), (UsageKind::TurnMs, 1_000), (UsageKind::InputTokens, 3), (UsageKind::OutputTokens, 5)]
    {
        assert_eq!(world.used(kind).await, used, "{kind}");
    }
    let refused = world.enqueue(session, "second").await;
    let Err(EnqueueError::OverQuota(used_up)) = refused else { panic!("{refused:?}") };
    assert_eq!((used_up.kind, used_up.ends_at), (UsageKind::InputTokens, QuotaPeriod::Day.ends_at(used_up.seen_at)));
    world.enqueue(session, "first").await.unwrap();

    world.clock.advance(TimeDelta::days(1));
    world.enqueue(session, "second").await.unwrap();
    assert_eq!(world.used(UsageKind::Turns).await, 0);
}

#[tokio::test]
async fn time_that_is_used_up_refuses_prompts_and_puts_off_what_waits() {
    let world = World::new().await;
    world.allow(UsageKind::TurnMs, 1_000).await;
    world.ready().await;
    world.ready().await;
    let lease = world.claim(1).await.remove(0);
    world.finish(&lease).await;
    assert!(world.claim(9).await.is_empty());
    let prompt = world.prompt(lease.session, "second");
    for refused in [
        world.store.command_enqueue(&prompt).await,
        world.store.command_speak(&prompt, WhileRunning::Interrupt, None).await,
    ] {
        let Err(EnqueueError::OverQuota(used_up)) = refused else { panic!("{refused:?}") };
        assert_eq!(used_up.kind, UsageKind::TurnMs);
    }

    world.allow(UsageKind::TurnMs, 1_001).await;
    world.enqueue(lease.session, "second").await.unwrap();
    assert_eq!(world.claim(9).await.len(), 2);
}

#[tokio::test]
async fn what_waits_over_quota_is_put_off_and_in_nobodys_way() {
    let world = World::new().await;
    for _ in 0..3 {
        world.ready().await;
    }
    world.allow(UsageKind::Turns, 0).await;
    let other = world.other_ready().await;
    let claimed = world.claim(1).await;
    assert_eq!(claimed.iter().map(|lease| lease.org).collect::<Vec<_>>(), [other]);
    assert!(world.claim(9).await.is_empty());

    world.clock.advance(TimeDelta::days(1));
    world.allow(UsageKind::Turns, 1).await;
    assert_eq!(world.claim(9).await.iter().filter(|lease| lease.org == world.org).count(), 3);
}

#[tokio::test]
async fn a_quota_that_is_raised_lets_what_was_put_off_go_on() {
    let world = World::new().await;
    world.ready().await;
    world.allow(UsageKind::Turns, 0).await;
    assert!(world.claim(1).await.is_empty());
    world.allow(UsageKind::Turns, 1).await;
    assert_eq!(world.claim(1).await.len(), 1);
}

#[tokio::test]
async fn a_turn_that_was_lost_in_the_middle_is_finished_over_quota() {
    let world = World::new().await;
    world.ready().await;
    assert_eq!(world.claim(1).await.len(), 1);
    world.allow(UsageKind::Turns, 0).await;
    world.clock.advance(TimeDelta::minutes(2));
    assert_eq!(world.claim(1).await.len(), 1);
}

#[tokio::test]
async fn a_quota_is_changed_by_who_has_seen_its_state() {
    let world = World::new().await;
    let (store, org, kind) = (&world.store, world.org, UsageKind::Deliveries);
    let put = async |max, expected: &Expected| {
        store.quota_put(org, kind, QuotaPeriod::Month, max, expected, "role:test").await.unwrap()
    };
    let first = put(1, &Expected::Nothing).await.unwrap();
    assert_eq!(put(2, &Expected::Nothing).await, None);
    let second = put(2, &Expected::OneOf(vec![first.version])).await.unwrap();
    assert_eq!(put(3, &Expected::OneOf(vec![first.version])).await, None);
    let stale = store.quota_remove(org, kind, &Expected::OneOf(vec![first.version]), "role:test").await.unwrap();
    assert_eq!(stale, QuotaRemoval::Stale);
    let gone = store.quota_remove(org, kind, &Expected::OneOf(vec![second.version]), "role:test").await.unwrap();
    assert_eq!((gone, store.quota_get(org, kind).await.unwrap()), (QuotaRemoval::Done, None));
}
