//! One turn: bring the workspace to the checkpoint, let the agent work, write what it tells, save, end.
//!
//! Not here: whether there is a turn at all (`plan`).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agents::{Agent, Inbox, Outcome, Turn, TurnResult};
use domain::event::{Event, MessageRole, TurnOutcome};
use ids::CheckpointId;
use objects::checkpoint::{self, CheckpointName, Contents, LeftOut, OpenError, SaveError, Saved};
use objects::{Blob, CheckpointKey, ObjectsError};
use projects::UnpackError;
use secrets::KmsError;
use store::{BlobRow, Checkpoint, Lease, NewCheckpoint, NextCommand};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::halt::{Halt, chain};
use crate::journal::BATCH;
use crate::keys::OrgKeysError;
use crate::left_out;
use crate::session::{Ended, Session};
use crate::sink::{Sink, Told, blob_row};
use crate::workspace::{self, Behind, Found};

/// Between two appends of a turn, unless a batch is full. The start of a turn is an append, so a short turn is two.
const APPEND_EVERY: Duration = Duration::from_millis(25);
/// How long an agent may take to return once it was cancelled.
const CANCEL_GRACE: Duration = Duration::from_secs(5);

/// Why a turn can't begin.
pub(crate) enum Unready {
    /// Trying again won't help; the sentence is for people.
    Broken(String),
    Halt(Halt),
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Unready {
    fn from(error: E) -> Self {
        Self::Halt(Halt::Retry(error.into()))
    }
}

/// What a turn needs before the agent may work.
struct Prepared {
    agent: Arc<dyn Agent>,
    key: CheckpointKey,
    workspace: PathBuf,
    /// Whether the workspace is as the last turn left it here, and not made anew.
    untouched: bool,
    /// By the last turn.
    behind: Behind,
}

/// What a turn came to, with all that it saves.
struct Worked {
    key: CheckpointKey,
    workspace: PathBuf,
    /// Where in it the files are that people look at.
    folder: PathBuf,
    /// By the last turn.
    before: LeftOut,
    result: TurnResult,
}

impl Session {
    /// Carries a turn out, in the trace of whoever asked for it.
    pub(crate) async fn run(&mut self, command: NextCommand) -> Result<Option<NextCommand>, Halt> {
        let span = tracing::info_span!(
            "turn",
            session.id = %self.hold.lease.session,
            command.id = %command.command,
            attempt = command.attempt + 1,
            outcome = tracing::field::Empty,
            otel.kind = "consumer",
        );
        traces::follow(&span, command.traceparent.as_deref());
        self.begin(command).instrument(span).await
    }

    async fn begin(&mut self, command: NextCommand) -> Result<Option<NextCommand>, Halt> {
        let begun = Instant::now();
        // Before the turn can be seen: what people say to it is either there when it starts, or told from now on.
        let (cancel, inbox) = self.hold.begin(command.ordinal);
        let spoken = self.journal.start(&command).await?;
        if spoken.aborting {
            cancel.cancel();
        }
        if spoken.steering {
            crate::look(&self.context).await?;
        }
        let ended = match self.prepare().await {
            Ok(prepared) => self.work(&command, prepared, &cancel, inbox).await?,
            Err(Unready::Broken(error)) => Ended::failed(error),
            Err(Unready::Halt(halt)) => return Err(halt),
        };
        self.hold.end();
        if let Some(new) = &ended.checkpoint {
            self.checkpoint = Some(new.checkpoint);
        }
        let next = self.end(&command, ended).await?;
        metrics::histogram!("cowork_turn_duration_ms").record(begun.elapsed().as_secs_f64() * 1_000.0);
        Ok(next)
    }

    fn workspace(&self) -> PathBuf {
        self.context.workspaces.path(self.hold.lease.org, self.hold.lease.session)
    }

    async fn prepare(&mut self) -> Result<Prepared, Unready> {
        let agent = self.context.parts.agents.iter().find(|agent| agent.name() == self.agent).cloned();
        let unknown = || {
            let name = &self.agent;
            Unready::Broken(format!("this worker has no agent {name:?}; start a session with one that it has"))
        };
        let agent = agent.ok_or_else(unknown)?;
        let key = self.context.keys.get(self.hold.lease.org).await.map_err(keyless)?;
        let workspace = self.workspace();
        let (untouched, behind) = self.restore(&key, &workspace, agent.as_ref()).await?;
        Ok(Prepared { agent, key, workspace, untouched, behind })
    }

