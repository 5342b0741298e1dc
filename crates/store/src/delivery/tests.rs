//! What a claim finds by `due_threads` is what the deliveries themselves say can be claimed.

use chrono::TimeDelta;
use clock::Sources;
use domain::channel::{ChannelKind, DeliveryState};
use serde_json::json;

use super::*;
use crate::testing::World;
use crate::{BehindCursor, NewBinding, NewChannel, NewDelivery};

const LEASE: TimeDelta = TimeDelta::seconds(30);
const ACTOR: &str = "account:1";

/// Threads of one world, some at a destination that takes a repeat once.
struct Threads {
    world: World,
    cursors: Vec<BehindCursor>,
    held: Vec<ClaimedDelivery>,
}

impl Threads {
    async fn new(count: usize) -> Self {
        let world = World::new().await;
        let mut cursors = Vec::new();
        for n in 0..count {
            let session = world.session().await;
            let new = NewChannel {
                org: world.org,
                kind: ChannelKind::Webhook,
                name: format!("ops {n}"),
                destination: "https://chat.example/hook".parse().unwrap(),
                secret_version: "1".into(),
                deduplicates: n % 2 == 0,
            };
            let channel_id = world.store.channel_create(&new, ACTOR).await.unwrap().channel_id;
            let new = NewBinding { org: world.org, channel: channel_id, thread: "general".into(), session };
            let bound = world.store.binding_create(&new, ACTOR).await.unwrap();
            cursors.push(BehindCursor {
                org: world.org,
                binding_id: bound.binding_id,
                channel_id,
                thread: bound.thread,
                session_id: session,
                sequence: bound.cursor_sequence,
            });
        }
        Self { world, cursors, held: Vec::new() }
    }

    /// What can be claimed, asked of the deliveries alone.
    async fn claimable(&self) -> Vec<DeliveryId> {
        let all = "SELECT delivery_id FROM deliveries AS candidates
            WHERE state = 'pending' AND next_attempt_at <= $1 AND (leased_until IS NULL OR leased_until <= $1)
                AND NOT EXISTS (
                    SELECT FROM deliveries AS earlier
                    WHERE earlier.binding_id = candidates.binding_id AND earlier.sequence < candidates.sequence
                        AND earlier.state = 'pending')
            ORDER BY delivery_id";
        let now = self.world.store.sources().now();
        let ids: Vec<uuid::Uuid> = sqlx::query_scalar(all).bind(now).fetch_all(&self.world.store.pool).await.unwrap();
        ids.into_iter().map(DeliveryId::from).collect()
    }

    async fn claim(&mut self, limit: usize) {
        let expected = self.claimable().await;
        let claims = self.world.store.delivery_claim(1, i64::try_from(limit).unwrap(), LEASE).await.unwrap();
        let mut found: Vec<DeliveryId> = claims.deliveries.iter().map(|claim| claim.delivery_id).collect();
        found.extend(&claims.unknown);
        found.sort_unstable();
        assert_eq!(found.len(), expected.len().min(limit), "{found:?} of {expected:?}");
        assert!(found.iter().all(|id| expected.contains(id)), "{found:?} of {expected:?}");
        self.held.extend(claims.deliveries);
    }

    async fn of_state(&self, state: DeliveryState, dice: &Sources) -> Option<DeliveryId> {
        let all = self.world.store.delivery_list(self.world.org, Some(state), None, 200).await.unwrap();
        (!all.is_empty()).then(|| all[below(dice, all.len())].delivery_id)
    }

    /// Something that happens to deliveries.
    async fn step(&mut self, dice: &Sources) {
        let (org, now) = (self.world.org, self.world.store.sources().now());
        match below(dice, 10) {
            0..3 => {
                let place = below(dice, self.cursors.len());
                render(&self.world.store, &mut self.cursors[place]).await;
            }
            3 => self.claim(1 + below(dice, 3)).await,
            4 => self.world.clock.advance(TimeDelta::seconds(i64::from(dice.below(40)))),
            5..7 if !self.held.is_empty() => {
                let claim = self.held.swap_remove(below(dice, self.held.len()));
                let at = now + TimeDelta::seconds(i64::from(dice.below(60)));
                let retry = Outcome::Retry { at, error: "no".into(), ambiguous: false };
                let outcome = [Outcome::Sent, retry, Outcome::Dead("no".into()), Outcome::Unknown("who knows".into())];
                let outcome = outcome[below(dice, 4)].clone();
                self.world.store.delivery_settle(&[Settlement { claim, outcome }], false).await.unwrap();
            }
            7 if !self.held.is_empty() => {
                let claim = self.held.swap_remove(below(dice, self.held.len()));
                self.world.store.delivery_give_back(&[claim]).await.unwrap();
            }
            8 => {
                if let Some(delivery) = self.of_state(DeliveryState::Pending, dice).await {
                    self.world.store.delivery_dead_letter(org, delivery, ACTOR).await.unwrap();
                }
            }
            _ => {
                if let Some(delivery) = self.of_state(DeliveryState::Dead, dice).await {
                    self.world.store.delivery_retry(org, delivery, ACTOR).await.unwrap();
                }
                if let Some(delivery) = self.of_state(DeliveryState::Unknown, dice).await {
                    self.world.store.delivery_resend(org, delivery, ACTOR).await.unwrap();
                }
            }
        }
    }
}

fn below(dice: &Sources, bound: usize) -> usize {
    dice.below(u32::try_from(bound).unwrap()) as usize
}

/// One more delivery of a thread.
async fn render(store: &Store, cursor: &mut BehindCursor) {
    let to = cursor.sequence + 1;
    let new = NewDelivery {
        command: store.sources().id(),
        sequence: to,
        payload: json!({"text": "hello"}),
        interaction: None,
    };
    assert!(store.cursor_advance(cursor, to, &[new]).await.unwrap());
    cursor.sequence = to;
}

#[tokio::test]
async fn whatever_happens_a_claim_finds_the_oldest_of_each_thread_that_is_due() {
    for seed in 0..4 {
        let mut threads = Threads::new(4).await;
        let (_, dice) = testkit::sources(seed);
        for _ in 0..150 {
            threads.step(&dice).await;
        }
        threads.world.clock.advance(TimeDelta::hours(1));
        // What becomes unknown lets the next one of its thread go.
        for _ in 0..100 {
            threads.claim(100).await;
        }
        assert_eq!(threads.claimable().await, []);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_thread_is_stranded_while_everybody_writes_at_once() {
    const EACH: usize = 40;
    let threads = Threads::new(3).await;
    let (store, org) = (&threads.world.store, threads.world.org);
    let renderers = threads.cursors.iter().cloned().map(|mut cursor| async move {
        for _ in 0..EACH {
            render(store, &mut cursor).await;
        }
    });
    let gateway = |_| async move {
        let done =
            async || store.delivery_list(org, Some(DeliveryState::Sent), None, 200).await.unwrap().len() == 3 * EACH;
        let round = async || {
            let claims = store.delivery_claim(1, 2, LEASE).await.unwrap();
            let settle = |claim| Settlement { claim, outcome: Outcome::Sent };
            let settled: Vec<Settlement> = claims.deliveries.into_iter().map(settle).collect();
            store.delivery_settle(&settled, false).await.unwrap();
            done().await
        };
        testkit::wait_until("all are sent", round).await;
    };
    futures::join!(futures::future::join_all(renderers), futures::future::join_all((0..3).map(gateway)));
    store.delivery_claim(1, 100, LEASE).await.unwrap();
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM due_threads").fetch_one(&store.pool).await.unwrap();
    assert_eq!(left, 0, "threads that have nothing to send are not looked at");
}
