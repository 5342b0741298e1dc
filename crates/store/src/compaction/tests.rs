//! What is compacted loses nothing that somebody still needs, and no projection.

use chrono::TimeDelta;
use domain::channel::ChannelKind;
use domain::command::{CommandState, Wish};
use domain::event::{MessageRole, Recorded, TurnOutcome};
use domain::feed::FeedPlace;
use domain::projection::Projection;
use testkit::wait_until;

use super::*;
use crate::testing::World;
use crate::{Append, BehindCursor, Finish, Lease, NewBinding, NewChannel, NewCommand, NewDelivery, RebuildError};

/// How long events are kept in these tests.
const KEPT: TimeDelta = TimeDelta::days(30);

/// A session in a world whose clock the test tells.
struct Talk {
    world: World,
    session: SessionId,
    turns: usize,
}

impl Talk {
    async fn new() -> Self {
        let world = World::new().await;
        let session = world.session().await;
        Self { world, session, turns: 0 }
    }

    /// A turn of three events that ends as `outcome`.
    async fn turn(&mut self, outcome: TurnOutcome) {
        self.turns += 1;
        let wish = match outcome {
            TurnOutcome::Aborted => Wish::Abort {},
            _ => Wish::Prompt { text: "say hi".into() },
        };
        let (org, session, idempotency_key) = (self.world.org, self.session, format!("k{}", self.turns));
        let new = NewCommand { org, session, wish, idempotency_key, created_by: None };
        let command = self.world.store.command_enqueue(&new).await.unwrap().command;
        let lease = self.world.claim(1).await.remove(0);
        let said = Event::MessageAppended {
            message_id: format!("m{}", self.turns),
            role: MessageRole::Agent,
            text: "hi".into(),
        };
        let ended = Event::TurnEnded { command_id: command, outcome, error: None };
        self.finish(&lease, command, outcome, &[Event::TurnStarted { command_id: command, attempt: 1 }, said, ended])
            .await;
    }

    async fn finish(&self, lease: &Lease, command: ids::CommandId, outcome: TurnOutcome, events: &[Event]) {
        let held = self.world.store.lease_load(lease).await.unwrap();
        let mut projection = held.projection;
        events.iter().for_each(|event| projection.apply(event));
        let finish = Finish {
            append: Append { after: held.last_sequence, events, projection: &projection },
            command,
            state: CommandState::Done,
            sentence: "the turn is over".into(),
            turn: Some(outcome),
            checkpoint: None,
            turn_ms: 0,
            input_tokens: 0,
            output_tokens: 0,
            models: Vec::new(),
            heard: Vec::new(),
        };
        assert_eq!(self.world.store.turn_finish(lease, &finish, &[]).await.unwrap(), None);
    }

    fn later(&self) {
        self.world.clock.advance(KEPT + TimeDelta::seconds(1));
    }

    fn before(&self) -> Timestamp {
        self.world.store.sources().now() - KEPT
    }

    async fn compact(&self) -> Compacted {
        self.world.store.session_compact(self.world.org, self.session, self.before()).await.unwrap()
    }

    async fn events(&self) -> Vec<Recorded> {
        self.world.store.events_after(self.world.org, self.session, 0, 1_000).await.unwrap()
    }

    async fn sequences(&self) -> Vec<i64> {
        self.events().await.iter().map(|event| event.sequence).collect()
    }

    /// Folding what is there gives what is stored.
    async fn assert_parity(&self) {
        let rebuilt = Projection::rebuild(self.events().await.iter().map(|recorded| &recorded.event));
        let (_, stored) = self.world.store.session_view(self.world.org, self.session).await.unwrap().unwrap();
        assert_eq!(stored.to_value(), serde_json::to_value(&rebuilt).unwrap());
    }

    async fn binding(&self) -> BehindCursor {
        let (org, store) = (self.world.org, &self.world.store);
        let new = NewChannel {
            org,
            kind: ChannelKind::Webhook,
            name: "ops".into(),
            destination: "https://chat.example/hook".parse().unwrap(),
            secret_version: "1".into(),
            deduplicates: true,
        };
        let channel_id = store.channel_create(&new, "role:test").await.unwrap().channel_id;
        let new = NewBinding { org, channel: channel_id, thread: "general".into(), session: self.session };
        let bound = store.binding_create(&new, "role:test").await.unwrap();
        let (thread, session_id) = (bound.thread, self.session);
        BehindCursor {
            org,
            binding_id: bound.binding_id,
            channel_id,
            thread,
            session_id,
            sequence: bound.cursor_sequence,
        }
    }
}

