//! Turns: what is written while a command is carried out. Each write is one transaction that compares the fencing
//! token first.
//!
//! A turn begins (`turn_start`), tells what happens (`turn_append`, `turn_publish`) and ends (`turn_finish`). The end
//! acknowledges the command, records the checkpoint, meters, ends the run, wakes the gateway and gives the lease up:
//! all of it or nothing.
//!
//! Not here: carrying a command out (crate `worker`).

use clock::Timestamp;
use domain::command::CommandState;
use domain::event::TurnOutcome;
use domain::quota::UsageKind;
use domain::spend::ModelSpend;
use ids::{CommandId, OrgId, UsageId};
use uuid::Uuid;

use crate::artifact::{self, NewArtifact};
use crate::batcher::{Answered, Ask, Locked};
use crate::blob::{BlobRow, SKEW};
use crate::checkpoint::NewCheckpoint;
use crate::event::{self, Append, Fenced, FencedColumns, NewEvents};
use crate::lease::{Lease, NextCommand};
use crate::wake::Wake;
use crate::{Store, StoreError, command};

/// How a command ends.
#[derive(Debug, Clone)]
pub struct Finish<'a> {
    /// Its last events. None if it was refused.
    pub append: Append<'a>,
    pub command: CommandId,
    pub state: CommandState,
    /// One sentence for people.
    pub sentence: String,
    /// `None`: the command was refused, and the session is as it was.
    pub turn: Option<TurnOutcome>,
    /// `None`: nothing was saved, and the session keeps the one that it has.
    pub checkpoint: Option<NewCheckpoint>,
    /// How long the attempt that ends was at work, in milliseconds, as the worker's clock tells. 0: there was none.
    pub turn_ms: i64,
    pub input_tokens: i64,
    pub output_tokens: i64,
    /// Of those tokens, whose they are, as far as providers said.
    pub models: Vec<ModelSpend>,
    /// Prompts that steered the turn and were heard: they end with it.
    pub heard: Vec<CommandId>,
}

/// What people have said to a turn when it begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spoken {
    /// Somebody wants it to end.
    pub aborting: bool,
    /// Somebody steers it ([`Store::commands_steering`]).
    pub steering: bool,
}

impl Store {
    /// Counts an attempt and appends the turn's first events. Gives back what was said to it before it began. What is said later is
    /// told ([`Wake::Abort`]) to whoever waits for it by then.
    pub async fn turn_start(
        &self,
        lease: &Lease,
        append: &Append<'_>,
        command: &NextCommand,
    ) -> Result<Spoken, StoreError> {
        self.append(lease, append, Some(command)).await
    }

    /// Appends events in the middle of a turn.
    pub async fn turn_append(&self, lease: &Lease, append: &Append<'_>) -> Result<(), StoreError> {
        self.append(lease, append, None).await?;
        Ok(())
    }

    async fn append(
        &self,
        lease: &Lease,
        append: &Append<'_>,
        begun: Option<&NextCommand>,
    ) -> Result<Spoken, StoreError> {
        let spoken = self.appends.ask(self, lease.org, NewEvents::new(lease, append, begun)).await?;
        self.wakes.tell(Wake::Events(lease.org, lease.session));
        Ok(spoken)
    }

    /// Appends events with the artifacts that they announce, whose blobs are durable.
    pub async fn turn_publish(
        &self,
        lease: &Lease,
        append: &Append<'_>,
        artifacts: &[NewArtifact],
    ) -> Result<(), StoreError> {
        let during = || StoreError::during("turn_publish");
        let mut tx = self.begin_of(lease.org).await.map_err(during())?;
        event::append(&mut *tx, lease, append, self.sources.now()).await?;
        for new in artifacts {
            artifact::insert(&mut tx, &self.sources, lease.org, lease.session, new).await.map_err(during())?;
        }
        tx.commit().await.map_err(during())?;
        self.wakes.tell(Wake::Events(lease.org, lease.session));
        Ok(())
    }

    /// Ends a command. With another one to carry out the lease stays, and it is given back; else the lease is given up.
    pub async fn turn_finish(
        &self,
        lease: &Lease,
        finish: &Finish<'_>,
        artifacts: &[NewArtifact],
    ) -> Result<Option<NextCommand>, StoreError> {
        let end = self.end(lease, finish, artifacts);
        let Finished { ended, behind, next } = self.ends.ask(self, lease.org, end).await?;
        self.wakes.tell(Wake::Events(lease.org, lease.session));
        if behind {
            self.wakes.tell(Wake::Cursor);
        }
        match next? {
            // A command came between the look for one and the lock on the session's row.
            None if !ended => self.lease_end_idle(lease).await,
            next => Ok(next),
        }
    }

    fn end(&self, lease: &Lease, finish: &Finish<'_>, artifacts: &[NewArtifact]) -> End {
        let state = serde_json::to_value(finish.state).expect("a state is plain data");
        End {
            fenced: Fenced::new(lease, &finish.append),
            command: finish.command,
            state: state.as_str().expect("a state is a word").to_owned(),
            sentence: finish.sentence.clone(),
            turn: finish.turn,
            checkpoint: finish.checkpoint.clone(),
            artifacts: artifacts.to_vec(),
            usage: self.metered(finish, artifacts),
            models: finish.turn.map(|_| finish.models.clone()).unwrap_or_default(),
            heard: finish.heard.clone(),
            at: self.sources.now(),
        }
    }

