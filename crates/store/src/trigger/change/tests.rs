use domain::schedule::{OverlapPolicy, TriggerSpec};

use super::*;
use crate::testing::World;
use crate::{AuditFilter, Call, CallError};

const ACTOR: &str = "role:test";
const AT_ONCE: TimeDelta = TimeDelta::zero();

async fn workflow(world: &World) -> WorkflowId {
    world.workflow(OverlapPolicy::Allow, Vec::new()).await
}

#[tokio::test]
async fn a_call_under_a_secret_that_was_rotated_meanwhile_is_not_taken() {
    let world = World::new().await;
    let (store, org, workflow) = (&world.store, world.org, workflow(&world).await);
    let added = store.trigger_add(org, workflow, &world.webhook(), "1", ACTOR).await.unwrap();
    assert_eq!(added.secret, Some(TriggerSecret { version: "1".into(), number: 1 }));
    let verified = store.call_find(added.trigger_id).await.unwrap().unwrap();

    let rotated = store.trigger_rotate_secret(org, workflow, added.trigger_id, "2", AT_ONCE, ACTOR).await.unwrap();
    assert_eq!(rotated.secret, Some(TriggerSecret { version: "2".into(), number: 2 }));
    let call = Call { provider_event_id: "e1".into(), data: None, digest: [1; 32] };
    assert!(matches!(store.call_receive(1, &verified, &call).await, Err(CallError::NoSuchTrigger)));
    let anew = store.call_find(added.trigger_id).await.unwrap().unwrap();
    assert!(store.call_receive(1, &anew, &call).await.unwrap().run.is_some());
}

#[tokio::test]
async fn the_secret_of_before_is_taken_until_its_overlap_is_over() {
    let world = World::new().await;
    let (store, org, workflow) = (&world.store, world.org, workflow(&world).await);
    let trigger = store.trigger_add(org, workflow, &world.webhook(), "1", ACTOR).await.unwrap().trigger_id;
    let first = store.call_find(trigger).await.unwrap().unwrap();
    let hour = TimeDelta::hours(1);
    let rotated = store.trigger_rotate_secret(org, workflow, trigger, "2", hour, ACTOR).await.unwrap();
    assert_eq!(rotated.overlap_until, Some(store.sources().now() + hour));
    assert_eq!(store.trigger_list(org, &[workflow]).await.unwrap(), [rotated]);

    let call = |id: &str| Call { provider_event_id: id.into(), data: None, digest: [1; 32] };
    let found = store.call_find(trigger).await.unwrap().unwrap();
    assert_eq!(found.before, Some(TriggerSecret { version: "1".into(), number: 1 }));
    world.clock.advance(hour - TimeDelta::milliseconds(1));
    assert!(store.call_receive(1, &first, &call("e1")).await.unwrap().run.is_some());
    world.clock.advance(TimeDelta::milliseconds(1));
    assert!(matches!(store.call_receive(1, &first, &call("e2")).await, Err(CallError::NoSuchTrigger)));
    assert_eq!(store.call_find(trigger).await.unwrap().unwrap().before, None);
}

#[tokio::test]
async fn another_rotation_ends_an_overlap() {
    let world = World::new().await;
    let (store, org, workflow) = (&world.store, world.org, workflow(&world).await);
    let trigger = store.trigger_add(org, workflow, &world.webhook(), "1", ACTOR).await.unwrap().trigger_id;
    let first = store.call_find(trigger).await.unwrap().unwrap();
    store.trigger_rotate_secret(org, workflow, trigger, "1", TimeDelta::hours(1), ACTOR).await.unwrap();
    let second = store.call_find(trigger).await.unwrap().unwrap();
    store.trigger_rotate_secret(org, workflow, trigger, "1", AT_ONCE, ACTOR).await.unwrap();
    let call = Call { provider_event_id: "e1".into(), data: None, digest: [1; 32] };
    for void in [first, second] {
        assert!(matches!(store.call_receive(1, &void, &call).await, Err(CallError::NoSuchTrigger)));
    }
}

#[tokio::test]
async fn secrets_that_are_void_go_to_the_ledger_and_changes_to_the_audit_trail() {
    let world = World::new().await;
    let (store, org, workflow) = (&world.store, world.org, workflow(&world).await);
    let trigger = store.trigger_add(org, workflow, &world.webhook(), "1", ACTOR).await.unwrap().trigger_id;
    store.trigger_rotate_secret(org, workflow, trigger, "1", AT_ONCE, ACTOR).await.unwrap();
    store.trigger_remove(org, workflow, trigger, ACTOR).await.unwrap();
    assert!(store.trigger_list(org, &[workflow]).await.unwrap().is_empty());
    let rows = store.outbox_list(store.sources().now(), 10).await.unwrap();
    assert_eq!(rows.len(), 2);
    for number in [2, 3] {
        let void = Effect::TriggerSecretRotated { org, trigger, number };
        assert!(rows.iter().any(|row| row.effect == void), "{number}: {rows:?}");
    }

    let filter = AuditFilter { target: Some(format!("trigger:{trigger}")), ..AuditFilter::default() };
    let (records, _) = store.audit_list(org, &filter, 0, 10).await.unwrap();
    let actions: Vec<&str> = records.iter().map(|record| record.action.as_str()).collect();
    assert_eq!(actions, ["trigger.create", "trigger.rotate_secret", "trigger.remove"]);
}

#[tokio::test]
async fn a_trigger_is_changed_in_its_own_workflow_only_and_within_bounds() {
    let world = World::new().await;
    let (store, org) = (&world.store, world.org);
    let [one, other] = [workflow(&world).await, workflow(&world).await];
    let trigger = store.trigger_add(org, one, &world.webhook(), "1", ACTOR).await.unwrap().trigger_id;
    let removed = store.trigger_remove(org, other, trigger, ACTOR).await;
    assert!(matches!(removed, Err(WorkflowError::NoSuchTrigger)));
    let rotated = store.trigger_rotate_secret(org, other, trigger, "1", AT_ONCE, ACTOR).await;
    assert!(matches!(rotated, Err(WorkflowError::NoSuchTrigger)));

    let daily = TriggerSpec::Interval { every_s: 86_400, anchor_at: None };
    let daily = NewTrigger::new(daily, store.sources().now()).unwrap();
    let slotted = store.trigger_add(org, one, &daily, "1", ACTOR).await.unwrap();
    assert_eq!(slotted.secret, None);
    let rotated = store.trigger_rotate_secret(org, one, slotted.trigger_id, "1", AT_ONCE, ACTOR).await;
    assert!(matches!(rotated, Err(WorkflowError::NotCalled)));
    for _ in 2..MAX_TRIGGERS {
        store.trigger_add(org, one, &daily, "1", ACTOR).await.unwrap();
    }
    let beyond = store.trigger_add(org, one, &daily, "1", ACTOR).await;
    assert!(matches!(beyond, Err(WorkflowError::TooManyTriggers)));
    store.workflow_archive(org, other, ACTOR).await.unwrap();
    assert!(matches!(store.trigger_add(org, other, &daily, "1", ACTOR).await, Err(WorkflowError::Archived)));
}
