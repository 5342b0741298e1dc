//! Whoever uses the system while things go wrong: people and programs that ask, decide, write from outside, send files and
//! follow, and go on until they get their answer.
//!
//! Somebody whose call was not answered makes it again under the same key, as a client is told to. What they were told stays in
//! [`Told`]. A refusal of what was right is a surprise.

mod asking;
mod deciding;
mod following;
pub(crate) mod inbound;
mod keeping;

use std::sync::Arc;
use std::time::Duration;

use client::{Client, Error, Wish};
use clock::Sources;
use ids::{CommandId, SessionId};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::place::Place;
use crate::told::{Told, ToldCommand};

pub(crate) use self::following::{Progress, follow_all};

/// How long somebody waits for an answer before asking again.
const PATIENCE: Duration = Duration::from_secs(3);
const ASKING: usize = 5;
const WRITING: usize = 2;

/// What all of them share. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) operator: Client,
    pub(crate) gateway: String,
    pub(crate) place: Arc<Place>,
    pub(crate) told: Told,
    pub(crate) dice: Sources,
    pub(crate) sources: Sources,
    /// They finish what they have begun, and go.
    pub(crate) leave: CancellationToken,
}

/// Lets them all come. They go when they are told to leave.
pub(crate) fn arrive(person: &Person) -> JoinSet<()> {
    let mut people = JoinSet::new();
    for _ in 0..ASKING {
        people.spawn(asking::ask(person.clone()));
    }
    for session in person.place.deciding.clone() {
        people.spawn(deciding::decide(person.clone(), session));
    }
    for _ in 0..WRITING {
        people.spawn(inbound::write(person.clone()));
    }
    people.spawn(keeping::keep(person.clone()));
    people
}

impl Person {
    /// A moment between `least` and `most` milliseconds.
    async fn moment(&self, least: u32, most: u32) {
        let wait = least + self.dice.below(most - least);
        tokio::time::sleep(Duration::from_millis(wait.into())).await;
    }

    fn one<T: Copy>(&self, of: &[T]) -> T {
        of[self.dice.below(u32::try_from(of.len()).expect("they are few")) as usize]
    }

    /// A key that nobody used before.
    fn key(&self) -> String {
        self.sources.id::<uuid::Uuid>().to_string()
    }

    /// Calls until there is an answer. `None`: it was refused, which is noted; or it was carried out, and its answer was lost with
    /// the process that had it.
    pub(crate) async fn persist<T, F>(&self, what: &str, mut call: impl FnMut() -> F) -> Option<T>
    where
        F: Future<Output = Result<T, Error>>,
    {
        loop {
            match tokio::time::timeout(PATIENCE, call()).await {
                Ok(Ok(answer)) => return Some(answer),
                Ok(Err(Error::Problem(problem))) if problem.code == "answer_lost" => return None,
                Ok(Err(error)) if !may_pass(&error) => {
                    self.told.surprise(format!("{what}: {error}"));
                    return None;
                }
                // No answer, or one that says: later.
                Ok(Err(_)) | Err(_) => self.moment(30, 200).await,
            }
        }
    }

    /// Asks for something until it is acknowledged, and remembers that it was.
    async fn submit(&self, session: SessionId, key: &str, wish: &Wish) -> Option<CommandId> {
        let call = || self.operator.command_submit(session, key, wish);
        let command = self.persist("a command", call).await?.command_id;
        self.told.record().commands.push(ToldCommand { session, key: key.to_owned(), command });
        Some(command)
    }

    /// Waits until a command is finished, for ever or for `limit`.
    async fn finished(&self, session: SessionId, command: CommandId, limit: Option<Duration>) {
        let wait = async {
            loop {
                let call = || self.operator.command_get(session, command);
                match self.persist("a command that was acknowledged", call).await {
                    Some(command) if command.state == "pending" => self.moment(30, 120).await,
                    _ => return,
                }
            }
        };
        match limit {
            Some(limit) => drop(tokio::time::timeout(limit, wait).await),
            None => wait.await,
        }
    }
}

/// Whether the same call may be answered otherwise later.
fn may_pass(error: &Error) -> bool {
    match error {
        Error::Problem(problem) => problem.status >= 500 || problem.status == 429 || problem.code == "in_progress",
        Error::Unexpected { status, .. } => *status >= 500,
        Error::Transport(_) | Error::Stream(_) => true,
    }
}
