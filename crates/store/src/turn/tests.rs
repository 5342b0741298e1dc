//! Turns that end in one statement have nothing to do with each other.

use domain::event::{Event, MessageRole};
use domain::projection::Projection;
use domain::spend::ModelUse;
use ids::SessionId;

use super::*;
use crate::ModelTotal;
use crate::testing::World;

fn spend(input_tokens: i64) -> ModelSpend {
    let name = Some("m".into());
    let model = ModelUse { provider: "openai".into(), name, cached_tokens: 1, requests: 1, requests_unknown: 1 };
    ModelSpend { input_tokens, output_tokens: 2, model }
}

/// Two sessions and one whose worker is late, each with a command in hand.
struct Three {
    world: World,
    leases: [Lease; 3],
    commands: [CommandId; 3],
}

impl Three {
    async fn new() -> Self {
        let world = World::new().await;
        let mut ready = Vec::new();
        for _ in 0..3 {
            ready.push(world.ready().await);
        }
        let claimed = world.claim(3).await;
        let lease = |place: usize| {
            let session: SessionId = ready[place].0;
            claimed.iter().find(|lease| lease.session == session).unwrap().clone()
        };
        let mut leases = [0, 1, 2].map(lease);
        leases[2].token.counter -= 1;
        let commands = [0, 1, 2].map(|place| ready[place].1);
        Self { world, leases, commands }
    }

    /// The turn of each says its place and ends, each in a way of its own.
    fn ends(&self) -> Vec<End> {
        let outcomes = [TurnOutcome::Completed, TurnOutcome::AwaitingAnswer, TurnOutcome::Completed];
        (0..3).map(|place| self.end(place, outcomes[place])).collect()
    }

    fn end(&self, place: usize, outcome: TurnOutcome) -> End {
        let said =
            Event::MessageAppended { message_id: "m".into(), role: MessageRole::Agent, text: format!("place {place}") };
        let events = vec![said; place + 1];
        let projection = Projection::rebuild(&events);
        let manifest = BlobRow { key: format!("manifest-{place}"), size: 1, sha256: vec![0; 32] };
        let shared = BlobRow { key: "shared".into(), size: 1, sha256: vec![0; 32] };
        let sources = self.world.store.sources();
        let checkpoint =
            NewCheckpoint { checkpoint: sources.id(), manifest, files: vec![shared], since: sources.now() };
        let finish = Finish {
            append: Append { after: 1, events: &events, projection: &projection },
            command: self.commands[place],
            state: CommandState::Done,
            sentence: "it ended".into(),
            turn: Some(outcome),
            checkpoint: Some(checkpoint),
            turn_ms: 0,
            input_tokens: 2,
            output_tokens: 0,
            models: vec![spend(1), ModelSpend { model: ModelUse { name: None, ..spend(0).model }, ..spend(1) }],
            heard: Vec::new(),
        };
        self.world.store.end(&self.leases[place], &finish, &[])
    }

    async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.world.store.pool).await.unwrap()
    }
}

