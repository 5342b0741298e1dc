//! What schedulers do to workflows.

use chrono::TimeDelta;
use domain::quota::{QuotaPeriod, UsageKind};
use domain::schedule::{MissedPolicy, OverlapPolicy, TriggerSpec};
use domain::version::Expected;
use ids::BackupId;
use scheduler::{Pass, Settings, pass};
use store::{Environment, NewWorkflow};
use testkit::{Mood, wait_until};
use tokio_util::sync::CancellationToken;

use crate::world::{ACTOR, World};

const MISSED: &str = "it was missed, and missed slots are skipped";

#[tokio::test]
async fn a_slot_fires_at_its_time_and_starts_a_session_with_the_prompt() {
    let world = World::new().await;
    let workflow = world.every(60, |_| {}).await;
    world.advance(59);
    assert_eq!(world.pass().await, Pass::default());
    world.advance(1);
    assert_eq!(world.pass().await, Pass { fired: 1, skipped: 0, failed: 0 });
    assert_eq!(world.pass().await, Pass::default());

    let runs = world.store.run_list(world.org, Some(workflow), None, 10).await.unwrap();
    assert_eq!((runs.len(), runs[0].due_at, runs[0].state.as_str()), (1, world.sources.now(), "running"));
    assert_eq!(world.slots(workflow).await, ["60 fired"]);
    let workflow = world.store.workflow_get(world.org, workflow).await.unwrap().unwrap();
    assert_eq!(workflow.triggers[0].next_due_at, Some(world.start + TimeDelta::seconds(120)));
    world.check().await;
}

#[tokio::test]
async fn slots_over_quota_are_skipped_and_those_of_others_fire() {
    let world = World::new().await;
    let workflow = world.every(60, |_| {}).await;
    let (kind, anything) = (UsageKind::Runs, Expected::Anything);
    world.store.quota_put(world.org, kind, QuotaPeriod::Day, 1, &anything, ACTOR).await.unwrap().unwrap();
    let other = world.store.org_create("other", ACTOR).await.unwrap().org_id;
    world.every(60, |new| new.org = other).await;
    world.advance(60);
    assert_eq!(world.pass().await, Pass { fired: 2, skipped: 0, failed: 0 });
    world.advance(60);
    assert_eq!(world.pass().await, Pass { fired: 1, skipped: 1, failed: 0 });
    assert_eq!(world.slots(workflow).await, ["60 fired", "120 the quota of runs was used up"]);
    world.check().await;
}