#[tokio::test]
async fn what_is_left_adds_up_to_what_all_of_it_did() {
    let mut talk = Talk::new().await;
    for outcome in [TurnOutcome::Completed, TurnOutcome::Failed] {
        talk.turn(outcome).await;
    }
    assert_eq!(talk.compact().await, Compacted::default(), "nothing is old enough");
    talk.later();
    talk.turn(TurnOutcome::Completed).await;
    let before = talk.world.store.session_view(talk.world.org, talk.session).await.unwrap().unwrap();

    assert_eq!(talk.compact().await, Compacted { events: 6, more: false });
    assert_eq!(talk.sequences().await, [7, 8, 9, 10]);
    talk.assert_parity().await;
    let after = talk.world.store.session_view(talk.world.org, talk.session).await.unwrap().unwrap();
    assert_eq!((after.0, after.1.to_value()), (before.0, before.1.to_value()), "nothing of the session changed");
    assert_eq!(talk.compact().await, Compacted::default(), "once is enough");

    talk.later();
    talk.turn(TurnOutcome::Completed).await;
    assert_eq!(talk.compact().await, Compacted { events: 3, more: false }, "a base is compacted like any other event");
    assert_eq!(talk.sequences().await, [10, 11, 12, 13]);
    talk.assert_parity().await;
}

#[tokio::test]
async fn a_turn_that_waits_for_a_person_stays_whole() {
    let mut talk = Talk::new().await;
    talk.turn(TurnOutcome::Completed).await;
    talk.turn(TurnOutcome::AwaitingApproval).await;
    talk.later();
    assert_eq!(talk.compact().await.events, 3);
    assert_eq!(talk.sequences().await, [4, 5, 6, 7]);
    talk.assert_parity().await;
}

#[tokio::test]
async fn a_worker_that_is_in_mid_turn_goes_on_with_what_it_holds() {
    let mut talk = Talk::new().await;
    talk.turn(TurnOutcome::Completed).await;
    talk.later();
    let command = talk.world.store.command_enqueue(&talk.world.prompt(talk.session, "next")).await.unwrap().command;
    let lease = talk.world.claim(1).await.remove(0);
    assert_eq!(talk.compact().await.events, 3);
    let ended = Event::TurnEnded { command_id: command, outcome: TurnOutcome::Completed, error: None };
    talk.finish(&lease, command, TurnOutcome::Completed, &[ended]).await;
    assert_eq!(talk.sequences().await, [4, 5]);
    talk.assert_parity().await;
}

#[tokio::test]
async fn what_a_thread_has_not_been_told_stays_until_it_is_sent() {
    let mut talk = Talk::new().await;
    talk.turn(TurnOutcome::Completed).await;
    let cursor = talk.binding().await;
    talk.turn(TurnOutcome::Completed).await;
    talk.later();
    talk.turn(TurnOutcome::Completed).await;
    assert_eq!(talk.compact().await.events, 3, "the thread has seen the first turn");
    assert_eq!(talk.sequences().await[0], 4);
    assert_eq!(talk.compact().await.events, 0, "the cursor stands before the second turn");

    let command = talk.world.store.sources().id();
    let rendered = NewDelivery { command, sequence: 7, payload: serde_json::json!({}), interaction: None };
    assert!(talk.world.store.cursor_advance(&cursor, 10, &[rendered]).await.unwrap());
    assert_eq!(talk.compact().await.events, 0, "the delivery of the second turn is pending");
    sqlx::query("UPDATE deliveries SET state = 'sent'").execute(&talk.world.store.pool).await.unwrap();
    assert_eq!(talk.compact().await.events, 3);
    assert_eq!(talk.sequences().await, [7, 8, 9, 10]);
}

#[tokio::test]
async fn a_session_that_an_erasure_is_at_is_left_to_it() {
    let mut talk = Talk::new().await;
    talk.turn(TurnOutcome::Completed).await;
    talk.later();
    let email = "ada@example.org".into();
    let new = crate::NewMember { email, display_name: "Ada".into(), role: domain::tenancy::Role::Member.into() };
    let account = talk.world.store.member_add(talk.world.org, &new, "role:test").await.unwrap().unwrap().account_id;
    talk.world.store.subject_erase(account, crate::ErasedFor::Installation, "role:test").await.unwrap();
    let listed = "INSERT INTO subject_erasure_sessions SELECT $1, org_id, session_id, false FROM sessions";
    sqlx::query(listed).bind(uuid::Uuid::from(account)).execute(&talk.world.store.pool).await.unwrap();
    assert_eq!(talk.compact().await, Compacted::default());
    while talk.world.store.subject_erasure_step(account).await.unwrap() != crate::ErasureStep::Finished {}
    assert_eq!(talk.compact().await.events, 3);
}