    fn metered(&self, finish: &Finish<'_>, artifacts: &[NewArtifact]) -> Vec<Usage> {
        let command: Uuid = finish.command.into();
        let of_turn = finish.turn.map(|_| {
            [
                (command, UsageKind::Turns, 1),
                (command, UsageKind::TurnMs, finish.turn_ms),
                (command, UsageKind::InputTokens, finish.input_tokens),
                (command, UsageKind::OutputTokens, finish.output_tokens),
            ]
        });
        let of_turn = of_turn.into_iter().flatten().filter(|(.., quantity)| *quantity > 0);
        let of_artifacts = artifacts.iter().map(|new| (new.artifact.into(), UsageKind::ArtifactBytes, new.blob.size));
        let all = of_turn.chain(of_artifacts);
        all.map(|(source, kind, quantity)| {
            let usage = self.sources.id::<UsageId>().into();
            Usage { usage, source, kind: kind.as_str(), quantity }
        })
        .collect()
    }
}

/// The end of a command, ready to be written.
#[derive(Debug)]
pub(crate) struct End {
    fenced: Fenced,
    command: CommandId,
    state: String,
    sentence: String,
    turn: Option<TurnOutcome>,
    checkpoint: Option<NewCheckpoint>,
    artifacts: Vec<NewArtifact>,
    usage: Vec<Usage>,
    models: Vec<ModelSpend>,
    heard: Vec<CommandId>,
    /// When it was asked for: blobs of artifacts were saved before.
    at: Timestamp,
}

/// Of the command or of an artifact, metered once.
#[derive(Debug)]
struct Usage {
    usage: Uuid,
    source: Uuid,
    kind: &'static str,
    quantity: i64,
}

/// What ending a command came to.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The lease was given up.
    ended: bool,
    /// A thread is behind now.
    behind: bool,
    next: Result<Option<NextCommand>, StoreError>,
}

impl Ask for End {
    type Done = Finished;

    const STATEMENT: &'static str = "turn_finish";

    fn bytes(&self) -> usize {
        let files = self.checkpoint.as_ref().map_or(0, |new| new.files.len());
        // A file is a few lines of a hundred bytes.
        self.fenced.bytes() + 256 * (files + self.artifacts.len())
    }

