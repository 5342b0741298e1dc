//! Wake-ups: hints that there is something to look at, so that nobody has to look often.
//!
//! A hint is told after the transaction that it is about has committed: at once to whoever waits in this process, and
//! through NOTIFY to the others. One task of a process sends its hints, gathered for [`GAP`], from a connection of its
//! own: NOTIFY in the transactions that write would make their commits queue up behind each other. One task listens.
//!
//! Promised: nothing. A hint may come twice, late, or never; who waits for one also looks by itself from time to time,
//! and looks once when the connection is back.
//!
//! Not here: what is looked at then.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ids::{OrgId, SessionId};
use sqlx::postgres::{PgListener, PgPool};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::Store;

/// Between two messages of a process. Each takes a lock that all notifying transactions of the server share.
const GAP: Duration = Duration::from_millis(2);
/// Before a lost connection is tried again.
const RECONNECT: Duration = Duration::from_millis(500);
const CHANNEL: &str = "cowork_wakes";
/// Sessions and orgs named in one message: 37 bytes each at most, of the 8,000 that Postgres takes.
const NAMED: usize = 200;
/// Sessions and orgs that are remembered for the next message; with more, everybody is told to look.
const REMEMBERED: usize = 2_000;

/// What there is to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wake {
    /// A session has something to do and nobody does it.
    Work,
    /// Somebody speaks to a running turn: wants it to end, or steers it.
    Abort,
    /// A thread has something to render.
    Cursor,
    /// Somebody is no longer who they were or may do something else: a token was revoked, an account left, maintenance began or
    /// ended.
    Identities,
    /// A session of an org has new events.
    Events(OrgId, SessionId),
}

/// Where new events are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    Session(SessionId),
    /// In any session of it.
    Org(OrgId),
}

/// How an org is told from a session in a message.
const ORG: &str = "org-";

/// The wake-ups of a process. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Wakes(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    work: watch::Sender<()>,
    abort: watch::Sender<()>,
    cursor: watch::Sender<()>,
    identities: watch::Sender<()>,
    identity_changes: AtomicU64,
    /// Whether what others tell gets here.
    hearing: AtomicBool,
    places: Mutex<HashMap<Place, watch::Sender<()>>>,
    outgoing: Mutex<Outgoing>,
    told: Notify,
}

/// Hints for other processes, gathered until the next message.
#[derive(Debug, Default)]
struct Outgoing {
    work: bool,
    abort: bool,
    cursor: bool,
    identities: bool,
    places: HashSet<Place>,
    /// Too many to name.
    everything: bool,
}

/// Waits for hints of one kind.
#[derive(Debug)]
pub struct Waiter(watch::Receiver<()>);