    /// Brings the workspace to the session's checkpoint. Gives back whether it was there already, and what the last turn left.
    async fn restore(
        &mut self,
        key: &CheckpointKey,
        workspace: &Path,
        agent: &dyn Agent,
    ) -> Result<(bool, Behind), Unready> {
        let Lease { org, session, .. } = self.hold.lease;
        let found = self.context.workspaces.enter(org, session, self.checkpoint).await?;
        let Some(checkpoint) = self.checkpoint else {
            self.begin_workspace(workspace, agent).await?;
            return Ok((false, Behind::default()));
        };
        if let Found::AtCheckpoint(Some(behind)) = found {
            return Ok((true, behind));
        }
        let row = self.context.parts.store.checkpoint_by_id(org, checkpoint).await?;
        let row = row.ok_or_else(|| Unready::Broken(broken("its row is missing")))?;
        let (name, manifest) = (self.name(checkpoint), manifest(&row)?);
        let (objects, untouched) = (&self.context.parts.objects, found != Found::Elsewhere);
        let saved = if untouched {
            checkpoint::read(objects, key, name, &manifest).await
        } else {
            checkpoint::open(objects, key, name, &manifest, workspace).await
        };
        Ok((untouched, saved.map_err(unopened)?.into()))
    }

    /// Makes the workspace of a session that has saved none, anew each time: half of a lost turn may be there.
    async fn begin_workspace(&self, workspace: &Path, agent: &dyn Agent) -> Result<(), Unready> {
        workspace::empty(workspace).await?;
        let Some(source) = self.project_source else { return Ok(()) };
        let parts = &self.context.parts;
        let row = parts.store.project_source_blob(self.hold.lease.org, source).await?;
        let row = row.ok_or_else(|| Unready::Broken(sourceless("it was deleted")))?;
        let blob = blob(&row).ok_or_else(|| Unready::Broken(sourceless("its row can't be read")))?;
        let content = parts.objects.get_blob(&blob).await.map_err(unread)?;
        let folder = agent.works_in(workspace);
        workspace::make(&folder).await?;
        match tokio::task::spawn_blocking(move || projects::unpack(&content, &folder)).await? {
            Err(UnpackError::Damaged(why)) => Err(Unready::Broken(sourceless(&why))),
            unpacked => Ok(unpacked?),
        }
    }

    fn name(&self, checkpoint: CheckpointId) -> CheckpointName {
        CheckpointName { org: self.hold.lease.org, session: self.hold.lease.session, checkpoint }
    }

    /// Lets the agent work, then saves what it made of its workspace.
    async fn work(
        &mut self,
        command: &NextCommand,
        prepared: Prepared,
        cancel: &CancellationToken,
        inbox: Inbox,
    ) -> Result<Ended, Halt> {
        let Prepared { agent, key, workspace, untouched, behind: Behind { state, left_out: before } } = prepared;
        let turn = Turn {
            org: self.hold.lease.org,
            session: self.hold.lease.session,
            ordinal: command.ordinal,
            attempt: command.attempt + 1,
            workspace: workspace.clone(),
            untouched,
            state: state.clone(),
            wish: command.wish.clone(),
            spent: self.journal.spent(),
            inbox,
        };
        let folder = agent.works_in(&workspace);
        let result =
            self.converse(agent, turn, cancel).await?.unwrap_or(TurnResult { state, outcome: Outcome::Aborted });
        let worked = Worked { key, workspace, folder, before, result };
        match self.save(command, worked).await {
            Ok(ended) => Ok(ended),
            Err(unsupported @ SaveError::Unsupported { .. }) => Ok(Ended::failed(unsaved(&unsupported))),
            Err(error) => Err(Halt::Retry(error.into())),
        }
    }

    /// Tells people first what can't be saved with the workspace: the checkpoint covers that, too.
    async fn save(&mut self, command: &NextCommand, worked: Worked) -> Result<Ended, SaveError> {
        let Worked { key, workspace, folder, before, result } = worked;
        let contents = checkpoint::look(&workspace).await?;
        let left_out = contents.left_out().clone();
        let below = folder.strip_prefix(&workspace).unwrap_or(Path::new(""));
        if let Some(text) = left_out::told(&left_out, &before, below) {
            let message_id = left_out::message_id(command.ordinal, command.attempt + 1);
            self.journal.push(Event::MessageAppended { message_id, role: MessageRole::Agent, text });
        }
        let saved = Saved { sequence: self.journal.next_sequence(), state: result.state, left_out };
        let new = self.put(&key, contents, &saved).await?;
        self.context.workspaces.leave(self.hold.lease.session, new.checkpoint, saved.into());
        let (outcome, error) = match result.outcome {
            Outcome::Completed => (TurnOutcome::Completed, None),
            Outcome::AwaitingApproval => (TurnOutcome::AwaitingApproval, None),
            Outcome::AwaitingAnswer => (TurnOutcome::AwaitingAnswer, None),
            Outcome::Failed { error } => (TurnOutcome::Failed, Some(error)),
            Outcome::Aborted => (TurnOutcome::Aborted, None),
        };
        Ok(Ended { outcome, error, checkpoint: Some(new) })
    }

    async fn put(&self, key: &CheckpointKey, contents: Contents, saved: &Saved) -> Result<NewCheckpoint, SaveError> {
        let parts = &self.context.parts;
        let (name, since) = (self.name(parts.store.sources().id()), parts.store.sources().now());
        let generation = self.hold.lease.token.generation;
        let objects = checkpoint::save(&parts.objects, key, generation, name, contents, saved).await?;
        let files = objects.files.into_iter().map(blob_row).collect();
        Ok(NewCheckpoint { checkpoint: name.checkpoint, manifest: blob_row(objects.manifest), files, since })
    }

