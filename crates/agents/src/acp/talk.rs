//! One turn with an agent: what it is told, what it says, until it is done or waits for a person.
//!
//! Everything that it says is counted, and bounded; whoever says too much, nothing, or what can't be understood has failed.
//!
//! Not here: how what it says becomes events (`tell`), processes (`process`), the protocol (`wire`).

mod tell;

use domain::event::Event;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::tell::{cut, titled};
use super::Waiting;
use super::kept::Live;
use super::lines::Line;
use super::settings::AcpLimits;
use super::wire::{self, Asked, End, Said};
use crate::{EventSink, ModelDoor, Outcome, SinkError, Turn};

/// Of what is told of an error of its own.
const ERROR_BYTES: usize = 1_000;

/// Why a turn ends without an agent that could go on.
#[derive(Debug)]
pub(super) enum Stop {
    /// For people.
    Failed(String),
    Cancelled,
    Sink(SinkError),
}

impl From<SinkError> for Stop {
    fn from(error: SinkError) -> Self {
        Self::Sink(error)
    }
}

impl From<String> for Stop {
    fn from(error: String) -> Self {
        Self::Failed(error)
    }
}

/// A turn in progress.
pub(super) struct Talk<'a> {
    limits: &'a AcpLimits,
    turn: &'a Turn,
    live: &'a mut Live,
    sink: &'a mut dyn EventSink,
    cancel: &'a CancellationToken,
    /// How many ids were given out.
    named: u32,
    /// The id of the message that it says.
    message: Option<String>,
    /// What it said of it that was not told yet.
    pieces: String,
    tell_at: Instant,
    /// The id of the plan, once it has one.
    plan: Option<String>,
    /// What it may do without asking a person again, once.
    granted: Option<String>,
    bytes: usize,
    nonsense: usize,
}

/// How a turn ended, and what a person is asked if it waits for one.
pub(super) type Done = (Outcome, Option<Waiting>);

impl<'a> Talk<'a> {
    pub(super) fn new(
        limits: &'a AcpLimits,
        turn: &'a Turn,
        live: &'a mut Live,
        sink: &'a mut dyn EventSink,
        cancel: &'a CancellationToken,
    ) -> Self {
        Self {
            limits,
            turn,
            live,
            sink,
            cancel,
            named: 0,
            message: None,
            pieces: String::new(),
            tell_at: Instant::now(),
            plan: None,
            granted: None,
            bytes: 0,
            nonsense: 0,
        }
    }

    /// Tells it what a person said.
    pub(super) async fn prompt(&mut self, text: &str, granted: Option<String>) -> Result<Done, Stop> {
        if self.live.prompt.is_some() {
            // A turn that waited for a person was aborted.
            self.call_off().await?;
        }
        // What it calls a tool call may come again in the next turn, for another one.
        self.live.calls.clear();
        self.granted = granted;
        let id = self.live.next_id();
        self.live.prompt = Some(id);
        let prompt = wire::prompt(id, &self.live.session, text);
        self.live.process.say(&prompt).await?;
        self.all().await
    }

    /// Tells it what a person said to what it waits for.
    pub(super) async fn permit(&mut self, approved: bool) -> Result<Done, Stop> {
        let Some((id, asked)) = self.live.permissions.pop_front() else {
            return Err(Stop::Failed("it waits for nothing".into()));
        };
        self.live.process.say(&wire::permission(&id, &asked, approved)).await?;
        match self.live.permissions.front().cloned() {
            Some((_, next)) => self.wait_for_a_person(&next).await,
            None => self.all().await,
        }
    }

    async fn all(&mut self) -> Result<Done, Stop> {
        let limit = self.limits.turn;
        let late = || Stop::Failed(format!("the turn took longer than {} s", limit.as_secs()));
        let done = tokio::time::timeout(limit, self.listen()).await.unwrap_or_else(|_| Err(late()));
        if let Err(Stop::Failed(_)) = done {
            self.tell().await?;
        }
        done
    }

    async fn listen(&mut self) -> Result<Done, Stop> {
        let (cancel, door) = (self.cancel.clone(), self.live.process.door.clone());
        loop {
            let line = tokio::select! {
                biased;
                () = cancel.cancelled() => return self.stop().await,
                () = changed(door.as_deref()) => {
                    if let Some(done) = self.spent(door.as_deref()).await? {
                        return Ok(done);
                    }
                    continue;
                }
                () = tokio::time::sleep_until(self.tell_at), if !self.pieces.is_empty() => {
                    self.tell().await?;
                    continue;
                }
                line = tokio::time::timeout(self.limits.silence, self.live.process.next()) => line,
            };
            let Ok(line) = line else {
                let silence = self.limits.silence.as_secs();
                return Err(Stop::Failed(format!("it said nothing for {silence} s{}", self.live.process.complaints())));
            };
            let Some(said) = self.understand(line).await? else { continue };
            if let Some(done) = self.take_down(said).await? {
                return Ok(done);
            }
        }
    }

    /// Tells what was spent. `Some`: it could ask its model no more, and was asked to stop.
    async fn spent(&mut self, door: Option<&dyn ModelDoor>) -> Result<Option<Done>, Stop> {
        let Some(door) = door else { return Ok(None) };
        for spend in door.take() {
            self.sink.emit(spend.event()).await?;
        }
        let Some(exceeded) = door.exceeded() else { return Ok(None) };
        self.call_off().await?;
        self.tell().await?;
        Ok(Some((Outcome::Failed { error: exceeded.sentence() }, None)))
    }

