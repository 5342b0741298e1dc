use chrono::TimeDelta;
use domain::channel::{ChannelKind, DeliveryState};
use serde_json::json;

use super::*;
use crate::outbox::{Effect, SettledAs};
use crate::testing::World;
use crate::{BehindCursor, Channel, InboundMessage, NewChannel, NewDelivery, Outcome, Settlement};

const ACTOR: &str = "account:1";

/// A thread that follows a session.
struct Thread {
    world: World,
    channel: Channel,
    cursor: BehindCursor,
}

impl Thread {
    async fn new() -> Self {
        let world = World::new().await;
        let new = NewChannel {
            org: world.org,
            kind: ChannelKind::Webhook,
            name: "ops".into(),
            destination: "https://chat.example/hook".parse().unwrap(),
            secret_version: "1".into(),
            deduplicates: true,
        };
        let channel = world.store.channel_create(&new, ACTOR).await.unwrap();
        let session = world.session().await;
        let new = NewBinding { org: world.org, channel: channel.channel_id, thread: "general".into(), session };
        let bound = world.store.binding_create(&new, ACTOR).await.unwrap();
        let cursor = BehindCursor {
            org: world.org,
            binding_id: bound.binding_id,
            channel_id: channel.channel_id,
            thread: bound.thread,
            session_id: session,
            sequence: bound.cursor_sequence,
        };
        Self { world, channel, cursor }
    }

    /// One more delivery; `false`: the thread follows no session.
    async fn render(&mut self) -> bool {
        let (store, to) = (&self.world.store, self.cursor.sequence + 1);
        let new = NewDelivery {
            command: store.sources().id(),
            sequence: to,
            payload: json!({"text": "hello"}),
            interaction: None,
        };
        let rendered = store.cursor_advance(&self.cursor, to, &[new]).await.unwrap();
        self.cursor.sequence = to;
        rendered
    }

    /// Whether the far side takes a repeat once.
    async fn deduplicates(&self, deduplicates: bool) {
        let change = sqlx::query("UPDATE channels SET deduplicates = $1").bind(deduplicates);
        change.execute(&self.world.store.pool).await.unwrap();
    }

    async fn remove(&self) -> bool {
        self.world.store.binding_remove(self.world.org, self.cursor.binding_id, ACTOR).await.unwrap()
    }

    /// In the thread's order.
    async fn states(&self) -> Vec<DeliveryState> {
        let mut all = self.world.store.delivery_list(self.world.org, None, None, 200).await.unwrap();
        all.sort_by_key(|delivery| delivery.sequence);
        all.into_iter().map(|delivery| delivery.state).collect()
    }

    async fn receive(&self, event: &str) -> SessionId {
        let message = InboundMessage {
            sender: None,
            provider_event_id: event.into(),
            thread: "general".into(),
            text: "hi".into(),
            digest: [event.len().try_into().unwrap(); 32],
        };
        let received = self.world.store.inbound_receive(1, &self.channel, &message).await.unwrap();
        let of = "SELECT session_id FROM commands WHERE command_id = $1";
        let command = received.command.unwrap();
        let session = sqlx::query_scalar(of).bind(command.as_uuid()).fetch_one(&self.world.store.pool);
        session.await.map(|id: uuid::Uuid| id.into()).unwrap()
    }
}

#[tokio::test]
async fn what_waits_for_an_unbound_thread_is_set_aside_and_told_to_the_ledger() {
    let mut thread = Thread::new().await;
    for _ in 0..3 {
        assert!(thread.render().await);
    }
    let lease = TimeDelta::seconds(30);
    let in_hand = thread.world.store.delivery_claim(1, 1, lease).await.unwrap().deliveries.remove(0);
    assert!(thread.remove().await);
    assert_eq!(thread.states().await, [DeliveryState::Pending, DeliveryState::Dead, DeliveryState::Dead]);
    let told = thread.world.store.outbox_list(thread.world.store.sources().now(), 200).await.unwrap();
    let dead = |effect: &Effect| matches!(effect, Effect::DeliverySettled { outcome: SettledAs::Dead, .. });
    assert_eq!(told.iter().filter(|row| dead(&row.effect)).count(), 2, "{told:?}");

    let sent = Settlement { claim: in_hand, outcome: Outcome::Sent };
    thread.world.store.delivery_settle(&[sent], false).await.unwrap();
    assert_eq!(thread.states().await, [DeliveryState::Sent, DeliveryState::Dead, DeliveryState::Dead]);
    assert!(thread.world.store.delivery_claim(1, 10, lease).await.unwrap().deliveries.is_empty());
}

