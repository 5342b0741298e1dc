//! What an agent spends through its door: told as it is spent, and an end of it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use agents::{Acp, AcpSettings, ModelAccess, ModelDoor, Outcome};
use async_trait::async_trait;
use domain::event::Event;
use domain::spend::{Exceeded, ModelSpend, ModelUse, Spent, TurnLimits};
use ids::{OrgId, SessionId};
use tokio::sync::Notify;

use crate::world::{World, settings};

/// A door through which nobody goes: what it tells is what the test says.
#[derive(Debug, Default)]
struct Till {
    spends: Mutex<VecDeque<ModelSpend>>,
    exceeded: Mutex<Option<Exceeded>>,
    changed: Notify,
    /// What its agent did with it, in order.
    told: Mutex<Vec<String>>,
}

#[derive(Debug)]
struct Access(Arc<Till>);

#[async_trait]
impl ModelAccess for Access {
    async fn open(&self, _: OrgId, _: SessionId, _: &str) -> Result<Arc<dyn ModelDoor>, String> {
        self.0.tell("open");
        Ok(self.0.clone())
    }
}

#[async_trait]
impl ModelDoor for Till {
    fn base_url(&self) -> &str {
        "http://127.0.0.1:9/x"
    }

    fn port(&self) -> u16 {
        9
    }

    async fn stands(&self) -> bool {
        true
    }

    async fn begin(&self, limits: TurnLimits, before: Spent) -> Result<(), String> {
        self.tell(&format!("begin {} {}", limits.tokens.unwrap_or(0), before.requests));
        *self.exceeded.lock().unwrap() = None;
        Ok(())
    }

    async fn changed(&self) {
        self.changed.notified().await;
    }

    fn take(&self) -> Vec<ModelSpend> {
        self.spends.lock().unwrap().drain(..).collect()
    }

    fn exceeded(&self) -> Option<Exceeded> {
        *self.exceeded.lock().unwrap()
    }

    async fn settle(&self) {
        self.tell("settle");
    }

    fn end(&self) {
        self.tell("end");
    }
}

impl Till {
    fn tell(&self, what: &str) {
        self.told.lock().unwrap().push(what.to_owned());
    }

    fn told(&self) -> Vec<String> {
        std::mem::take(&mut *self.told.lock().unwrap())
    }
}

fn world() -> (World, Arc<Till>) {
    let mut settings = AcpSettings { provider: Some("openai".into()), ..settings() };
    settings.limits.spend.tokens = Some(9);
    let till = Arc::new(Till::default());
    let mut world = World::new(settings.clone());
    world.agent = Acp::new(settings, Arc::new(Access(till.clone())));
    (world, till)
}

fn spend(input_tokens: i64) -> ModelSpend {
    let model = ModelUse { provider: "openai".into(), name: None, cached_tokens: 0, requests: 1, requests_unknown: 0 };
    ModelSpend { input_tokens, output_tokens: 1, model }
}

fn usage(events: &[Event]) -> Vec<Event> {
    events.iter().filter(|event| matches!(event, Event::UsageRecorded { .. })).cloned().collect()
}

#[tokio::test]
async fn what_went_through_a_door_counts_and_not_what_the_agent_says_of_itself() {
    let (mut world, till) = world();
    till.spends.lock().unwrap().push_back(spend(7));
    let (outcome, seen) = world.prompt("echo hi").await;
    assert_eq!((outcome, usage(&seen.events)), (Outcome::Completed, vec![spend(7).event()]));
    assert_eq!(till.told(), ["open", "begin 9 0", "settle", "end"]);
    let (outcome, seen) = world.prompt("echo hi").await;
    assert_eq!((outcome, usage(&seen.events)), (Outcome::Completed, vec![]));
    assert_eq!(till.told(), ["begin 9 0", "settle", "end"], "the same process goes on, with the next turn's bounds");
}

#[tokio::test]
async fn a_turn_that_may_ask_no_more_is_stopped_and_the_next_goes_on_with_the_same_process() {
    let (mut world, till) = world();
    let (_, first) = world.prompt("pid").await;
    *till.exceeded.lock().unwrap() = None;
    let refuse = async {
        // As a door does in the middle of a turn, which it began.
        while till.told.lock().unwrap().iter().filter(|told| told.starts_with("begin")).nth(1).is_none() {
            tokio::task::yield_now().await;
        }
        till.spends.lock().unwrap().push_back(spend(7));
        *till.exceeded.lock().unwrap() = Some(Exceeded::Tokens(9));
        till.changed.notify_one();
    };
    let ((outcome, seen), ()) = tokio::join!(world.prompt("echo I wait\nwait_for_cancel"), refuse);
    let Outcome::Failed { error } = outcome else { panic!("{outcome:?}") };
    assert!(error.starts_with("fake: the turn took the 9 tokens that it may take"), "{error}");
    assert_eq!((usage(&seen.events), seen.said().as_str()), (vec![spend(7).event()], "I wait"));
    let (outcome, second) = world.prompt("pid").await;
    assert_eq!((outcome, second.said()), (Outcome::Completed, first.said()));
}

#[tokio::test]
async fn a_turn_that_was_refused_more_has_failed_whatever_the_agent_made_of_it() {
    for last_words in ["echo all is well", "die", "wait_for_cancel"] {
        let (mut world, till) = world();
        let refuse = async {
            while till.told.lock().unwrap().len() < 2 {
                tokio::task::yield_now().await;
            }
            *till.exceeded.lock().unwrap() = Some(Exceeded::Requests(3));
            till.changed.notify_one();
        };
        let ((outcome, _), ()) = tokio::join!(world.prompt(last_words), refuse);
        let Outcome::Failed { error } = outcome else { panic!("{outcome:?}") };
        assert!(error.contains("asked its model 3 times"), "{last_words}: {error}");
    }
}
