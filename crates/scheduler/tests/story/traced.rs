//! What schedulers really do is a path of the model: intents, firings, outcomes and rows, in the order in which they can be
//! seen, while schedulers are ended at seeded points and others take over.
//!
//! A slot fires behind a gate: a lock on the table of slots, which a scheduler comes upon in the transaction that fires. While
//! it stands there, what is in the ledger had to be told before. The points themselves are states of the ledger: one that
//! does nothing, and one that takes what it is given and never answers.
//!
//! Not here: restores, which `make disasters` has, and slots that a policy skips, which leave nothing.

use std::time::Duration;

use chrono::TimeDelta;
use clock::{Sources, Timestamp};
use domain::schedule::{MissedPolicy, TriggerSpec};
use ids::WorkflowId;
use ledger::{Reader, Record};
use model::trace::{Observed, is_a_path};
use model::{Answer, Kind, RowState};
use objects::Objects;
use scheduler::Settings;
use sqlx::{Connection as _, Executor as _, PgConnection};
use store::Store;
use testkit::{Mood, wait_until};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::world::{World, effects};

const INTENT: Observed = Observed::Intent { attempt: 1 };
const OUTCOME: Observed = Observed::Outcome { attempt: 1, answer: Answer::Accepted };
const SEEDS: u64 = 24;
/// Longer than any point is waited for: no scheduler gives up by itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// What each request to a slow ledger takes.
const SLOW: Duration = Duration::from_millis(50);

/// Where schedulers are ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Point {
    /// The ledger was asked to take the intent, and has not.
    Intending,
    /// The ledger has the intent, and the scheduler was never told.
    Unheard,
    /// In the transaction that fires.
    Firing,
    /// It has fired, and the ledger does not take the outcome.
    Telling,
    /// The ledger has the outcome, and the scheduler was never told.
    Told,
    /// Nothing is left to do.
    Done,
}

const BEFORE_IT_FIRES: [Point; 3] = [Point::Intending, Point::Unheard, Point::Firing];
const WHEN_IT_HAS_FIRED: [Point; 3] = [Point::Telling, Point::Told, Point::Done];

/// One slot, as it is seen from outside.
struct Watch<'a> {
    world: &'a World,
    workflow: WorkflowId,
    due_at: Timestamp,
    told: Told,
    fired: bool,
    seen: Vec<Observed>,
}

impl<'a> Watch<'a> {
    /// A slot that is due now.
    async fn begin(world: &'a World) -> Self {
        let due_at = world.sources.now() + TimeDelta::seconds(1);
        let always = |new: &mut store::NewWorkflow| new.missed_policy = MissedPolicy::RunAll;
        let workflow = world.workflow(TriggerSpec::Once { at: due_at }, always).await;
        world.advance(1);
        Self {
            world,
            workflow,
            due_at,
            told: Told::default(),
            fired: false,
            seen: vec![Observed::Row(RowState::Pending)],
        }
    }

    /// Looks at the ledger, and at the row after that: what the ledger calls fired has a row.
    async fn look(&mut self) {
        let told = self.in_the_ledger().await;
        let fired = self.has_fired().await;
        // What had to be told before it fires was seen when the gate was closed: the rest came later.
        self.seen.extend((fired && !self.fired).then_some(Observed::Arrived));
        self.seen.extend((self.told.intents..told.intents).map(|_| INTENT));
        self.seen.extend((self.told.outcomes..told.outcomes).map(|_| OUTCOME));
        let row = Observed::Row(if fired { RowState::Sent } else { RowState::Pending });
        self.seen.extend((self.seen.last() != Some(&row)).then_some(row));
        (self.told, self.fired) = (told, fired);
    }

    async fn has_fired(&self) -> bool {
        let slots = self.world.store.slot_list(self.world.org, self.workflow, None, 10).await.unwrap();
        assert!(slots.len() <= 1 && slots.iter().all(|slot| slot.state == "fired"), "{slots:?}");
        !slots.is_empty()
    }

    async fn in_the_ledger(&self) -> Told {
        let (objects, now) = (Objects::over(self.world.remembering.calm()), self.world.sources.now());
        let reader = Reader::open(objects, self.world.generation.system_id, now).await.unwrap();
        let mut entries = reader.entries(Timestamp::UNIX_EPOCH);
        let ours = (self.world.org, self.workflow, self.due_at);
        let mut told = Told::default();
        while let Some(entry) = entries.next().await.unwrap() {
            match entry.record {
                Record::SlotIntent { org, workflow, due_at } if (org, workflow, due_at) == ours => told.intents += 1,
                Record::SlotFired { org, workflow, due_at } if (org, workflow, due_at) == ours => told.outcomes += 1,
                _ => {}
            }
        }
        told
    }

    /// Waits until `reached`, looking on.
    async fn until(&mut self, what: &str, reached: impl Fn(&Self) -> bool) {
        let watch = tokio::sync::Mutex::new(self);
        wait_until(what, async || {
            let mut watch = watch.lock().await;
            watch.look().await;
            reached(&watch)
        })
        .await;
    }
}

/// Records of a slot, by kind.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    intents: usize,
    outcomes: usize,
}

