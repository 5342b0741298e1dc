//! What happens in a session, on its way to the database: gathered, folded into the projection, appended.
//!
//! The projection is kept here while the lease is held, so that folding costs no read. Each append names the sequence
//! that it follows: if the row is elsewhere, nothing is written.

use clock::Timestamp;
use domain::event::Event;
use domain::projection::Projection;
use domain::spend::{ModelSpend, Spent};
use ids::CommandId;
use store::{Append, Finish, Lease, NewArtifact, NextCommand, Spoken, Store};

use crate::halt::Halt;

/// So many events are appended at once, without waiting for more.
pub(crate) const BATCH: usize = 64;

#[derive(Debug)]
pub(crate) struct Journal {
    store: Store,
    lease: Lease,
    /// Of the newest event in the database.
    sequence: i64,
    /// With `pending` folded in.
    projection: Projection,
    pending: Vec<Event>,
    artifacts: Vec<NewArtifact>,
    usage: Usage,
    /// Prompts that the turn heard. They end with it.
    heard: Vec<CommandId>,
}

/// What a command used.
#[derive(Debug, Default)]
struct Usage {
    /// When this attempt began. `None`: it has not.
    begun_at: Option<Timestamp>,
    /// As agents say themselves.
    input_tokens: i64,
    output_tokens: i64,
    /// As providers say, by model.
    models: Vec<ModelSpend>,
}

/// How a command ends, besides what the journal knows.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) command: CommandId,
    pub(crate) state: domain::command::CommandState,
    pub(crate) sentence: String,
    pub(crate) turn: Option<domain::event::TurnOutcome>,
    pub(crate) checkpoint: Option<store::NewCheckpoint>,
}

impl Journal {
    pub(crate) fn new(store: Store, lease: Lease, sequence: i64, projection: Projection) -> Self {
        Self {
            store,
            lease,
            sequence,
            projection,
            pending: Vec::new(),
            artifacts: Vec::new(),
            usage: Usage::default(),
            heard: Vec::new(),
        }
    }

    pub(crate) fn projection(&self) -> &Projection {
        &self.projection
    }

    /// The sequence that the next event gets.
    pub(crate) fn next_sequence(&self) -> i64 {
        self.append().last() + 1
    }

    pub(crate) fn push(&mut self, event: Event) {
        self.usage.add(&event);
        self.projection.apply(&event);
        self.pending.push(event);
    }

    /// An artifact is announced by its event; its row goes with it.
    pub(crate) fn publish(&mut self, artifact: NewArtifact, event: Event) {
        self.artifacts.push(artifact);
        self.push(event);
    }

    /// The turn heard what a person said meanwhile.
    pub(crate) fn hear(&mut self, command: CommandId, event: Event) {
        self.heard.push(command);
        self.push(event);
    }

    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// From here on it is about `command`. What lost attempts at it spent with providers was spent, and is metered with it; what
    /// agents say of themselves, and time, count for the last attempt only.
    pub(crate) async fn take_up(&mut self, command: &NextCommand) -> Result<(), Halt> {
        self.usage = Usage::default();
        if command.attempt > 0 {
            self.usage.models = self.store.turn_spent(&self.lease, command.command).await?;
        }
        Ok(())
    }

    /// What was spent with providers.
    pub(crate) fn spent(&self) -> Spent {
        Spent::of(&self.usage.models)
    }

    /// Appends what is pending, as the beginning of `command`'s turn. Gives back what people have said to it already.
    pub(crate) async fn start(&mut self, command: &NextCommand) -> Result<Spoken, Halt> {
        self.usage.begun_at = Some(self.store.sources().now());
        let spoken = self.store.turn_start(&self.lease, &self.append(), command).await?;
        self.appended();
        Ok(spoken)
    }

    /// Appends what is pending.
    pub(crate) async fn flush(&mut self) -> Result<(), Halt> {
        if self.artifacts.is_empty() {
            self.store.turn_append(&self.lease, &self.append()).await?;
        } else {
            self.store.turn_publish(&self.lease, &self.append(), &self.artifacts).await?;
        }
        self.appended();
        Ok(())
    }

    /// Appends what is pending if something was spent: that stays spent, whatever becomes of the turn.
    pub(crate) async fn flush_spent(&mut self) -> Result<(), Halt> {
        let spent = |event: &Event| matches!(event, Event::UsageRecorded { model: Some(_), .. });
        if self.pending.iter().any(spent) { self.flush().await } else { Ok(()) }
    }

    /// Appends what is pending and ends the command. Gives back the next one; if there is none, the lease is given up.
    pub(crate) async fn finish(&mut self, ending: Ending) -> Result<Option<NextCommand>, Halt> {
        let saved = ending.checkpoint.is_some();
        let finish = Finish {
            append: self.append(),
            command: ending.command,
            state: ending.state,
            sentence: ending.sentence,
            turn: ending.turn,
            checkpoint: ending.checkpoint,
            turn_ms: self.usage.turn_ms(self.store.sources().now()),
            input_tokens: self.usage.input_tokens + self.spent().input_tokens,
            output_tokens: self.usage.output_tokens + self.spent().output_tokens,
            models: self.usage.models.clone(),
            heard: self.heard.clone(),
        };
        let next = self.store.turn_finish(&self.lease, &finish, &self.artifacts).await?;
        self.appended();
        self.heard.clear();
        if saved {
            metrics::counter!("cowork_checkpoints_saved_total").increment(1);
        }
        Ok(next)
    }

    fn append(&self) -> Append<'_> {
        Append { after: self.sequence, events: &self.pending, projection: &self.projection }
    }

    fn appended(&mut self) {
        metrics::counter!("cowork_events_appended_total").increment(self.pending.len() as u64);
        self.sequence = self.append().last();
        self.pending.clear();
        self.artifacts.clear();
    }
}

impl Usage {
    /// How long this attempt has been at work. A clock that was set back makes it shorter, and never less than nothing.
    fn turn_ms(&self, now: Timestamp) -> i64 {
        self.begun_at.map_or(0, |begun_at| (now - begun_at).num_milliseconds().max(0))
    }

    fn add(&mut self, event: &Event) {
        let Event::UsageRecorded { input_tokens, output_tokens, model } = event else { return };
        let (input_tokens, output_tokens) = (*input_tokens, *output_tokens);
        let Some(model) = model.clone() else {
            self.input_tokens += input_tokens;
            self.output_tokens += output_tokens;
            return;
        };
        let spend = ModelSpend { input_tokens, output_tokens, model };
        let same = |known: &&mut ModelSpend| known.is_of(&spend);
        match self.models.iter_mut().find(same) {
            Some(known) => known.add(&spend),
            None => self.models.push(spend),
        }
    }
}