    /// Asks it to stop, and gives it its time.
    async fn stop(&mut self) -> Result<Done, Stop> {
        match tokio::time::timeout(self.limits.cancel, self.call_off()).await {
            Ok(Ok(())) => {
                self.tell().await?;
                Ok((Outcome::Aborted, None))
            }
            Ok(Err(Stop::Failed(_))) | Err(_) => Err(Stop::Cancelled),
            Ok(Err(stop)) => Err(stop),
        }
    }

    /// Cancels the prompt, and whatever it waits for; returns when the agent has said that it stopped.
    async fn call_off(&mut self) -> Result<(), Stop> {
        let (limit, cancel) = (self.limits.cancel, wire::cancel(&self.live.session));
        self.live.process.say(&cancel).await?;
        for (id, _) in std::mem::take(&mut self.live.permissions) {
            self.live.process.say(&wire::permission_cancelled(&id)).await?;
        }
        let off = async {
            while self.live.prompt.is_some() {
                let line = self.live.process.next().await;
                match self.understand(line).await? {
                    Some(Said::Permission { id, .. }) => {
                        self.live.process.say(&wire::permission_cancelled(&id)).await?;
                    }
                    // An error is an end, too.
                    Some(Said::Answer { id, .. }) if Some(id) == self.live.prompt => self.live.prompt = None,
                    Some(said @ Said::Update { .. }) => drop(self.take_down(said).await?),
                    _ => {}
                }
            }
            Ok(())
        };
        let late = || Stop::Failed(format!("it did not stop within {} s when it was asked to", limit.as_secs()));
        tokio::time::timeout(limit, off).await.unwrap_or_else(|_| Err(late()))
    }

    /// `None`: it was nothing, or was answered here.
    async fn understand(&mut self, line: Line) -> Result<Option<Said>, Stop> {
        let line = match line {
            Line::Text(line) => line,
            Line::TooLong => {
                let max = self.limits.line_bytes >> 10;
                return Err(Stop::Failed(format!("it said a line of more than {max} KiB")));
            }
            Line::End => {
                let complaints = self.live.process.last_words().await;
                return Err(Stop::Failed(format!("it ended in the middle of the turn{complaints}")));
            }
        };
        self.bytes += line.len();
        if self.bytes > self.limits.turn_bytes {
            let max = self.limits.turn_bytes >> 10;
            return Err(Stop::Failed(format!("it said more than {max} KiB in one turn")));
        }
        match wire::read(&line) {
            Some(Said::Request { id, method }) => {
                self.live.process.say(&wire::unknown_method(&id, &method)).await?;
                Ok(None)
            }
            Some(said) => Ok(Some(said)),
            None if line.iter().all(u8::is_ascii_whitespace) => Ok(None),
            None => {
                self.nonsense += 1;
                if self.nonsense <= self.limits.nonsense {
                    return Ok(None);
                }
                Err(Stop::Failed("it does not speak the protocol: too many of its lines are no messages".into()))
            }
        }
    }

    /// `Some`: with that the turn is over.
    async fn take_down(&mut self, said: Said) -> Result<Option<Done>, Stop> {
        match said {
            Said::Update { session, update } if session == self.live.session => {
                self.update(update).await.map(|()| None)
            }
            Said::Permission { id, asked } => self.permission(id, asked).await,
            Said::Answer { id, result } if Some(id) == self.live.prompt => {
                self.live.prompt = None;
                self.tell().await?;
                self.ended(result).await.map(Some)
            }
            Said::Update { .. } | Said::Answer { .. } | Said::Request { .. } | Said::Other => Ok(None),
        }
    }

    async fn ended(&mut self, result: Result<serde_json::Value, String>) -> Result<Done, Stop> {
        let answer = result.map_err(|error| Stop::Failed(cut(&error, ERROR_BYTES)))?;
        let ended = wire::ended(&answer)?;
        // What went through a door is counted there.
        if let (Some((input_tokens, output_tokens)), None) = (ended.tokens, &self.live.process.door) {
            self.sink.emit(Event::UsageRecorded { input_tokens, output_tokens, model: None }).await?;
        }
        let failed = |error: &str| Outcome::Failed { error: error.to_owned() };
        let outcome = match ended.why {
            End::Done => Outcome::Completed,
            End::Cancelled => Outcome::Aborted,
            End::TooLong => failed("the model said more than it may in one answer; ask for less at once"),
            End::TooManyRequests => failed("the agent asked its model as often as it may in one turn; ask it to go on"),
            End::Refused => failed("the agent refused; ask in another way"),
        };
        Ok((outcome, None))
    }

    async fn permission(&mut self, id: serde_json::Value, asked: Asked) -> Result<Option<Done>, Stop> {
        self.end_message().await?;
        self.call(asked.call.clone()).await?;
        if self.granted.as_ref() == Some(&asked.digest) {
            self.granted = None;
            self.live.process.say(&wire::permission(&id, &asked, true)).await?;
            return Ok(None);
        }
        self.live.permissions.push_back((id, asked.clone()));
        self.wait_for_a_person(&asked).await.map(Some)
    }

    async fn wait_for_a_person(&mut self, asked: &Asked) -> Result<Done, Stop> {
        let known = self.live.calls.get(&asked.call.id).and_then(|known| known.title.clone());
        let title = asked.call.title.as_deref().and_then(titled).or(known);
        let title = title.unwrap_or_else(|| "something that it does not name".into());
        let request_id = self.name("request");
        self.sink.emit(Event::ApprovalRequested { request_id, title: title.clone() }).await?;
        Ok((Outcome::AwaitingApproval, Some(Waiting { title, digest: asked.digest.clone() })))
    }
}

/// Never without a door.
async fn changed(door: Option<&dyn ModelDoor>) {
    match door {
        Some(door) => door.changed().await,
        None => std::future::pending().await,
    }
}