/// A lock that whoever fires a slot waits for.
struct Gate(PgConnection);

impl Gate {
    async fn close(world: &World) -> Self {
        let mut connection = PgConnection::connect(&world.database.url()).await.unwrap();
        connection.execute("BEGIN").await.unwrap();
        connection.execute("LOCK TABLE slots IN SHARE MODE").await.unwrap();
        Self(connection)
    }

    async fn is_waited_for(&self, world: &World) -> bool {
        let sql = "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'slots'::regclass AND NOT granted)";
        sqlx::query_scalar(sql).fetch_one(&world.database.pool()).await.unwrap()
    }

    async fn open(self) {
        self.0.close().await.unwrap();
    }
}

/// Schedulers on a runtime of their own: to end that is to their tasks what `kill -9` is to a process.
async fn begin(world: &World, schedulers: u64) -> Runtime {
    let (url, sources, generation) = (world.database.url(), world.sources.clone(), world.generation.clone());
    let objects = Objects::over(world.remembering.clone());
    let begun = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            for _ in 0..schedulers {
                let store = Store::connect(&url, 4, sources.clone()).await.unwrap();
                let effects = effects(&store, &generation, objects.clone(), PATIENCE);
                let settings = Settings { poll: Duration::from_millis(5) };
                tokio::spawn(async move { scheduler::run(store, effects, &settings, CancellationToken::new()).await });
            }
        });
        runtime
    });
    begun.await.unwrap()
}

async fn end(life: Runtime) {
    tokio::task::spawn_blocking(|| life.shutdown_timeout(Duration::from_secs(10))).await.unwrap();
}

fn hang() -> Mood {
    Mood { hang: true, ..Mood::default() }
}

fn mute() -> Mood {
    Mood { mute: true, ..Mood::default() }
}

/// Schedulers from their start until they are ended at `point`, which is reached before the slot fires.
async fn end_early(watch: &mut Watch<'_>, point: Point, schedulers: u64) {
    let world = watch.world;
    let (gate, asked, told) = (Gate::close(world).await, world.remembering.asked(), watch.told);
    world.remembering.set(match point {
        Point::Intending => hang(),
        Point::Unheard => mute(),
        _ => Mood::default(),
    });
    let life = begin(world, schedulers).await;
    match point {
        Point::Intending => wait_until("the ledger is asked", async || world.remembering.asked() > asked).await,
        Point::Unheard => {
            let more = |watch: &Watch<'_>| watch.told.intents > told.intents;
            watch.until("the ledger has an intent", more).await;
        }
        _ => wait_until("a scheduler is about to fire", async || gate.is_waited_for(world).await).await,
    }
    watch.look().await;
    end(life).await;
    watch.look().await;
    gate.open().await;
    world.remembering.set(Mood::default());
}

/// Schedulers that fire the slot, and are ended at `point` after that.
async fn end_late(watch: &mut Watch<'_>, point: Point, schedulers: u64) {
    let world = watch.world;
    let gate = Gate::close(world).await;
    // Slow, so that a scheduler that does not wait for it comes to the gate first.
    world.remembering.set(Mood { delay: SLOW, ..Mood::default() });
    let life = begin(world, schedulers).await;
    wait_until("a scheduler is about to fire", async || gate.is_waited_for(world).await).await;
    watch.look().await;
    let asked = world.remembering.asked();
    world.remembering.set(match point {
        Point::Telling => hang(),
        Point::Told => mute(),
        _ => Mood::default(),
    });
    gate.open().await;
    watch.until("the slot fired", |watch| watch.fired).await;
    match point {
        Point::Telling => wait_until("the ledger is asked", async || world.remembering.asked() > asked).await,
        _ => watch.until("the ledger has the outcome", |watch| watch.told.outcomes > 0).await,
    }
    end(life).await;
    watch.look().await;
    world.remembering.set(Mood::default());
}

/// One of `points`.
fn draw(dice: &Sources, points: [Point; 3]) -> Point {
    points[usize::try_from(dice.below(3)).unwrap()]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_schedulers_do_until_they_are_ended_is_a_path_of_the_model() {
    let world = World::new().await;
    // The ledger is known to be this system's before anything goes wrong with it.
    world.effects.intend(vec![Record::MemberRemoved { org: world.org, account: world.sources.id() }]).await.unwrap();
    for seed in 0..SEEDS {
        let (_, dice) = testkit::sources(seed);
        let mut watch = Watch::begin(&world).await;
        for _ in 0..dice.below(3) {
            end_early(&mut watch, draw(&dice, BEFORE_IT_FIRES), 1 + u64::from(dice.below(2))).await;
        }
        let last = draw(&dice, WHEN_IT_HAS_FIRED);
        end_late(&mut watch, last, 1 + u64::from(dice.below(2))).await;
        let seen = watch.seen;
        assert_eq!(is_a_path(Kind::Slot, &seen), Ok(()), "seed {seed}: {seen:?}");
        assert_eq!(seen.contains(&OUTCOME), last != Point::Telling, "seed {seed}, {last:?}: {seen:?}");
    }
    world.check().await;
}