impl Waiter {
    /// Returns when there was a hint since it last returned, or since the waiter was made.
    pub async fn woken(&mut self) {
        // The sender lives as long as the process's wakes.
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Waits for new events of one session, or of one org.
#[derive(Debug)]
pub struct EventsWaiter {
    waiter: Waiter,
    place: Place,
    wakes: Wakes,
}

impl EventsWaiter {
    /// As [`Waiter::woken`].
    pub async fn woken(&mut self) {
        self.waiter.woken().await;
    }
}

impl Drop for EventsWaiter {
    fn drop(&mut self) {
        let mut places = locked(&self.wakes.0.places);
        // This waiter is still counted.
        if places.get(&self.place).is_some_and(|sender| sender.receiver_count() <= 1) {
            places.remove(&self.place);
        }
    }
}

impl Wakes {
    #[must_use]
    pub fn work(&self) -> Waiter {
        Waiter(self.0.work.subscribe())
    }

    #[must_use]
    pub fn abort(&self) -> Waiter {
        Waiter(self.0.abort.subscribe())
    }

    #[must_use]
    pub fn cursor(&self) -> Waiter {
        Waiter(self.0.cursor.subscribe())
    }

    #[must_use]
    pub fn identities(&self) -> Waiter {
        Waiter(self.0.identities.subscribe())
    }

    /// How often identities changed, as far as was heard. `None`: nothing is heard from others, so nothing may be remembered.
    pub(crate) fn identity_changes(&self) -> Option<u64> {
        let hearing = self.0.hearing.load(Ordering::Acquire);
        hearing.then(|| self.0.identity_changes.load(Ordering::Acquire))
    }

    #[must_use]
    pub fn session(&self, session: SessionId) -> EventsWaiter {
        self.events(Place::Session(session))
    }

    #[must_use]
    pub fn org(&self, org: OrgId) -> EventsWaiter {
        self.events(Place::Org(org))
    }

    fn events(&self, place: Place) -> EventsWaiter {
        let receiver = locked(&self.0.places).entry(place).or_default().subscribe();
        EventsWaiter { waiter: Waiter(receiver), place, wakes: self.clone() }
    }

    /// To be called when what it is about is committed.
    pub(crate) fn tell(&self, wake: Wake) {
        self.wake(wake);
        locked(&self.0.outgoing).add(wake);
        self.0.told.notify_one();
    }

    fn wake(&self, wake: Wake) {
        match wake {
            Wake::Work => self.0.work.send_replace(()),
            Wake::Abort => self.0.abort.send_replace(()),
            Wake::Cursor => self.0.cursor.send_replace(()),
            Wake::Identities => {
                // Whoever is woken finds nothing remembered from before.
                self.0.identity_changes.fetch_add(1, Ordering::AcqRel);
                self.0.identities.send_replace(());
            }
            Wake::Events(org, session) => {
                self.wake_place(Place::Session(session));
                self.wake_place(Place::Org(org));
            }
        }
    }

    fn wake_place(&self, place: Place) {
        if let Some(sender) = locked(&self.0.places).get(&place) {
            sender.send_replace(());
        }
    }

    fn wake_everybody(&self) {
        [Wake::Work, Wake::Abort, Wake::Cursor, Wake::Identities].into_iter().for_each(|wake| self.wake(wake));
        locked(&self.0.places).values().for_each(|sender| sender.send_replace(()));
    }

    /// Hands on what another process told. What can't be read is of a newer program: then everybody looks.
    fn hear(&self, own: Uuid, message: &str) {
        let Some((sender, hints)) = message.split_once(' ') else { return self.wake_everybody() };
        if sender.parse() == Ok(own) {
            return;
        }
        for hint in hints.split(',') {
            match hint {
                "work" => self.wake(Wake::Work),
                "abort" => self.wake(Wake::Abort),
                "cursor" => self.wake(Wake::Cursor),
                "identities" => self.wake(Wake::Identities),
                place => match Place::read(place) {
                    Some(place) => self.wake_place(place),
                    None => return self.wake_everybody(),
                },
            }
        }
    }
}

impl Place {
    fn said(self) -> String {
        match self {
            Self::Session(session) => session.as_uuid().simple().to_string(),
            Self::Org(org) => format!("{ORG}{}", org.as_uuid().simple()),
        }
    }

    fn read(said: &str) -> Option<Self> {
        match said.strip_prefix(ORG) {
            Some(org) => org.parse::<Uuid>().ok().map(|org| Self::Org(org.into())),
            None => said.parse::<Uuid>().ok().map(|session| Self::Session(session.into())),
        }
    }
}

impl Outgoing {
    fn add(&mut self, wake: Wake) {
        match wake {
            Wake::Work => self.work = true,
            Wake::Abort => self.abort = true,
            Wake::Cursor => self.cursor = true,
            Wake::Identities => self.identities = true,
            Wake::Events(..) if self.places.len() >= REMEMBERED => self.everything = true,
            Wake::Events(org, session) => self.places.extend([Place::Session(session), Place::Org(org)]),
        }
    }

    /// `SENDER HINT,HINT,...`; `SENDER all` if there are too many.
    fn messages(self, own: Uuid) -> Vec<String> {
        if self.everything {
            return vec![format!("{own} all")];
        }
        let kinds =
            [(self.work, "work"), (self.abort, "abort"), (self.cursor, "cursor"), (self.identities, "identities")];
        let kinds = kinds.into_iter().filter(|(told, _)| *told).map(|(_, name)| name.to_owned());
        let places = self.places.into_iter().map(Place::said);
        let hints: Vec<String> = kinds.chain(places).collect();
        hints.chunks(NAMED).map(|hints| format!("{own} {}", hints.join(","))).collect()
    }
}

impl Store {
    /// What tells this process that there is something to look at.
    #[must_use]
    pub fn wakes(&self) -> &Wakes {
        &self.wakes
    }

    /// Carries hints between this process and the others until `shutdown`. Takes two connections of the pool. Without
    /// it hints stay in this process.
    pub async fn wakes_carry(&self, shutdown: &CancellationToken) {
        let own = self.sources.id::<Uuid>();
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = send(&self.wakes, &self.pool, own) => {}
            () = listen(&self.wakes, &self.pool, own) => {}
        }
    }
}

async fn send(wakes: &Wakes, pool: &PgPool, own: Uuid) {
    loop {
        wakes.0.told.notified().await;
        let messages = std::mem::take(&mut *locked(&wakes.0.outgoing)).messages(own);
        let sql = "-- wakes_send\nSELECT pg_notify($1, message) FROM unnest($2::text[]) AS message";
        if let Err(error) = sqlx::query(sql).bind(CHANNEL).bind(&messages).execute(pool).await {
            tracing::debug!(%error, "wake-ups were not sent; others will see by themselves");
            tokio::time::sleep(RECONNECT).await;
        }
        tokio::time::sleep(GAP).await;
    }
}

async fn listen(wakes: &Wakes, pool: &PgPool, own: Uuid) {
    loop {
        let heard = hear_all(wakes, pool, own).await;
        wakes.0.hearing.store(false, Ordering::Release);
        if let Err(error) = heard {
            tracing::debug!(%error, "no wake-ups are heard; this process looks by itself");
        }
        tokio::time::sleep(RECONNECT).await;
    }
}

/// Until the connection is lost.
async fn hear_all(wakes: &Wakes, pool: &PgPool, own: Uuid) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    // What was told before nobody heard.
    wakes.wake_everybody();
    wakes.0.hearing.store(true, Ordering::Release);
    while let Some(message) = listener.try_recv().await? {
        wakes.hear(own, message.payload());
    }
    Ok(())
}