#[tokio::test]
async fn turns_that_end_together_are_each_written_as_if_alone() {
    let three = Three::new().await;
    let (world, store) = (&three.world, &three.world.store);
    let follows = world.prompt(three.leases[0].session, "second");
    let follows = store.command_enqueue(&follows).await.unwrap().command;

    let written = End::carry_out(store, world.org, &three.ends(), Locked::LeaveOut).await.unwrap();
    let [Answered::Done(first), Answered::Done(second), Answered::FencedOff] = &written[..] else {
        panic!("{written:?}")
    };
    assert_eq!(first.next.as_ref().unwrap().as_ref().map(|next| next.command), Some(follows));
    assert!(!first.ended, "its lease stays for the next command");
    assert!(second.ended && second.next.as_ref().unwrap().is_none());

    for (place, events) in [2, 3, 1].into_iter().enumerate() {
        let session = three.leases[place].session;
        let found = store.events_after(world.org, session, 0, 10).await.unwrap();
        assert_eq!(found.len(), events, "of session {place}");
        let own = format!("place {place}");
        let all_own =
            found[1..].iter().all(|it| matches!(&it.event, Event::MessageAppended { text, .. } if *text == own));
        assert!(all_own, "{found:?}");
    }
    let blocked = "SELECT count(*) FROM sessions WHERE blocked_on = 'answer'";
    assert_eq!(three.count(blocked).await, 1);
    assert_eq!(three.count("SELECT count(*) FROM commands WHERE state = 'done'").await, 2);
    assert_eq!(three.count("SELECT count(*) FROM checkpoints").await, 2);
    assert_eq!(three.count("SELECT count(*) FROM checkpoint_blobs").await, 2);
    assert_eq!(three.count("SELECT count(*) FROM blobs").await, 3, "two manifests and a file of both");
    assert_eq!(three.count("SELECT count(*) FROM session_leases").await, 2);
    assert_eq!(three.count("SELECT sum(quantity)::bigint FROM usage_counters WHERE kind = 'turns'").await, 2);
    assert_eq!(three.count("SELECT sum(quantity)::bigint FROM usage_counters WHERE kind = 'input_tokens'").await, 4);
    let total = |model: &str| ModelTotal {
        provider: "openai".into(),
        model: model.into(),
        input_tokens: 2,
        output_tokens: 4,
        cached_tokens: 2,
        requests: 2,
        requests_unknown: 2,
    };
    assert_eq!(store.usage_by_model(world.org, None).await.unwrap(), [total(""), total("m")], "of two, by model");
}

#[tokio::test]
async fn what_lost_attempts_spent_is_that_of_their_own_command() {
    let three = Three::new().await;
    let (store, lease, [own, other, _]) = (&three.world.store, &three.leases[0], three.commands);
    let begun = |command_id, attempt| Event::TurnStarted { command_id, attempt };
    let of_itself = Event::UsageRecorded { input_tokens: 100, output_tokens: 100, model: None };
    let unnamed = ModelSpend { model: ModelUse { name: None, ..spend(0).model }, ..spend(5) };
    let events = [
        spend(1000).event(),
        begun(own, 1),
        spend(3).event(),
        of_itself,
        unnamed.clone().event(),
        begun(other, 1),
        spend(1000).event(),
        begun(own, 2),
        spend(4).event(),
    ];
    let projection = Projection::rebuild(&events);
    store.turn_append(lease, &Append { after: 1, events: &events, projection: &projection }).await.unwrap();
    let mut both = spend(3);
    both.add(&spend(4));
    let mut found = store.turn_spent(lease, own).await.unwrap();
    found.sort_by_key(|spend| spend.input_tokens);
    assert_eq!(found, [unnamed, both]);
    assert_eq!(store.turn_spent(lease, other).await.unwrap(), [spend(1000)]);
}

#[tokio::test]
async fn a_session_that_somebody_has_locked_keeps_no_other_from_ending() {
    let three = Three::new().await;
    let (world, store) = (&three.world, &three.world.store);
    let mut holding = store.pool.begin().await.unwrap();
    let lock = "SELECT FROM sessions WHERE session_id = $1 FOR SHARE";
    sqlx::query(lock).bind(Uuid::from(three.leases[0].session)).execute(&mut *holding).await.unwrap();

    let written = End::carry_out(store, world.org, &three.ends(), Locked::LeaveOut).await.unwrap();
    assert!(matches!(written[..], [Answered::LeftOut, Answered::Done(_), Answered::FencedOff]), "{written:?}");
    assert_eq!(store.events_after(world.org, three.leases[0].session, 0, 10).await.unwrap().len(), 1);

    holding.rollback().await.unwrap();
    let alone = [three.end(0, TurnOutcome::Completed)];
    let written = End::carry_out(store, world.org, &alone, Locked::WaitFor).await.unwrap();
    assert!(matches!(written[..], [Answered::Done(_)]), "{written:?}");
}