#[tokio::test]
async fn two_at_once_compact_a_session_once() {
    let mut talk = Talk::new().await;
    for _ in 0..3 {
        talk.turn(TurnOutcome::Completed).await;
    }
    talk.later();
    let (one, two) = tokio::join!(talk.compact(), talk.compact());
    assert_eq!(one.events + two.events, 9);
    assert_eq!(talk.sequences().await, [10]);
    talk.assert_parity().await;
}

#[tokio::test]
async fn a_long_history_is_compacted_piece_by_piece() {
    let mut talk = Talk::new().await;
    let deltas =
        |n: usize| Event::MessageAppended { message_id: format!("d{n}"), role: MessageRole::Agent, text: "x".into() };
    for (key, count) in [("a", 700), ("b", 700), ("c", 2_400), ("d", 1)] {
        let command = talk.world.store.command_enqueue(&talk.world.prompt(talk.session, key)).await.unwrap().command;
        let lease = talk.world.claim(1).await.remove(0);
        let ended = Event::TurnEnded { command_id: command, outcome: TurnOutcome::Completed, error: None };
        let events: Vec<Event> = (0..count).map(deltas).chain([ended]).collect();
        talk.finish(&lease, command, TurnOutcome::Completed, &events).await;
    }
    talk.later();
    let pieces = [talk.compact().await, talk.compact().await, talk.compact().await];
    // The third turn is longer than a piece, and goes as one.
    let (some, all) = (Compacted { events: 1_402, more: true }, Compacted { events: 2_401, more: true });
    assert_eq!(pieces, [some, all, Compacted { events: 2, more: false }]);
    talk.turn(TurnOutcome::Completed).await;
    assert_eq!(talk.sequences().await.len(), 4);
    talk.assert_parity().await;
}

#[tokio::test]
async fn damage_stays_where_it_can_be_found() {
    let mut talk = Talk::new().await;
    talk.turn(TurnOutcome::Completed).await;
    talk.turn(TurnOutcome::Completed).await;
    talk.later();
    sqlx::query("DELETE FROM events WHERE sequence = 3").execute(&talk.world.store.pool).await.unwrap();
    let refused = talk.world.store.session_compact(talk.world.org, talk.session, talk.before()).await.unwrap_err();
    assert!(
        matches!(refused, CompactError::Damaged { source: Damaged::Hole { after: 2, found: 4 }, .. }),
        "{refused:?}"
    );
    assert_eq!(talk.sequences().await, [1, 2, 4, 5, 6, 7]);
}

#[tokio::test]
async fn a_reader_is_told_if_what_comes_next_is_gone() {
    let mut talk = Talk::new().await;
    talk.turn(TurnOutcome::Completed).await;
    talk.turn(TurnOutcome::Completed).await;
    talk.later();
    talk.turn(TurnOutcome::Completed).await;
    talk.compact().await;
    let read = async |after| talk.world.store.events_after(talk.world.org, talk.session, after, 2).await;
    for between in [1, 5] {
        assert!(matches!(read(between).await.unwrap_err(), StoreError::Compacted { earliest: 7 }));
    }
    for (after, next) in [(0, 7), (6, 7), (7, 8), (9, 10)] {
        assert_eq!(read(after).await.unwrap()[0].sequence, next, "after {after}");
    }
}

#[tokio::test]
async fn a_feed_has_the_base_in_the_place_of_the_last_event_that_it_stands_for() {
    let mut talk = Talk::new().await;
    talk.turn(TurnOutcome::Completed).await;
    let feed = async |after| talk.world.store.feed_after(1, talk.world.org, after, 100).await.unwrap();
    wait_until("nothing is held back", async || !feed(FeedPlace::beginning()).await.held_back).await;
    let whole = feed(FeedPlace::beginning()).await.events;
    talk.later();
    talk.compact().await;
    let left = feed(whole[1].place).await.events;
    assert_eq!(left.iter().map(|event| event.place).collect::<Vec<_>>(), [whole[3].place]);
    assert!(matches!(left[0].recorded.event, Event::Compacted { .. }));
    assert!(feed(whole[3].place).await.events.is_empty(), "who had seen all of it sees nothing twice");
}