#[tokio::test]
async fn what_a_lost_gateway_had_in_hand_for_an_unbound_thread_is_judged_as_any_other() {
    for deduplicates in [true, false] {
        let mut thread = Thread::new().await;
        thread.deduplicates(deduplicates).await;
        assert!(thread.render().await);
        let lease = TimeDelta::seconds(30);
        let in_hand = thread.world.store.delivery_claim(1, 1, lease).await.unwrap().deliveries.remove(0).delivery_id;
        thread.world.clock.advance(TimeDelta::minutes(1));
        assert!(thread.remove().await);
        let claims = thread.world.store.delivery_claim(1, 10, lease).await.unwrap();
        let sent: Vec<_> = claims.deliveries.iter().map(|claim| claim.delivery_id).collect();
        let (again, unknown) = if deduplicates { (vec![in_hand], vec![]) } else { (vec![], vec![in_hand]) };
        assert_eq!((sent, claims.unknown), (again, unknown), "the far side takes a repeat once: {deduplicates}");
    }
}

#[tokio::test]
async fn nothing_is_rendered_in_an_unbound_thread() {
    let mut thread = Thread::new().await;
    assert!(thread.remove().await);
    assert!(!thread.render().await);
    assert_eq!(thread.states().await, []);
    assert!(thread.world.store.cursor_behind(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_next_message_in_an_unbound_thread_begins_a_session() {
    let thread = Thread::new().await;
    assert_eq!(thread.receive("1").await, thread.cursor.session_id);
    assert!(thread.remove().await);
    let begun = thread.receive("22").await;
    assert_ne!(begun, thread.cursor.session_id);
    assert_eq!(thread.receive("333").await, begun);
    assert_eq!(thread.receive("1").await, thread.cursor.session_id, "a repeat is what it was");
    assert!(thread.remove().await, "the old one stays unbound, whoever has the thread now");
    assert_eq!(thread.world.store.binding_list(thread.world.org, None, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_dead_letter_of_an_unbound_thread_can_be_sent_all_the_same() {
    let mut thread = Thread::new().await;
    assert!(thread.render().await);
    assert!(thread.remove().await);
    let (store, org) = (&thread.world.store, thread.world.org);
    let dead = store.delivery_list(org, Some(DeliveryState::Dead), None, 10).await.unwrap().remove(0);
    assert_eq!(dead.last_error.as_deref(), Some("its thread was unbound"));
    store.delivery_retry(org, dead.delivery_id, ACTOR).await.unwrap();
    let claimed = store.delivery_claim(1, 10, TimeDelta::seconds(30)).await.unwrap().deliveries;
    assert_eq!(claimed.iter().map(|claim| claim.delivery_id).collect::<Vec<_>>(), [dead.delivery_id]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_that_is_unbound_while_it_is_told_and_written_in_ends_whole() {
    for n in 0..8 {
        let mut thread = Thread::new().await;
        let (org, binding, store) = (thread.world.org, thread.cursor.binding_id, thread.world.store.clone());
        let unbind = async {
            for _ in 0..n {
                tokio::task::yield_now().await;
            }
            store.binding_remove(org, binding, ACTOR).await.unwrap()
        };
        let tell = async {
            while thread.render().await {
                let claims = thread.world.store.delivery_claim(1, 1, TimeDelta::seconds(30)).await.unwrap();
                let settle = |claim| Settlement { claim, outcome: Outcome::Sent };
                let settled: Vec<Settlement> = claims.deliveries.into_iter().map(settle).collect();
                thread.world.store.delivery_settle(&settled, false).await.unwrap();
            }
        };
        let (removed, ()) = tokio::join!(unbind, tell);
        assert!(removed);
        let states = thread.states().await;
        assert!(!states.contains(&DeliveryState::Pending), "{states:?}");
    }
}
