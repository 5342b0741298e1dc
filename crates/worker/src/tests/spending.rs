//! What agents spent with providers, by their events: metered with its command, once, whatever becomes of the attempts.

use std::sync::Arc;

use agents::{Agent, EventSink, Outcome, Turn, TurnResult};
use async_trait::async_trait;
use domain::command::{CommandState, MAX_ATTEMPTS, Wish};
use domain::event::Event;
use domain::spend::{ModelSpend, ModelUse, Spent};
use serde_json::Value;
use store::ModelTotal;
use tokio_util::sync::CancellationToken;

use super::world::World;
use crate::Parts;

/// Spends the same in each attempt, says more of itself, and breaks down in as many attempts as its prompt says.
#[derive(Debug)]
struct Spender;

fn spend() -> ModelSpend {
    let (provider, name) = ("openai".to_owned(), Some("m".to_owned()));
    let model = ModelUse { provider, name, cached_tokens: 1, requests: 1, requests_unknown: 0 };
    ModelSpend { input_tokens: 3, output_tokens: 2, model }
}

#[async_trait]
impl Agent for Spender {
    fn name(&self) -> &'static str {
        "scripted"
    }

    async fn turn(&self, turn: Turn, sink: &mut dyn EventSink, _: &CancellationToken) -> TurnResult {
        let before = i64::from(turn.attempt - 1);
        let expect = Spent { requests: before, input_tokens: 3 * before, output_tokens: 2 * before };
        assert_eq!(turn.spent, expect, "a turn knows what its lost attempts spent");
        let of_itself = Event::UsageRecorded { input_tokens: 100, output_tokens: 100, model: None };
        for event in [spend().event(), of_itself] {
            sink.emit(event).await.unwrap();
        }
        let Wish::Prompt { text } = turn.wish else { panic!("it was prompted") };
        assert!(turn.attempt > text.parse().unwrap(), "it breaks down");
        TurnResult { state: Value::Null, outcome: Outcome::Completed }
    }
}

async fn used(world: &World, kind: &str) -> Option<i64> {
    let totals = world.store.usage_totals(world.org, None).await.unwrap();
    totals.iter().find(|total| total.kind == kind).map(|total| total.quantity)
}

fn total(requests: i64) -> ModelTotal {
    ModelTotal {
        provider: "openai".into(),
        model: "m".into(),
        input_tokens: 3 * requests,
        output_tokens: 2 * requests,
        cached_tokens: requests,
        requests,
        requests_unknown: 0,
    }
}

#[tokio::test]
async fn what_lost_attempts_spent_is_metered_with_the_one_that_ended() {
    let world = World::new().await;
    let session = world.session().await;
    let worker = world.worker_with(Parts { agents: vec![Arc::new(Spender)], ..world.parts() });
    for broken in ["0", "2"] {
        let command = world.prompt(session, broken).await;
        assert_eq!(world.finished(session, command).await.state, CommandState::Done);
    }
    assert_eq!(world.store.usage_by_model(world.org, None).await.unwrap(), [total(4)]);
    let of_itself = 2 * 100;
    assert_eq!(used(&world, "input_tokens").await, Some(3 * 4 + of_itself), "what it says counts once a command");
    assert_eq!(used(&world, "output_tokens").await, Some(2 * 4 + of_itself));

    let doomed = world.prompt(session, &MAX_ATTEMPTS.to_string()).await;
    assert_eq!(world.finished(session, doomed).await.state, CommandState::Dead);
    let all = 4 + i64::from(MAX_ATTEMPTS);
    assert_eq!(world.store.usage_by_model(world.org, None).await.unwrap(), [total(all)]);
    assert_eq!(used(&world, "input_tokens").await, Some(3 * all + of_itself));
    worker.stop().await;
    world.at_rest(session).await;
}