#[tokio::test]
async fn a_walk_over_all_sessions_finds_those_with_something_old() {
    let mut talk = Talk::new().await;
    talk.turn(TurnOutcome::Completed).await;
    // Ids of one millisecond are in no order.
    talk.world.clock.advance(TimeDelta::milliseconds(1));
    let silent = talk.world.session().await;
    talk.later();
    let young = talk.world.session().await;
    let page = async |after, limit| talk.world.store.compaction_page(after, talk.before(), limit).await.unwrap();
    let org = talk.world.org;
    let (first, second) = (page(None, 1).await, page(Some((org, talk.session)), 5).await);
    assert_eq!(first, CompactionPage { due: vec![(org, talk.session)], last: Some((org, talk.session)) });
    assert_eq!(
        second,
        CompactionPage { due: Vec::new(), last: Some((org, young)) },
        "not {silent}, where nothing happened"
    );
    assert_eq!(page(second.last, 5).await, CompactionPage::default());
    talk.compact().await;
    assert_eq!(page(None, 1).await.due, []);
}

#[tokio::test]
async fn a_damaged_projection_is_made_anew_from_what_is_left_of_the_events() {
    let mut talk = Talk::new().await;
    talk.turn(TurnOutcome::Completed).await;
    talk.later();
    talk.turn(TurnOutcome::Completed).await;
    assert!(talk.compact().await.events > 0);
    let (org, session, store) = (talk.world.org, talk.session, &talk.world.store);
    let whole = store.session_view(org, session).await.unwrap().unwrap().1.to_value();
    let damage = "UPDATE projections SET content = '{\"titel\": 1}', sequence = 1";
    sqlx::query(damage).execute(store.everywhere()).await.unwrap();
    // The others are listed all the same.
    assert_eq!(store.sessions_list(org, None, 10).await.unwrap()[0].state, None);
    assert!(!store.projection_status(org, session).await.unwrap().unwrap().readable);

    let rebuilt = store.projection_rebuild(org, session, "account:1").await.unwrap();
    assert!(rebuilt.changed && rebuilt.status.readable, "{rebuilt:?}");
    assert_eq!(rebuilt.status.sequence, rebuilt.status.last_sequence);
    assert_eq!(store.session_view(org, session).await.unwrap().unwrap().1.to_value(), whole);
    assert!(!store.projection_rebuild(org, session, "account:1").await.unwrap().changed);
    talk.turn(TurnOutcome::Completed).await;
    talk.assert_parity().await;
}

#[tokio::test]
async fn a_projection_is_not_made_anew_over_a_hole() {
    let mut talk = Talk::new().await;
    talk.turn(TurnOutcome::Completed).await;
    let (org, session, store) = (talk.world.org, talk.session, &talk.world.store);
    let before = store.session_view(org, session).await.unwrap().unwrap().1.to_value();
    sqlx::query("DELETE FROM events WHERE sequence = 2").execute(store.everywhere()).await.unwrap();
    let refused = store.projection_rebuild(org, session, "account:1").await;
    assert!(matches!(refused, Err(RebuildError::Damaged(Damaged::Hole { after: 1, found: 3 }))), "{refused:?}");
    sqlx::query("DELETE FROM events WHERE sequence = 1").execute(store.everywhere()).await.unwrap();
    let refused = store.projection_rebuild(org, session, "account:1").await;
    assert!(matches!(refused, Err(RebuildError::Damaged(Damaged::Beginning(3)))), "{refused:?}");
    sqlx::query("DELETE FROM events").execute(store.everywhere()).await.unwrap();
    let refused = store.projection_rebuild(org, session, "account:1").await;
    assert!(matches!(refused, Err(RebuildError::Damaged(Damaged::End { found: 0, .. }))), "{refused:?}");
    assert_eq!(store.session_view(org, session).await.unwrap().unwrap().1.to_value(), before);
}

#[tokio::test]
async fn a_projection_is_left_to_the_worker_that_is_at_it_and_fenced_from_one_that_was_lost() {
    let world = World::new().await;
    let (session, _) = world.ready().await;
    let lease = world.claim(1).await.remove(0);
    let refused = world.store.projection_rebuild(world.org, session, "account:1").await;
    assert!(matches!(refused, Err(RebuildError::Busy)), "{refused:?}");

    world.clock.advance(TimeDelta::minutes(2));
    world.store.projection_rebuild(world.org, session, "account:1").await.unwrap();
    let projection = Projection::default();
    let append = Append { after: 1, events: &[], projection: &projection };
    let late = crate::event::append(world.store.everywhere(), &lease, &append, world.store.sources().now()).await;
    assert!(matches!(late, Err(StoreError::LeaseLost)), "{late:?}");
    let again = world.claim(1).await;
    assert_eq!(again.iter().map(|lease| lease.session).collect::<Vec<_>>(), [session]);
}
