use chrono::TimeDelta;
use domain::quota::QuotaPeriod;
use domain::schedule::{NewTrigger, TriggerSpec};
use domain::version::Expected;

use domain::command::{CommandState, WhileRunning, Wish};
use domain::event::TurnOutcome;

use super::*;
use crate::testing::World;
use crate::{Append, Finish, NewCommand, Run};

const ACTOR: &str = "role:test";

/// A workflow that is called.
struct Callable {
    world: World,
    trigger: CalledTrigger,
}

impl Callable {
    async fn new(overlap_policy: OverlapPolicy) -> Self {
        let world = World::new().await;
        let workflow = world.workflow(overlap_policy, vec![world.webhook()]).await;
        let trigger = world.store.trigger_list(world.org, &[workflow]).await.unwrap().remove(0).trigger_id;
        let trigger = world.store.call_find(trigger).await.unwrap().unwrap();
        Self { world, trigger }
    }

    async fn call(&self, event: &str) -> Result<Called, CallError> {
        let mut digest = [0; 32];
        digest[..event.len()].copy_from_slice(event.as_bytes());
        let data = CallData::read(b"{\"order\": 7}").unwrap();
        let call = Call { provider_event_id: event.into(), data, digest };
        self.world.store.call_receive(1, &self.trigger, &call).await
    }

    async fn runs(&self) -> Vec<Run> {
        self.world.store.run_list(self.world.org, Some(self.trigger.workflow), None, 100).await.unwrap()
    }

    async fn slots(&self) -> Vec<(String, Option<TriggerId>)> {
        let slots = self.world.store.slot_list(self.world.org, self.trigger.workflow, None, 100).await.unwrap();
        slots.into_iter().map(|slot| (slot.state, slot.trigger_id)).collect()
    }

    async fn outbox(&self) -> Vec<Effect> {
        let store = &self.world.store;
        let rows = store.outbox_list(store.sources().now(), 100).await.unwrap();
        rows.into_iter().map(|row| row.effect).collect()
    }
}

#[tokio::test]
async fn a_call_is_one_run_however_often_it_comes() {
    let callable = Callable::new(OverlapPolicy::Allow).await;
    let calls = futures::future::join_all((0..6).map(|_| callable.call("e1"))).await;
    let calls: Vec<Called> = calls.into_iter().map(Result::unwrap).collect();
    let run = calls[0].run.expect("it started a run");
    assert!(calls.iter().all(|called| called.run == Some(run) && called.skipped.is_none()));
    assert_eq!(calls.iter().filter(|called| !called.duplicate).count(), 1);

    let runs = callable.runs().await;
    assert_eq!(
        runs.iter().map(|run| (run.run_id, run.trigger_id)).collect::<Vec<_>>(),
        [(run, Some(callable.trigger.trigger))]
    );
    let (org, inlet, workflow) = (callable.world.org, callable.trigger.trigger.into(), callable.trigger.workflow);
    let mut event = [0; 32];
    event[..2].copy_from_slice(b"e1");
    // Ids of one instant have no order.
    let told = callable.outbox().await;
    assert_eq!(told.len(), 2);
    assert!(told.contains(&Effect::InboundAccepted { org, inlet, event }));
    assert!(told.contains(&Effect::SlotFired { org, workflow, due_at: runs[0].due_at }));

    // The clock stands still: the second call's slot is not the first one's.
    let next = callable.call("e2").await.unwrap();
    assert!(!next.duplicate && next.run != Some(run));
    assert_eq!(callable.runs().await.len(), 2);
}

#[tokio::test]
async fn a_call_that_meets_an_unfinished_run_is_skipped_for_ever() {
    let callable = Callable::new(OverlapPolicy::Skip).await;
    callable.call("e1").await.unwrap();
    let skipped = callable.call("e2").await.unwrap();
    assert_eq!(skipped.run, None);
    assert_eq!(skipped.skipped.as_deref(), Some("an earlier run was unfinished"));
    let trigger = Some(callable.trigger.trigger);
    assert_eq!(callable.slots().await, [("skipped".to_owned(), trigger), ("fired".to_owned(), trigger)]);
    sqlx::query("UPDATE runs SET state = 'succeeded'").execute(&callable.world.store.pool).await.unwrap();
    assert_eq!(callable.call("e2").await.unwrap(), Called { duplicate: true, ..skipped });
    assert!(callable.call("e3").await.unwrap().run.is_some());
}

