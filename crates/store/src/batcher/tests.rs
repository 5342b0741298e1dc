//! What shares a statement is answered for itself.

use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::*;
use crate::testing::World;

/// Divides by its number, in a statement with the others of its batch; so many of those may be under way.
#[derive(Debug)]
struct Divide<const UNDER_WAY: usize = 1> {
    by: i32,
    bytes: usize,
    about: Option<SessionId>,
    /// Each statement takes a permit and keeps it.
    permits: Arc<Semaphore>,
    /// How many went with each statement.
    batches: Arc<Mutex<Vec<usize>>>,
}

impl<const UNDER_WAY: usize> Ask for Divide<UNDER_WAY> {
    type Done = i32;

    const STATEMENT: &'static str = "divide";
    const UNDER_WAY: usize = UNDER_WAY;

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn apart(&self) -> Option<SessionId> {
        self.about
    }

    async fn carry_out(
        store: &Store,
        _org: OrgId,
        asked: &[Self],
        _locked: Locked,
    ) -> Result<Vec<Answered<i32>>, sqlx::Error> {
        let first = &asked[0];
        first.batches.lock().unwrap().push(asked.len());
        first.permits.acquire().await.unwrap().forget();
        let numbers: Vec<i32> = asked.iter().map(|ask| ask.by).collect();
        let sql = "SELECT 100 / number FROM unnest($1::int[]) WITH ORDINALITY AS asked (number, place) ORDER BY place";
        let rows: Vec<i32> = sqlx::query_scalar(sql).bind(numbers).fetch_all(&store.pool).await?;
        Ok(rows.into_iter().map(Answered::Done).collect())
    }
}

struct Divisions<const UNDER_WAY: usize = 1> {
    world: World,
    batcher: Batcher<Divide<UNDER_WAY>>,
    permits: Arc<Semaphore>,
    batches: Arc<Mutex<Vec<usize>>>,
}

impl<const UNDER_WAY: usize> Divisions<UNDER_WAY> {
    /// No statement gives its place away, however slow the machine is.
    async fn new() -> Self {
        Self::with_patience(Duration::from_hours(1)).await
    }

    async fn with_patience(patience: Duration) -> Self {
        let (permits, batches) = (Arc::new(Semaphore::new(0)), Arc::default());
        let batcher = Batcher { patience, ..Batcher::default() };
        Self { world: World::new().await, batcher, permits, batches }
    }

    fn divide(&self, by: i32, bytes: usize) -> JoinHandle<Result<i32, StoreError>> {
        self.divide_about(None, by, bytes)
    }

    fn divide_about(&self, about: Option<SessionId>, by: i32, bytes: usize) -> JoinHandle<Result<i32, StoreError>> {
        let (permits, batches) = (self.permits.clone(), self.batches.clone());
        let (batcher, store, org) = (self.batcher.clone(), self.world.store.clone(), self.world.org);
        tokio::spawn(async move { batcher.ask(&store, org, Divide { by, bytes, about, permits, batches }).await })
    }

    fn batches(&self) -> Vec<usize> {
        self.batches.lock().unwrap().clone()
    }

    fn waiting(&self) -> usize {
        self.batcher.lines().get(&self.world.org).map_or(0, |line| line.waiting.len())
    }

    /// As many statements as may be under way are, and wait for permits.
    async fn busy(&self) -> Vec<JoinHandle<Result<i32, StoreError>>> {
        let mut busy = Vec::new();
        for count in 1..=UNDER_WAY {
            busy.push(self.divide(1, 0));
            testkit::wait_until("it is under way", || async { self.batches().len() == count }).await;
        }
        busy
    }
}

#[tokio::test]
async fn what_is_asked_for_meanwhile_goes_with_the_next_statement() {
    let divisions = <Divisions>::new().await;
    let busy = divisions.busy().await;
    let mut later = Vec::new();
    for by in 1..=10 {
        later.push(divisions.divide(by, 0));
        testkit::wait_until("it waits", || async { divisions.waiting() == later.len() }).await;
    }
    divisions.permits.add_permits(2);
    for (by, answer) in (1..).zip(later) {
        assert_eq!(answer.await.unwrap().unwrap(), 100 / by);
    }
    for answer in busy {
        assert_eq!(answer.await.unwrap().unwrap(), 100);
    }
    assert_eq!(divisions.batches(), [1, 10]);
    testkit::wait_until("the line is gone", || async { divisions.batcher.lines().is_empty() }).await;
}

#[tokio::test]
async fn a_batch_ends_where_it_is_heavy() {
    let divisions = <Divisions>::new().await;
    let _busy = divisions.busy().await;
    let heavy = [BYTES * 2, BYTES / 2, BYTES / 2, 1].map(|bytes| divisions.divide(1, bytes));
    testkit::wait_until("they wait", || async { divisions.waiting() == 4 }).await;
    divisions.permits.add_permits(100);
    for answer in heavy {
        answer.await.unwrap().unwrap();
    }
    assert_eq!(divisions.batches(), [1, 1, 2, 1]);
}