    /// Writes what the agent tells, until it returns. `None`: it was cancelled and did not.
    async fn converse(
        &mut self,
        agent: Arc<dyn Agent>,
        turn: Turn,
        cancel: &CancellationToken,
    ) -> Result<Option<TurnResult>, Halt> {
        let (told, mut heard) = mpsc::channel(BATCH * 4);
        let mut sink = Sink {
            told,
            objects: self.context.parts.objects.clone(),
            sources: self.context.parts.store.sources().clone(),
            lease: self.hold.lease.clone(),
            workspace: turn.workspace.clone(),
            ordinal: turn.ordinal,
            attempt: turn.attempt,
        };
        let cancelled = cancel.clone();
        let task = tokio::spawn(async move { agent.turn(turn, &mut sink, &cancelled).await });
        let mut task = Abandoned(task);
        match self.listen(&mut heard, cancel).await {
            Ok(done) => {
                self.journal.flush_spent().await?;
                if !done {
                    return Ok(None);
                }
                (&mut task.0).await.map(Some).map_err(|error| Halt::Retry(error.into()))
            }
            Err(halt) => {
                cancel.cancel();
                drop(heard);
                let _ = tokio::time::timeout(CANCEL_GRACE, &mut task.0).await;
                if matches!(halt, Halt::Cut) {
                    self.journal.flush_spent().await?;
                }
                Err(halt)
            }
        }
    }

    /// Appends what is told, in batches, until the agent is done (`true`) or has had its time to stop (`false`).
    async fn listen(&mut self, heard: &mut mpsc::Receiver<Told>, cancel: &CancellationToken) -> Result<bool, Halt> {
        let (lost, cut) = (self.hold.lost.clone(), self.context.cut.clone());
        let overdue = async {
            cancel.cancelled().await;
            tokio::time::sleep(CANCEL_GRACE).await;
        };
        tokio::pin!(overdue);
        let mut append_at = Instant::now() + APPEND_EVERY;
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                biased;
                () = lost.cancelled() => return Err(Halt::Lost),
                () = cut.cancelled() => return Err(Halt::Cut),
                () = &mut overdue => return Ok(false),
                count = heard.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return Ok(true);
                    }
                    self.take_down(&mut batch);
                    if self.journal.pending() >= BATCH {
                        self.journal.flush().await?;
                        append_at = Instant::now() + APPEND_EVERY;
                    }
                }
                () = tokio::time::sleep_until(append_at), if self.journal.pending() > 0 => {
                    self.journal.flush().await?;
                    append_at = Instant::now() + APPEND_EVERY;
                }
            }
        }
    }

    fn take_down(&mut self, batch: &mut Vec<Told>) {
        for told in batch.drain(..) {
            match told {
                Told::Event(event) => self.journal.push(event),
                Told::Artifact(artifact, event) => self.journal.publish(artifact, event),
                Told::Heard(command, event) => self.journal.hear(command, event),
            }
        }
    }
}

/// The agent's task. Whoever stops listening to it ends it.
struct Abandoned(JoinHandle<TurnResult>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(crate) fn manifest(row: &Checkpoint) -> Result<Blob, Unready> {
    blob(&row.manifest).ok_or_else(|| Unready::Broken(broken("its row can't be read")))
}

fn blob(row: &BlobRow) -> Option<Blob> {
    let BlobRow { key, size, sha256 } = row;
    Some(Blob { key: key.clone(), size: (*size).try_into().ok()?, sha256: sha256[..].try_into().ok()? })
}

fn unsaved(error: &SaveError) -> String {
    let advice = match error {
        SaveError::Unsupported { advice, .. } => advice,
        _ => "ask for it again",
    };
    format!("{error}; the session goes on from its last checkpoint; ask for it in another way: {advice}")
}

fn sourceless(why: &str) -> String {
    format!("the project source that the session begins with can't be used: {why}; begin another session")
}

/// Tells damage, which stays, from a store that fails just now.
fn unread(error: ObjectsError) -> Unready {
    match error {
        ObjectsError::Store { .. } | ObjectsError::Folder { .. } => error.into(),
        error => Unready::Broken(sourceless(&chain(&error))),
    }
}

fn broken(why: &str) -> String {
    let advice = "the session is kept as it was; bring the object back and send the prompt again";
    format!("the session's saved workspace can't be opened: {why}; {advice}")
}

/// Tells damage, which stays, from a store or disk that fails just now.
fn unopened(error: OpenError) -> Unready {
    match error {
        OpenError::Write { .. } | OpenError::Objects(ObjectsError::Store { .. } | ObjectsError::Folder { .. }) => {
            error.into()
        }
        error => Unready::Broken(broken(&chain(&error))),
    }
}

fn keyless(error: OrgKeysError) -> Unready {
    match error {
        OrgKeysError::Kms(KmsError::UnknownVersion { .. } | KmsError::Refused { .. }) => {
            let why = chain(&error);
            Unready::Broken(format!("{why}; give the adapter key of that version back and send the prompt again"))
        }
        error => error.into(),
    }
}