/// Nothing is left half done in these locks.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use testkit::TestDatabase;

    use super::*;

    fn session(n: u128) -> SessionId {
        Uuid::from_u128(n).into()
    }

    fn events(n: u128) -> Wake {
        Wake::Events(Uuid::nil().into(), session(n))
    }

    #[tokio::test]
    async fn a_hint_wakes_those_who_wait_for_it_and_nobody_else() {
        let wakes = Wakes::default();
        let (mut one, two) = (wakes.session(session(1)), wakes.session(session(2)));
        wakes.tell(events(1));
        one.woken().await;
        assert!(!two.waiter.0.has_changed().unwrap());
        drop((one, two));
        assert!(locked(&wakes.0.places).is_empty(), "nobody waits, nothing is kept");
    }

    #[tokio::test]
    async fn a_hint_before_the_wait_is_not_lost() {
        let wakes = Wakes::default();
        let mut work = wakes.work();
        wakes.tell(Wake::Work);
        work.woken().await;
    }

    #[tokio::test]
    async fn a_change_of_identities_is_counted_and_wakes_whoever_waits_for_it() {
        let wakes = Wakes::default();
        wakes.0.hearing.store(true, Ordering::Release);
        let (mut told, mut heard) = (wakes.identities(), wakes.identities());
        wakes.tell(Wake::Identities);
        told.woken().await;
        assert_eq!(wakes.identity_changes(), Some(1));
        heard.0.mark_unchanged();
        wakes.hear(Uuid::nil(), &format!("{} identities", Uuid::from_u128(1)));
        heard.woken().await;
        assert_eq!(wakes.identity_changes(), Some(2));
    }

    #[tokio::test]
    async fn what_one_process_tells_another_hears() {
        let database = TestDatabase::create().await;
        let store = || Store::from_pool(database.pool(), testkit::system_sources());
        let (teller, hearer) = (store(), store());
        let stop = CancellationToken::new();
        let carry = |store: Store| {
            let stop = stop.clone();
            tokio::spawn(async move { store.wakes_carry(&stop).await })
        };
        let mut connected = hearer.wakes().work();
        let tasks = [carry(hearer.clone()), carry(teller.clone())];
        // Everybody is woken once when the connection is there.
        connected.woken().await;
        let (mut new, mut anywhere) = (hearer.wakes().session(session(7)), hearer.wakes().org(Uuid::nil().into()));
        teller.wakes().tell(events(7));
        new.woken().await;
        anywhere.woken().await;
        stop.cancel();
        for task in tasks {
            task.await.unwrap();
        }
    }

    #[test]
    fn many_sessions_fit_the_messages_that_postgres_takes_and_too_many_wake_everybody() {
        let outgoing = |count: u128| {
            let mut outgoing = Outgoing::default();
            (0..count).for_each(|n| outgoing.add(events(n)));
            outgoing.add(Wake::Cursor);
            outgoing.messages(Uuid::nil())
        };
        let messages = outgoing(1_000);
        assert_eq!(messages.len(), 6);
        assert!(messages.iter().all(|message| message.len() < 8_000));
        assert_eq!(outgoing(REMEMBERED as u128 + 1), [format!("{} all", Uuid::nil())]);

        let wakes = Wakes::default();
        let mut waiter = wakes.session(session(1));
        wakes.hear(Uuid::from_u128(9), &messages.concat());
        assert!(waiter.waiter.0.has_changed().unwrap(), "what can't be read wakes everybody");
        waiter.waiter.0.mark_unchanged();
        wakes.hear(Uuid::nil(), &format!("{} all", Uuid::nil()));
        assert!(!waiter.waiter.0.has_changed().unwrap(), "what a process told itself, it knows");
    }
}