#[tokio::test]
async fn a_call_that_is_not_taken_leaves_nothing_and_may_come_again() {
    let callable = Callable::new(OverlapPolicy::Allow).await;
    let (store, org, workflow) = (&callable.world.store, callable.world.org, callable.trigger.workflow);
    store.workflow_pause(org, workflow, ACTOR).await.unwrap();
    assert!(matches!(callable.call("e1").await, Err(CallError::Paused)));
    store.workflow_resume(org, workflow, ACTOR).await.unwrap();

    store.quota_put(org, UsageKind::Runs, QuotaPeriod::Day, 1, &Expected::Anything, ACTOR).await.unwrap();
    let first = callable.call("e1").await.unwrap();
    assert!(!first.duplicate);
    let Err(CallError::OverQuota(used_up)) = callable.call("e2").await else { panic!("the quota is used up") };
    assert_eq!(used_up.kind, UsageKind::Runs);
    assert!(callable.call("e1").await.unwrap().duplicate, "what was taken is answered all the same");
    assert_eq!(callable.slots().await.len(), 1);
    callable.world.clock.advance(TimeDelta::days(1));
    assert!(!callable.call("e2").await.unwrap().duplicate);

    store.workflow_archive(org, workflow, ACTOR).await.unwrap();
    assert!(matches!(callable.call("e3").await, Err(CallError::Archived)));
    assert_eq!(callable.call("e1").await.unwrap(), Called { duplicate: true, ..first });
}

#[tokio::test]
async fn only_a_trigger_that_takes_calls_is_found_by_its_address() {
    let callable = Callable::new(OverlapPolicy::Allow).await;
    let (store, org, workflow) = (&callable.world.store, callable.world.org, callable.trigger.workflow);
    let hourly = TriggerSpec::Interval { every_s: 3_600, anchor_at: None };
    let hourly = NewTrigger::new(hourly, store.sources().now()).unwrap();
    let hourly = store.trigger_add(org, workflow, &hourly, "1", ACTOR).await.unwrap().trigger_id;
    assert_eq!(store.call_find(hourly).await.unwrap(), None);
    assert_eq!(store.call_find(store.sources().id()).await.unwrap(), None);
    store.trigger_remove(org, workflow, callable.trigger.trigger, ACTOR).await.unwrap();
    assert_eq!(store.call_find(callable.trigger.trigger).await.unwrap(), None);
    assert!(matches!(callable.call("e1").await, Err(CallError::NoSuchTrigger)), "it was found before it was removed");
}

#[tokio::test]
async fn a_run_is_over_with_the_turn_that_it_began_whoever_steered_it() {
    let called = Callable::new(OverlapPolicy::Skip).await;
    called.call("one").await.unwrap();
    let (world, session) = (&called.world, called.runs().await[0].session_id);
    let steer = world.store.command_speak(&world.prompt(session, "steer"), WhileRunning::Steer, None).await.unwrap();
    for turn in [TurnOutcome::AwaitingApproval, TurnOutcome::Completed] {
        let lease = world.claim(1).await.remove(0);
        let held = world.store.lease_load(&lease).await.unwrap();
        let next = held.next.unwrap();
        let append = || Append { after: held.last_sequence, events: &[], projection: &held.projection };
        world.store.turn_start(&lease, &append(), &next).await.unwrap();
        assert_eq!(called.runs().await[0].state, "running");
        let finish = Finish {
            append: append(),
            command: next.command,
            state: CommandState::Done,
            sentence: "the turn is complete".into(),
            turn: Some(turn),
            checkpoint: None,
            turn_ms: 0,
            input_tokens: 0,
            output_tokens: 0,
            models: Vec::new(),
            heard: vec![steer.command],
        };
        assert_eq!(world.store.turn_finish(&lease, &finish, &[]).await.unwrap(), None);
        let approve = Wish::Approve { request_id: "r".into() };
        let approve = NewCommand { wish: approve, ..world.prompt(session, "approve") };
        world.store.command_enqueue(&approve).await.unwrap();
    }
    assert_eq!(called.runs().await[0].state, "succeeded");
}