#[tokio::test]
async fn in_maintenance_no_slot_is_settled() {
    let world = World::new().await;
    let workflow = world.every(60, |_| {}).await;
    world.store.maintenance_begin("moving", ACTOR).await.unwrap();
    world.advance(60);
    assert_eq!(world.pass().await, Pass::default());
    world.store.maintenance_end(ACTOR).await.unwrap();
    assert_eq!(world.pass().await, Pass { fired: 1, skipped: 0, failed: 0 });
    assert_eq!(world.slots(workflow).await, ["60 fired"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn schedulers_at_once_fire_each_slot_exactly_once() {
    let world = World::new().await;
    for _ in 0..60 {
        world.every(10, |_| {}).await;
    }
    let replicas = [world.replica().await, world.replica().await, world.replica().await];
    let mut fired = 0;
    for _ in 0..3 {
        world.advance(10);
        let never = CancellationToken::new();
        let passes = tokio::join!(
            pass(&replicas[0], &world.effects, &never),
            pass(&replicas[1], &world.effects, &never),
            pass(&replicas[2], &world.effects, &never)
        );
        for pass in [passes.0, passes.1, passes.2] {
            let pass = pass.unwrap();
            assert_eq!(pass.failed, 0);
            fired += pass.fired;
        }
    }
    assert_eq!(fired, 180);
    assert_eq!(world.store.run_list(world.org, None, None, 1_000).await.unwrap().len(), 180);
    world.check().await;
}

#[tokio::test]
async fn a_running_scheduler_sees_what_falls_due_and_stops_when_told() {
    let world = World::new().await;
    let workflow = world.every(60, |_| {}).await;
    let shutdown = CancellationToken::new();
    let settings = Settings { poll: std::time::Duration::from_millis(5) };
    let (store, told) = (world.store.clone(), shutdown.clone());
    let effects = world.effects.clone();
    let scheduler = tokio::spawn(async move { scheduler::run(store, effects, &settings, told).await });
    world.advance(60);
    wait_until("the slot fired", || async { world.slots(workflow).await == ["60 fired"] }).await;
    shutdown.cancel();
    scheduler.await.unwrap();
}

#[tokio::test]
async fn missed_slots_are_skipped_and_the_next_one_fires() {
    let world = World::new().await;
    let workflow = world.every(100, |_| {}).await;
    world.advance(310);
    assert_eq!(world.pass().await, Pass { fired: 1, skipped: 2, failed: 0 });
    assert_eq!(world.slots(workflow).await, [format!("100 {MISSED}"), format!("200 {MISSED}"), "300 fired".into()]);
    world.check().await;
}

#[tokio::test]
async fn run_all_fires_what_was_missed_within_the_window() {
    let world = World::new().await;
    let run_all = |new: &mut NewWorkflow| (new.missed_policy, new.missed_window_s) = (MissedPolicy::RunAll, 250);
    let workflow = world.every(100, run_all).await;
    world.advance(390);
    assert_eq!(world.pass().await, Pass { fired: 2, skipped: 1, failed: 0 });
    let beyond = "100 it was missed longer ago than the window looks back";
    assert_eq!(world.slots(workflow).await, [beyond, "200 fired", "300 fired"]);
    world.check().await;
}

#[tokio::test]
async fn run_all_works_off_more_than_one_settlement_may_fire() {
    let world = World::new().await;
    let run_all = |new: &mut NewWorkflow| (new.missed_policy, new.missed_window_s) = (MissedPolicy::RunAll, 3_600);
    world.every(1, run_all).await;
    world.advance(250);
    let mut fired = world.pass().await.fired;
    while fired < 250 {
        let more = world.pass().await.fired;
        assert_ne!(more, 0, "slots are left over");
        fired += more;
    }
    assert_eq!((fired, world.pass().await), (250, Pass::default()));
    world.check().await;
}

#[tokio::test]
async fn slots_that_pass_in_a_pause_are_missed_however_short_it_is() {
    for (policy, expect) in [
        (MissedPolicy::Skip, vec![format!("10 {MISSED}"), format!("20 {MISSED}"), "30 fired".into()]),
        (
            MissedPolicy::RunOnce,
            vec![
                "10 it was missed, and a newer missed slot ran in its place".into(),
                "20 fired".into(),
                "30 fired".into(),
            ],
        ),
        (MissedPolicy::RunAll, vec!["10 fired".into(), "20 fired".into(), "30 fired".into()]),
    ] {
        let world = World::new().await;
        let workflow = world.every(10, |new| new.missed_policy = policy).await;
        world.store.workflow_pause(world.org, workflow, ACTOR).await.unwrap();
        world.advance(25);
        assert_eq!(world.pass().await, Pass::default(), "a paused workflow rests");
        world.store.workflow_resume(world.org, workflow, ACTOR).await.unwrap();
        world.advance(5);
        world.pass().await;
        assert_eq!(world.slots(workflow).await, expect);
        world.check().await;
    }
}

#[tokio::test]
async fn a_slot_from_before_a_restore_follows_the_missed_policy() {
    let world = World::new().await;
    let skips = world.every(10, |_| {}).await;
    let catches_up = world.every(10, |new| new.missed_policy = MissedPolicy::RunOnce).await;
    world.advance(15);
    let backup: BackupId = world.sources.id();
    world.store.generation_start(backup, Environment::Drill).await.unwrap();
    world.advance(5);
    world.pass().await;
    assert_eq!(world.slots(skips).await, [format!("10 {MISSED}"), "20 fired".into()]);
    assert_eq!(world.slots(catches_up).await, ["10 fired", "20 fired"]);
    world.check().await;
}

#[tokio::test]
async fn a_trigger_that_was_wound_back_does_not_fire_a_settled_slot_again() {
    let world = World::new().await;
    let workflow = world.every(10, |_| {}).await;
    world.advance(10);
    world.pass().await;
    sqlx::query("UPDATE triggers SET next_due_at = next_due_at - interval '10 s'")
        .execute(&world.database.pool())
        .await
        .unwrap();
    assert_eq!(world.pass().await, Pass::default());
    assert_eq!(world.slots(workflow).await, ["10 fired"]);
    world.check().await;
}

#[tokio::test]
async fn a_one_time_trigger_fires_once() {
    let world = World::new().await;
    let at = world.start + TimeDelta::seconds(30);
    let workflow = world.workflow(TriggerSpec::Once { at }, |_| {}).await;
    for _ in 0..3 {
        world.advance(20);
        world.pass().await;
    }
    assert_eq!(world.slots(workflow).await, ["30 fired"]);
    let workflow = world.store.workflow_get(world.org, workflow).await.unwrap().unwrap();
    assert_eq!(workflow.triggers[0].next_due_at, None);
}

#[tokio::test]
async fn an_unfinished_run_holds_the_next_one_back() {
    let world = World::new().await;
    let workflow = world.every(10, |new| new.overlap_policy = OverlapPolicy::Skip).await;
    world.advance(10);
    world.pass().await;
    world.advance(10);
    world.pass().await;
    assert_eq!(world.slots(workflow).await, ["10 fired", "20 an earlier run was unfinished"]);
    world.check().await;
}

#[tokio::test]
async fn a_trigger_that_cannot_be_read_stops_no_other() {
    let world = World::new().await;
    let broken = world.every(10, |_| {}).await;
    let sound = world.every(10, |_| {}).await;
    sqlx::query("UPDATE triggers SET spec = '{\"every_s\": -1}' WHERE workflow_id = $1")
        .bind(*broken.as_uuid())
        .execute(&world.database.pool())
        .await
        .unwrap();
    world.advance(10);
    assert_eq!(world.pass().await, Pass { fired: 1, skipped: 0, failed: 1 });
    assert_eq!(world.slots(sound).await, ["10 fired"]);
    assert!(world.slots(broken).await.is_empty());
}

#[tokio::test]
async fn a_workflow_starts_by_hand_also_when_paused_but_not_when_archived() {
    let world = World::new().await;
    let workflow = world.every(10, |_| {}).await;
    world.store.workflow_pause(world.org, workflow, ACTOR).await.unwrap();
    for _ in 0..2 {
        world.store.slot_start(world.org, workflow, ACTOR).await.unwrap();
    }
    assert_eq!(world.slots(workflow).await, ["0 fired", "0 fired"]);
    world.store.workflow_archive(world.org, workflow, ACTOR).await.unwrap();
    assert!(matches!(world.store.slot_start(world.org, workflow, ACTOR).await, Err(store::WorkflowError::Archived)));
    world.advance(10);
    assert_eq!(world.pass().await, Pass::default());
    world.check().await;
}

#[tokio::test]
async fn without_a_ledger_no_slot_fires_and_afterwards_it_does_once() {
    let world = World::new().await;
    let workflow = world.every(60, |_| {}).await;
    world.advance(60);
    world.remembering.set(Mood { fail: 100, ..Mood::default() });
    assert_eq!(world.pass().await.fired, 0);
    assert!(world.slots(workflow).await.is_empty());
    world.remembering.set(Mood::default());
    assert_eq!(world.pass().await.fired, 1);
    assert_eq!(world.pass().await.fired, 0);
    assert_eq!(world.slots(workflow).await, ["60 fired"]);
}