#[tokio::test]
async fn two_about_one_session_do_not_share_a_statement_and_keep_their_order() {
    let divisions = <Divisions>::new().await;
    let busy = divisions.busy().await;
    let session = |n| Some(uuid::Uuid::from_u128(n).into());
    let mut later = Vec::new();
    for (about, by) in [(session(1), 1), (session(1), 2), (session(2), 4), (session(1), 5), (None, 10), (None, 20)] {
        later.push(divisions.divide_about(about, by, 0));
        testkit::wait_until("it waits", || async { divisions.waiting() == later.len() }).await;
    }
    divisions.permits.add_permits(1);
    testkit::wait_until("the next is under way", || async { divisions.batches() == [1, 4] }).await;
    let waiting: Vec<i32> =
        divisions.batcher.lines()[&divisions.world.org].waiting.iter().map(|asked| asked.ask.by).collect();
    assert_eq!(waiting, [2, 5]);
    divisions.permits.add_permits(100);
    for (answer, expected) in later.into_iter().zip([100, 50, 25, 20, 10, 5]) {
        assert_eq!(answer.await.unwrap().unwrap(), expected);
    }
    for answer in busy {
        answer.await.unwrap().unwrap();
    }
    assert_eq!(divisions.batches(), [1, 4, 1, 1]);
}

#[tokio::test]
async fn one_that_the_server_refuses_takes_nothing_from_the_others() {
    let divisions = <Divisions>::new().await;
    let busy = divisions.busy().await;
    let (good, bad) = (divisions.divide(5, 0), divisions.divide(0, 0));
    testkit::wait_until("they wait", || async { divisions.waiting() == 2 }).await;
    divisions.permits.add_permits(100);
    assert_eq!(good.await.unwrap().unwrap(), 20);
    let refused = bad.await.unwrap().unwrap_err();
    assert!(matches!(refused, StoreError::Database { statement: "divide", .. }), "{refused}");
    for answer in busy {
        answer.await.unwrap().unwrap();
    }
    let mut batches = divisions.batches();
    batches.sort_unstable();
    assert_eq!(batches, [1, 1, 1, 2]);
}

#[tokio::test]
async fn when_nobody_answers_all_of_a_batch_are_told() {
    let divisions = <Divisions>::new().await;
    let busy = divisions.busy().await;
    let later = [divisions.divide(1, 0), divisions.divide(2, 0)];
    testkit::wait_until("they wait", || async { divisions.waiting() == 2 }).await;
    divisions.world.store.close().await;
    divisions.permits.add_permits(100);
    for answer in busy.into_iter().chain(later) {
        assert!(answer.await.unwrap().is_err());
    }
    assert_eq!(divisions.batches(), [1, 2], "nobody asked again");
}

#[tokio::test]
async fn a_statement_that_hangs_holds_up_nobody_else() {
    let divisions = <Divisions>::with_patience(Duration::from_millis(1)).await;
    let hanging = divisions.busy().await;
    let later = divisions.divide(4, 0);
    // The first one still waits for its permit.
    testkit::wait_until("another statement is under way", || async { divisions.batches().len() > hanging.len() }).await;
    divisions.permits.add_permits(100);
    assert_eq!(later.await.unwrap().unwrap(), 25);
    for answer in hanging {
        assert_eq!(answer.await.unwrap().unwrap(), 100);
    }
    testkit::wait_until("the line is gone", || async { divisions.batcher.lines().is_empty() }).await;
}

#[tokio::test]
async fn where_two_may_be_under_way_the_rest_goes_with_the_one_that_ends_and_the_other_goes_on() {
    let divisions = Divisions::<2>::new().await;
    let mut busy = divisions.busy().await;
    let mut later = Vec::new();
    for by in [4, 5] {
        later.push(divisions.divide(by, 0));
        testkit::wait_until("it waits", || async { divisions.waiting() == later.len() }).await;
    }
    divisions.permits.add_permits(1);
    testkit::wait_until("the rest is under way", || async { divisions.batches() == [1, 1, 2] }).await;
    divisions.permits.add_permits(1);
    testkit::wait_until("another is through", || async { busy.iter().chain(&later).any(JoinHandle::is_finished) })
        .await;
    let alone = divisions.divide(10, 0);
    divisions.permits.add_permits(100);
    assert_eq!(alone.await.unwrap().unwrap(), 10);
    busy.append(&mut later);
    for (answer, expected) in busy.into_iter().zip([100, 100, 25, 20]) {
        assert_eq!(answer.await.unwrap().unwrap(), expected);
    }
    testkit::wait_until("the line is gone", || async { divisions.batcher.lines().is_empty() }).await;
}
