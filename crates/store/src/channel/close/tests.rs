use chrono::TimeDelta;
use domain::channel::DeliveryState;
use domain::version::Expected;
use ids::DeliveryId;

use super::*;
use crate::outbox::SettledAs;
use crate::testing::Thread;
use crate::{
    BindingError, ChangeError, Channel, ChannelChange, InboundError, InboundMessage, Intervention, NewBinding,
    NewDelivery, Outcome, Settlement,
};

const ACTOR: &str = "account:1";
const LEASE: TimeDelta = TimeDelta::seconds(30);

impl Thread {
    async fn close(&self) -> bool {
        self.world.store.channel_close(self.world.org, self.cursor.channel_id, ACTOR).await.unwrap()
    }

    async fn channel(&self) -> Channel {
        self.world.store.channel_get(self.world.org, self.cursor.channel_id).await.unwrap().unwrap()
    }

    /// In the thread's order.
    async fn states(&self) -> Vec<DeliveryState> {
        let mut all = self.world.store.delivery_list(self.world.org, None, None, 200).await.unwrap();
        all.sort_by_key(|delivery| delivery.sequence);
        all.into_iter().map(|delivery| delivery.state).collect()
    }

    /// What waits for the recovery ledger.
    async fn told(&self) -> Vec<Effect> {
        let store = &self.world.store;
        let rows = store.outbox_list(store.sources().now(), 200).await.unwrap();
        rows.into_iter().map(|row| row.effect).collect()
    }

    async fn write(&self, channel: &Channel, thread: &str) -> Result<crate::Received, InboundError> {
        let event: uuid::Uuid = self.world.store.sources().id();
        let message = InboundMessage {
            provider_event_id: event.to_string(),
            thread: thread.into(),
            text: "hi".into(),
            sender: None,
            digest: self.world.store.sources().bytes(),
        };
        self.world.store.inbound_receive(1, channel, &message).await
    }
}

#[tokio::test]
async fn what_waits_for_a_closed_channel_is_set_aside_and_the_ledger_is_told_of_both() {
    let mut thread = Thread::new().await;
    for _ in 0..3 {
        thread.render().await;
    }
    let claim = thread.claim().await;
    assert!(thread.close().await);
    assert_eq!(thread.states().await, [DeliveryState::Pending, DeliveryState::Dead, DeliveryState::Dead]);
    let told = thread.told().await;
    let (org, channel) = (thread.world.org, thread.cursor.channel_id);
    assert_eq!(told.iter().filter(|effect| **effect == Effect::ChannelClosed { org, channel }).count(), 1, "{told:?}");
    let dead = |effect: &Effect| matches!(effect, Effect::DeliverySettled { outcome: SettledAs::Dead, .. });
    assert_eq!(told.iter().filter(|effect| dead(effect)).count(), 2, "{told:?}");

    // What was in hand is finished, and not tried again.
    let at = thread.world.store.sources().now();
    let outcome = Outcome::Retry { at, error: "no".into(), ambiguous: false };
    thread.world.store.delivery_settle(&[Settlement { claim, outcome }], false).await.unwrap();
    let claims = thread.world.store.delivery_claim(1, 10, LEASE).await.unwrap();
    assert!(claims.deliveries.is_empty() && claims.unknown.is_empty(), "{claims:?}");
    assert_eq!(thread.states().await, [DeliveryState::Dead; 3]);
    let all = thread.world.store.delivery_list(org, None, None, 10).await.unwrap();
    assert!(all.iter().all(|one| one.last_error.as_deref() == Some("its channel was closed")), "{all:?}");
}

#[tokio::test]
async fn what_a_lost_gateway_had_in_hand_for_a_closed_channel_is_unknown() {
    let mut thread = Thread::new().await;
    thread.render().await;
    let claim = thread.claim().await;
    assert!(thread.close().await);
    thread.world.clock.advance(TimeDelta::minutes(1));
    let claims = thread.world.store.delivery_claim(1, 10, LEASE).await.unwrap();
    assert!(claims.deliveries.is_empty());
    assert_eq!(claims.unknown, [claim.delivery_id]);
}

#[tokio::test]
async fn what_a_gateway_had_in_hand_that_was_lost_before_the_closing_is_unknown_too() {
    let mut thread = Thread::new().await;
    thread.render().await;
    let claim = thread.claim().await;
    thread.world.clock.advance(TimeDelta::minutes(1));
    assert!(thread.close().await);
    let claims = thread.world.store.delivery_claim(1, 10, LEASE).await.unwrap();
    assert!(claims.deliveries.is_empty());
    assert_eq!(claims.unknown, [claim.delivery_id]);
    assert_eq!(thread.states().await, [DeliveryState::Unknown]);
}

