//! What a gateway really does is a path of the model: intents, arrivals, outcomes and rows, in the order in which they can be
//! seen, while the gateway is ended at seeded points and another takes over.
//!
//! A look reads the row first and the ledger then, so what the row knows must be in the ledger. The far side looks at the
//! ledger before it answers, so what is there had to be told before the message left.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use chrono::TimeDelta;
use clock::{ManualClock, Sources};
use gateway::{GatewayConfig, Parts};
use ids::DeliveryId;
use ledger::{Outcome, Reader, Record};
use model::trace::{Observed, is_a_path};
use model::{Answer, Kind, RowState};
use objects::Objects;
use store::{Environment, Store};
use testkit::Mood;
use tokio::runtime::Runtime;
use tokio::sync::Mutex;

use crate::world::{World, config, effects};

const SEEDS: u64 = 32;
/// What each request of a gateway to the ledger takes: longer than a message to the far side.
const SLOW: Duration = Duration::from_millis(30);
/// No gateway gives up telling the ledger.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than a lease.
pub(crate) const LEASE: TimeDelta = TimeDelta::minutes(2);

/// One delivery, as it is seen from outside.
#[derive(Clone)]
struct Watch(Arc<Mutex<Watched>>);

struct Watched {
    objects: Objects,
    world: Arc<World>,
    /// Deliveries that are at their end.
    earlier: Vec<DeliveryId>,
    delivery: Option<DeliveryId>,
    /// Records of it that were seen.
    told: usize,
    seen: Vec<Observed>,
    /// Messages that came, and those of them whose sending the ledger did not know of. Refused ones count: the model does not
    /// see them.
    came: usize,
    unannounced: usize,
    /// What the far side answers next; then 200.
    answers: VecDeque<u16>,
}

impl Watched {
    /// Adds what the ledger says beyond what was seen.
    async fn look_at_the_ledger(&mut self) {
        let Some(delivery) = self.delivery else { return };
        let (system, now) = (self.world.generation.system_id, self.world.store.sources().now());
        let Ok(reader) = Reader::open(self.objects.clone(), system, now).await else { return };
        let mut entries = reader.entries(clock::Timestamp::UNIX_EPOCH);
        let mut all = Vec::new();
        while let Some(entry) = entries.next().await.unwrap() {
            all.extend(observed(&entry.record, delivery));
        }
        self.seen.extend(&all[self.told..]);
        self.told = all.len();
    }

    /// Looks at the row, and at the ledger after that. The row's state.
    async fn look(&mut self) -> Option<RowState> {
        let rows = self.world.store.delivery_list(self.world.org, None, None, 200).await.unwrap();
        let row = rows.into_iter().find(|row| !self.earlier.contains(&row.delivery_id))?;
        assert_eq!(*self.delivery.get_or_insert(row.delivery_id), row.delivery_id);
        let state = match row.state.as_str() {
            "pending" => RowState::Pending,
            "sent" => RowState::Sent,
            "dead" => RowState::Dead,
            "unknown" => RowState::Unknown,
            other => panic!("a delivery is {other}"),
        };
        self.look_at_the_ledger().await;
        self.seen.push(Observed::Row(state));
        Some(state)
    }
}

fn is_told(seen: &Observed) -> bool {
    matches!(seen, Observed::Intent { .. } | Observed::Outcome { .. })
}

fn observed(record: &Record, of: DeliveryId) -> Option<Observed> {
    let number = |attempt: u32| u8::try_from(attempt).unwrap();
    match record {
        Record::DeliveryIntent { delivery, attempt, .. } if *delivery == of => {
            Some(Observed::Intent { attempt: number(*attempt) })
        }
        Record::DeliveryOutcome { delivery, attempt, outcome, .. } if *delivery == of => {
            let answer = match outcome {
                Outcome::Sent { .. } => Answer::Accepted,
                Outcome::NotSent => Answer::Refused,
                Outcome::Dead => Answer::Rejected,
                Outcome::Unknown => Answer::Unheard,
            };
            Some(Observed::Outcome { attempt: number(*attempt), answer })
        }
        _ => None,
    }
}

/// The far side. A 504 has taken the message all the same.
async fn receive(State(watch): State<Watch>, headers: HeaderMap) -> StatusCode {
    let mut watched = watch.0.lock().await;
    let id: DeliveryId = headers["webhook-id"].to_str().unwrap().parse().unwrap();
    assert_eq!(*watched.delivery.get_or_insert(id), id);
    watched.look_at_the_ledger().await;
    watched.came += 1;
    let intents = watched.seen.iter().filter(|seen| matches!(seen, Observed::Intent { .. })).count();
    watched.unannounced += usize::from(intents < watched.came);
    let status = watched.answers.pop_front().unwrap_or(200);
    if matches!(status, 200 | 504) {
        watched.seen.push(Observed::Arrived);
    }
    StatusCode::from_u16(status).unwrap()
}