    async fn carry_out(
        store: &Store,
        org: OrgId,
        writes: &[Self],
        locked: Locked,
    ) -> Result<Vec<Answered<Finished>>, sqlx::Error> {
        let columns = Columns::of(writes);
        let Columns { fenced, files, blobs, artifacts, usage, models, heard } = &columns;
        let turns = || writes.iter().map(|end| end.turn);
        let rows = sqlx::query_file!(
            "src/turn/finish.sql",
            org as OrgId,
            &fenced.sessions,
            &fenced.generations,
            &fenced.counters,
            &fenced.before,
            &fenced.after,
            &fenced.projections as &[&str],
            &writes.iter().map(|end| end.command.into()).collect::<Vec<Uuid>>(),
            &writes.iter().map(|end| &end.state[..]).collect::<Vec<_>>() as &[&str],
            &writes.iter().map(|end| &end.sentence[..]).collect::<Vec<_>>() as &[&str],
            &turns().map(|turn| turn.is_some()).collect::<Vec<_>>(),
            &turns().map(|turn| turn.and_then(blocked_on)).collect::<Vec<_>>() as &[Option<&str>],
            &turns().map(|turn| turn == Some(TurnOutcome::Aborted)).collect::<Vec<_>>(),
            &turns().map(|turn| turn.and_then(run_state)).collect::<Vec<_>>() as &[Option<&str>],
            &writes.iter().map(|end| end.checkpoint.as_ref().map(|new| new.checkpoint.into())).collect::<Vec<_>>()
                as &[Option<Uuid>],
            &writes.iter().map(|end| end.checkpoint.as_ref().map(|new| &new.manifest.key[..])).collect::<Vec<_>>()
                as &[Option<&str>],
            store.sources().now(),
            &fenced.events.places,
            &fenced.events.sequences,
            &fenced.events.kinds as &[&str],
            &fenced.events.payloads as &[&str],
            &files.iter().map(|(place, _)| *place).collect::<Vec<_>>(),
            &files.iter().map(|(_, file)| &file.key[..]).collect::<Vec<_>>() as &[&str],
            &blobs.iter().map(|(place, ..)| *place).collect::<Vec<_>>(),
            &blobs.iter().map(|(_, blob, _)| &blob.key[..]).collect::<Vec<_>>() as &[&str],
            &blobs.iter().map(|(_, blob, _)| blob.size).collect::<Vec<_>>(),
            &blobs.iter().map(|(_, blob, _)| &blob.sha256[..]).collect::<Vec<_>>() as &[&[u8]],
            &blobs.iter().map(|(.., since)| *since - SKEW).collect::<Vec<_>>(),
            &artifacts.iter().map(|(place, _)| *place).collect::<Vec<_>>(),
            &artifacts.iter().map(|(_, new)| new.artifact.into()).collect::<Vec<Uuid>>(),
            &artifacts.iter().map(|(_, new)| &new.name[..]).collect::<Vec<_>>() as &[&str],
            &artifacts.iter().map(|(_, new)| &new.media_type[..]).collect::<Vec<_>>() as &[&str],
            &artifacts.iter().map(|(_, new)| &new.blob.key[..]).collect::<Vec<_>>() as &[&str],
            &usage.iter().map(|(place, _)| *place).collect::<Vec<_>>(),
            &usage.iter().map(|(_, used)| used.usage).collect::<Vec<_>>(),
            &usage.iter().map(|(_, used)| used.source).collect::<Vec<_>>(),
            &usage.iter().map(|(_, used)| used.kind).collect::<Vec<_>>() as &[&str],
            &usage.iter().map(|(_, used)| used.quantity).collect::<Vec<_>>(),
            locked == Locked::WaitFor,
            &heard.iter().map(|(place, _)| *place).collect::<Vec<_>>(),
            &heard.iter().map(|(_, command)| (*command).into()).collect::<Vec<Uuid>>(),
            &models.iter().map(|(place, _)| *place).collect::<Vec<_>>(),
            &models.iter().map(|(_, spend)| &spend.model.provider[..]).collect::<Vec<_>>() as &[&str],
            &models.iter().map(|(_, spend)| spend.model.name.as_deref().unwrap_or_default()).collect::<Vec<_>>()
                as &[&str],
            &models.iter().map(|(_, spend)| spend.input_tokens).collect::<Vec<_>>(),
            &models.iter().map(|(_, spend)| spend.output_tokens).collect::<Vec<_>>(),
            &models.iter().map(|(_, spend)| spend.model.cached_tokens).collect::<Vec<_>>(),
            &models.iter().map(|(_, spend)| spend.model.requests).collect::<Vec<_>>(),
            &models.iter().map(|(_, spend)| spend.model.requests_unknown).collect::<Vec<_>>(),
        )
        .fetch_all(store.of(org))
        .await?;
        let answers = rows.into_iter().map(|row| {
            let finished = || Finished {
                ended: row.ended,
                behind: row.behind,
                next: command::read_next(
                    row.command_id,
                    row.ordinal,
                    row.kind,
                    row.payload,
                    row.attempt,
                    row.traceparent,
                    row.limited,
                ),
            };
            (row.place, Answered::read(row.locked, row.current, locked, finished))
        });
        Ok(event::by_place(answers))
    }
}

/// Several ends, as what the statement takes. Each entry with the place of its end, from 1.
#[derive(Default)]
struct Columns<'a> {
    fenced: FencedColumns<'a>,
    files: Vec<(i64, &'a BlobRow)>,
    /// Sorted by key, so that two statements with common files can't deadlock; with when their saving began.
    blobs: Vec<(i64, &'a BlobRow, Timestamp)>,
    artifacts: Vec<(i64, &'a NewArtifact)>,
    usage: Vec<(i64, &'a Usage)>,
    models: Vec<(i64, &'a ModelSpend)>,
    heard: Vec<(i64, CommandId)>,
}

impl<'a> Columns<'a> {
    fn of(ends: &'a [End]) -> Self {
        let mut columns = Self { fenced: FencedColumns::of(ends.iter().map(|end| &end.fenced)), ..Self::default() };
        for (place, end) in (1..).zip(ends) {
            if let Some(new) = &end.checkpoint {
                columns.files.extend(new.files.iter().map(|blob| (place, blob)));
                columns.blobs.extend(new.files.iter().chain([&new.manifest]).map(|blob| (place, blob, new.since)));
            }
            // An artifact's key is its own: nobody else ever stored it.
            columns.blobs.extend(end.artifacts.iter().map(|new| (place, &new.blob, end.at)));
            columns.artifacts.extend(end.artifacts.iter().map(|new| (place, new)));
            columns.usage.extend(end.usage.iter().map(|used| (place, used)));
            columns.models.extend(end.models.iter().map(|spend| (place, spend)));
            columns.heard.extend(end.heard.iter().map(|command| (place, *command)));
        }
        columns.blobs.sort_by(|one, other| one.1.key.cmp(&other.1.key));
        columns
    }
}

fn blocked_on(outcome: TurnOutcome) -> Option<&'static str> {
    match outcome {
        TurnOutcome::AwaitingApproval => Some("approval"),
        TurnOutcome::AwaitingAnswer => Some("answer"),
        _ => None,
    }
}

/// What becomes of the run that the turn carried out. `None`: it goes on when a person has spoken.
fn run_state(outcome: TurnOutcome) -> Option<&'static str> {
    match outcome {
        waiting if waiting.waits() => None,
        TurnOutcome::Completed => Some("succeeded"),
        _ => Some("failed"),
    }
}

#[cfg(test)]
mod tests;
