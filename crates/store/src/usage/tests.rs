//! What was used counts once, and on its day.

use chrono::TimeDelta;
use domain::command::CommandState;
use domain::event::TurnOutcome;

use super::*;
use crate::testing::World;
use crate::{Append, Finish};

fn spend() -> ModelSpend {
    let (provider, name) = ("openai".to_owned(), Some("m".to_owned()));
    let model = ModelUse { provider, name, cached_tokens: 1, requests: 1, requests_unknown: 0 };
    ModelSpend { input_tokens: 3, output_tokens: 2, model }
}

/// Ends a command in hand. `turn`: how the turn ended, and how long it was at work.
async fn end(world: &World, lease: &Lease, command: CommandId, turn: Option<(TurnOutcome, i64)>) {
    let held = world.store.lease_load(lease).await.unwrap();
    let finish = Finish {
        append: Append { after: held.last_sequence, events: &[], projection: &held.projection },
        command,
        state: CommandState::Done,
        sentence: "it ended".into(),
        turn: turn.map(|(outcome, _)| outcome),
        checkpoint: None,
        turn_ms: turn.map_or(77, |(_, millis)| millis),
        input_tokens: 3,
        output_tokens: 2,
        models: vec![spend()],
        heard: Vec::new(),
    };
    world.store.turn_finish(lease, &finish, &[]).await.unwrap();
}

/// A session whose worker has two commands to end, one after the other.
async fn two(world: &World) -> (Lease, CommandId, CommandId) {
    let (session, first) = world.ready().await;
    let second = world.store.command_enqueue(&world.prompt(session, "second")).await.unwrap().command;
    (world.claim(1).await.remove(0), first, second)
}

async fn used(world: &World, kind: UsageKind) -> Option<i64> {
    let totals = world.store.usage_totals(world.org, None).await.unwrap();
    totals.into_iter().find(|total| total.kind == kind.as_str()).map(|total| total.quantity)
}

async fn meter(world: &World, kind: UsageKind, quantity: i64) {
    let (sources, mut connection) = (world.store.sources(), world.store.pool.acquire().await.unwrap());
    record(&mut connection, sources, world.org, sources.id(), kind, quantity).await.unwrap();
}

fn range(from: &str, to: &str) -> DayRange {
    DayRange::new(from.parse().unwrap(), to.parse().unwrap()).unwrap()
}

#[tokio::test]
async fn the_time_of_a_turn_counts_once_however_often_its_end_is_written() {
    let world = World::new().await;
    let (lease, first, second) = two(&world).await;
    end(&world, &lease, first, Some((TurnOutcome::Completed, 1_500))).await;
    end(&world, &lease, first, Some((TurnOutcome::Completed, 900))).await;
    assert_eq!(used(&world, UsageKind::TurnMs).await, Some(1_500));
    assert_eq!(used(&world, UsageKind::Turns).await, Some(1));
    end(&world, &lease, second, None).await;
    assert_eq!(used(&world, UsageKind::TurnMs).await, Some(1_500), "what was refused was no turn");
}

#[tokio::test]
async fn a_turn_without_an_attempt_counts_and_its_time_does_not() {
    let world = World::new().await;
    let (lease, first, _) = two(&world).await;
    end(&world, &lease, first, Some((TurnOutcome::Dead, 0))).await;
    assert_eq!((used(&world, UsageKind::Turns).await, used(&world, UsageKind::TurnMs).await), (Some(1), None));
}

#[tokio::test]
async fn a_range_counts_from_its_first_midnight_to_before_its_last() {
    let world = World::new().await;
    let micros = TimeDelta::microseconds(1);
    // The world begins at the midnight before the fourth of October.
    for (quantity, later) in [(1, TimeDelta::days(1) - micros), (2, micros), (4, TimeDelta::days(1)), (8, micros)] {
        meter(&world, UsageKind::Runs, quantity).await;
        world.clock.advance(later);
    }
    let total = async |range| {
        let totals = world.store.usage_totals(world.org, range).await.unwrap();
        totals.into_iter().map(|total| (total.kind, total.quantity)).collect::<Vec<_>>()
    };
    let runs = |quantity: i64| vec![("runs".to_owned(), quantity)];
    for (from, to, expect) in [
        ("2024-10-04", "2024-10-05", runs(1 + 2)),
        ("2024-10-05", "2024-10-06", runs(4)),
        ("2024-10-05", "2024-10-07", runs(4 + 8)),
        ("2024-10-05", "2024-10-05", vec![]),
        ("2024-10-07", "2024-10-09", vec![]),
        ("2024-01-01", "2024-12-31", runs(15)),
    ] {
        assert_eq!(total(Some(range(from, to))).await, expect, "{from} to {to}");
    }
    assert_eq!(total(None).await, runs(15));
}

#[tokio::test]
async fn days_are_told_one_by_one_and_only_to_their_own_org() {
    let world = World::new().await;
    let other = world.store.org_create("Other", "role:test").await.unwrap().org_id;
    meter(&world, UsageKind::Runs, 1).await;
    meter(&world, UsageKind::Runs, 2).await;
    meter(&world, UsageKind::Deliveries, 4).await;
    world.clock.advance(TimeDelta::days(2));
    meter(&world, UsageKind::Runs, 8).await;
    let days = range("2024-10-04", "2024-10-07");
    let seen = world.store.usage_by_day(world.org, days).await.unwrap();
    let seen: Vec<_> = seen.iter().map(|total| (total.day.to_string(), &total.kind[..], total.quantity)).collect();
    let expect = [("2024-10-04", "deliveries", 4), ("2024-10-04", "runs", 3), ("2024-10-06", "runs", 8)];
    assert_eq!(seen, expect.map(|(day, kind, quantity)| (day.to_owned(), kind, quantity)));
    assert!(world.store.usage_by_day(other, days).await.unwrap().is_empty());
    assert!(world.store.usage_totals(other, None).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_models_took_is_of_the_day_on_which_the_turn_ended() {
    let world = World::new().await;
    let (lease, first, second) = two(&world).await;
    world.clock.advance(TimeDelta::days(1) - TimeDelta::microseconds(1));
    end(&world, &lease, first, Some((TurnOutcome::Completed, 1))).await;
    world.clock.advance(TimeDelta::microseconds(1));
    end(&world, &lease, second, Some((TurnOutcome::Completed, 1))).await;
    let requests = async |range| {
        let models = world.store.usage_by_model(world.org, range).await.unwrap();
        models.iter().map(|model| model.requests).collect::<Vec<_>>()
    };
    assert_eq!(requests(Some(range("2024-10-04", "2024-10-05"))).await, [1]);
    assert_eq!(requests(Some(range("2024-10-05", "2024-10-06"))).await, [1]);
    assert!(requests(Some(range("2024-10-06", "2024-10-07"))).await.is_empty());
    assert_eq!(requests(None).await, [2]);
}
