//! What people say to an agent while it works.
//!
//! Whoever takes something out has not heard it yet: an agent tells that it hears it ([`crate::EventSink::heard`]), and then it is part
//! of the turn. What is left in the box, or was taken and not heard, is carried out by itself after the turn.
//!
//! Not here: how it gets here (`worker`).

use ids::CommandId;
use tokio::sync::mpsc;

/// So much waits for an agent; what is beyond it waits elsewhere.
const WAITING_MAX: usize = 8;

/// A prompt for the agent that is at work.
#[derive(Debug, PartialEq, Eq)]
pub struct Steering {
    pub command: CommandId,
    /// Of the command, in its session.
    pub ordinal: i64,
    pub text: String,
}

/// Of one turn. One that is made by `default` stays empty.
#[derive(Debug, Default)]
pub struct Inbox(Option<mpsc::Receiver<Steering>>);

/// The other end of an inbox.
pub type Outbox = mpsc::Sender<Steering>;

impl Inbox {
    #[must_use]
    pub fn open() -> (Outbox, Self) {
        let (outbox, inbox) = mpsc::channel(WAITING_MAX);
        (outbox, Self(Some(inbox)))
    }

    /// The next one, in the order in which they were said. Waits until there is one; nothing is lost if the wait is given up.
    pub async fn next(&mut self) -> Steering {
        let next = match &mut self.0 {
            Some(inbox) => inbox.recv().await,
            None => None,
        };
        match next {
            Some(steering) => steering,
            // Nobody can say anything any more.
            None => std::future::pending().await,
        }
    }

    /// The next one, if there is one.
    pub fn take(&mut self) -> Option<Steering> {
        self.0.as_mut()?.try_recv().ok()
    }
}