#[tokio::test]
async fn closing_twice_changes_nothing_and_a_closed_channel_is_shown_where_it_is_asked_for() {
    let thread = Thread::new().await;
    let (store, org, channel) = (&thread.world.store, thread.world.org, thread.cursor.channel_id);
    assert!(thread.close().await);
    let (closed, told) = (thread.channel().await, thread.told().await);
    assert!(closed.closed_at.is_some());
    assert!(thread.close().await);
    assert_eq!((thread.channel().await, thread.told().await), (closed.clone(), told));
    assert!(store.channel_find(channel).await.unwrap().is_none());
    assert!(store.channel_list(org, false, None, 10).await.unwrap().is_empty());
    assert_eq!(store.channel_list(org, true, None, 10).await.unwrap(), [closed]);
    assert!(store.binding_list(org, None, 10).await.unwrap().is_empty());
    assert!(store.cursor_behind(10).await.unwrap().is_empty());
    let nobodys: ChannelId = store.sources().id();
    assert!(!store.channel_close(org, nobodys, ACTOR).await.unwrap());
    let (audit, _) = store.audit_list(org, &crate::AuditFilter::default(), 0, 200).await.unwrap();
    let closings: Vec<_> = audit.iter().filter(|one| one.action == "channel.close").map(|one| &one.detail).collect();
    assert_eq!(closings, [&json!({"unbound": 1, "set_aside": 0})]);
}

#[tokio::test]
async fn nobody_binds_writes_in_or_changes_a_closed_channel() {
    let thread = Thread::new().await;
    let open = thread.channel().await;
    assert!(thread.close().await);
    let (store, org, channel) = (&thread.world.store, thread.world.org, open.channel_id);
    let new = NewBinding { org, channel, thread: "other".into(), session: thread.cursor.session_id };
    assert!(matches!(store.binding_create(&new, ACTOR).await, Err(BindingError::NoSuchChannel)));
    // A gateway that has read the channel before.
    for name in ["general", "other"] {
        let written = thread.write(&open, name).await;
        assert!(matches!(written, Err(InboundError::Binding(BindingError::NoSuchChannel))), "{written:?}");
    }
    let change = ChannelChange { name: Some("again".into()), ..ChannelChange::default() };
    let changed = store.channel_change(org, channel, &change, &Expected::Anything, ACTOR).await;
    assert!(matches!(changed, Err(ChangeError::Closed("channel"))), "{changed:?}");
}

#[tokio::test]
async fn nothing_is_sent_to_a_closed_channel_again_and_what_became_of_it_can_be_said() {
    let mut thread = Thread::new().await;
    thread.render().await;
    let claim = thread.claim().await;
    let unknown = claim.delivery_id;
    let outcome = Outcome::Unknown("who knows".into());
    thread.world.store.delivery_settle(&[Settlement { claim, outcome }], false).await.unwrap();
    thread.render().await;
    assert!(thread.close().await);
    let (store, org) = (&thread.world.store, thread.world.org);
    let dead = store.delivery_list(org, Some(DeliveryState::Dead), None, 10).await.unwrap().remove(0).delivery_id;
    assert_eq!(store.delivery_retry(org, dead, ACTOR).await.unwrap(), Intervention::NotNow);
    assert_eq!(store.delivery_resend(org, unknown, ACTOR).await.unwrap(), Intervention::NotNow);
    let nobodys: DeliveryId = store.sources().id();
    assert_eq!(store.delivery_retry(org, nobodys, ACTOR).await.unwrap(), Intervention::NoSuchDelivery);
    assert_eq!(store.delivery_settle_unknown(org, unknown, true, ACTOR).await.unwrap(), Intervention::Done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_is_closed_while_it_is_told_and_written_in_ends_whole() {
    for n in 0..8 {
        let thread = Thread::new().await;
        let (store, open) = (&thread.world.store, thread.channel().await);
        let close = async {
            for _ in 0..n {
                tokio::task::yield_now().await;
            }
            thread.close().await
        };
        let tell = async {
            let mut cursor = thread.cursor.clone();
            loop {
                let (command, to) = (store.sources().id(), cursor.sequence + 1);
                let new = NewDelivery { command, sequence: to, payload: json!({}), interaction: None };
                if !store.cursor_advance(&cursor, to, &[new]).await.unwrap() {
                    return;
                }
                cursor.sequence = to;
            }
        };
        let write = async {
            for number in 0_u32.. {
                let name = if number.is_multiple_of(2) { "general".to_owned() } else { format!("new-{number}") };
                match thread.write(&open, &name).await {
                    Ok(_) => {}
                    Err(InboundError::Binding(BindingError::NoSuchChannel)) => return,
                    Err(other) => panic!("{other:?}"),
                }
            }
        };
        let (closed, (), ()) = tokio::join!(close, tell, write);
        assert!(closed);
        assert!(!thread.states().await.contains(&DeliveryState::Pending));
        assert!(store.binding_list(thread.world.org, None, 200).await.unwrap().is_empty());
        let bound: i64 = sqlx::query_scalar("SELECT count(*) FROM bindings WHERE thread IS NOT NULL")
            .fetch_one(&store.pool)
            .await
            .unwrap();
        assert_eq!(bound, 0);
    }
}