/// A gateway on a runtime of its own: to end that is to its tasks nearly what `kill -9` is to a process. Nearly, since its
/// tasks don't end in one instant: the last of them may find the ledger's gone, and give claims back.
pub(crate) async fn begin(world: &Arc<World>, config: GatewayConfig) -> Runtime {
    let (url, parts, secret) = (world.database.url(), world.parts(), world.secret.clone());
    let objects = Objects::over(world.ledger.clone());
    let begun = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let store = Store::connect(&url, 4, parts.store.sources().clone()).await.unwrap();
            let effects = effects(&store, &parts.generation, objects, &secret, PATIENCE);
            let parts = Parts { store, effects, ..parts };
            tokio::spawn(gateway::run(parts, config, tokio_util::sync::CancellationToken::new()));
        });
        runtime
    });
    begun.await.unwrap()
}

pub(crate) async fn end(life: Runtime) {
    tokio::task::spawn_blocking(|| life.shutdown_timeout(Duration::from_secs(10))).await.unwrap();
}

/// A delivery from its turn to its end, with gateways that are ended after so many things were seen.
async fn live(world: &Arc<World>, clock: &ManualClock, dice: &Sources) -> (Kind, Vec<Observed>) {
    let kind = if dice.below(2) == 0 { Kind::Plain } else { Kind::Deduplicated };
    let answers = (0..dice.below(3)).map(|_| [503, 503, 504, 410][dice.below(4) as usize]).collect();
    let earlier = world.store.delivery_list(world.org, None, None, 200).await.unwrap();
    let watched = Watched {
        earlier: earlier.into_iter().map(|row| row.delivery_id).collect(),
        objects: Objects::over(world.ledger.calm()),
        world: world.clone(),
        delivery: None,
        told: 0,
        seen: Vec::new(),
        came: 0,
        unannounced: 0,
        answers,
    };
    let watch = Watch(Arc::new(Mutex::new(watched)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let router = Router::new().route("/hook", post(receive)).with_state(watch.clone());
    let far_side = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let session = world.thread(world.channel_that(&url, kind == Kind::Deduplicated).await, "general").await;
    clock.advance(TimeDelta::seconds(1));
    world.turn(session, "hello").await;
    for _ in 0..dice.below(3) {
        let (life, more) = (begin(world, config()).await, 1 + dice.below(4) as usize);
        let until = watch.0.lock().await.seen.iter().filter(|seen| is_told(seen)).count() + more;
        let over = || async {
            clock.advance(TimeDelta::milliseconds(20));
            let mut watched = watch.0.lock().await;
            let row = watched.look().await;
            is_over(row) || watched.seen.iter().filter(|seen| is_told(seen)).count() >= until
        };
        testkit::wait_until("enough was told", over).await;
        end(life).await;
        watch.0.lock().await.look().await;
        clock.advance(LEASE);
    }
    let life = begin(world, config()).await;
    let over = || async {
        clock.advance(TimeDelta::milliseconds(20));
        is_over(watch.0.lock().await.look().await)
    };
    testkit::wait_until("the delivery is at its end", over).await;
    end(life).await;
    far_side.abort();
    let mut watched = watch.0.lock().await;
    watched.look().await;
    watched.seen.dedup();
    assert_eq!(watched.unannounced, 0, "a message left before its intent: {:?}", watched.seen);
    (kind, watched.seen.clone())
}

fn is_over(row: Option<RowState>) -> bool {
    matches!(row, Some(RowState::Sent | RowState::Dead | RowState::Unknown))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_gateway_does_until_it_is_ended_is_a_path_of_the_model() {
    let (clock, sources) = testkit::sources(1);
    let world = Arc::new(World::of(Environment::Production, sources).await);
    // What is told takes its time, and those who watch don't wait for it: a gateway that tells too late is seen.
    world.ledger.set(Mood { delay: SLOW, ..Mood::default() });
    let (mut seen, mut arrivals) = (0, 0);
    for seed in 0..SEEDS {
        let (_, dice) = testkit::sources(seed);
        let (kind, trace) = live(&world, &clock, &dice).await;
        assert_eq!(is_a_path(kind, &trace), Ok(()), "seed {seed}, {kind:?}: {trace:?}");
        seen += trace.len();
        arrivals += trace.iter().filter(|seen| **seen == Observed::Arrived).count();
    }
    assert!(seen > 4 * SEEDS as usize && arrivals > SEEDS as usize / 2, "{seen} things seen, {arrivals} arrivals");
}
