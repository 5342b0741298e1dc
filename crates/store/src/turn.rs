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
use domain::projection::Projection;
use domain::quota::UsageKind;
use ids::{CheckpointId, CommandId, OrgId, SessionId, UsageId};
use sqlx::types::Json;
use uuid::Uuid;

use crate::artifact::{self, NewArtifact};
use crate::blob::{BlobRow, SKEW};
use crate::checkpoint::NewCheckpoint;
use crate::event::{self, Append};
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
    pub input_tokens: i64,
    pub output_tokens: i64,
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
        let spoken = event::append(self.of(lease.org), lease, append, begun, self.sources.now()).await?;
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
        event::append(&mut *tx, lease, append, None, self.sources.now()).await?;
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
        let during = || StoreError::during("turn_finish");
        let finished = self.write_end(lease, finish, artifacts).await.map_err(during())?;
        let Finished { ended, behind, next } = finished.ok_or(StoreError::LeaseLost)?;
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

    /// `None`: the token is not current, and nothing was written.
    async fn write_end(
        &self,
        lease: &Lease,
        finish: &Finish<'_>,
        artifacts: &[NewArtifact],
    ) -> Result<Option<Finished>, sqlx::Error> {
        let now = self.sources.now();
        let (kinds, payloads) = finish.append.columns();
        let checkpoint = finish.checkpoint.as_ref();
        let files = checkpoint.map(|new| &new.files[..]).unwrap_or_default();
        let blobs = Blobs::of(checkpoint, artifacts, now);
        let usage = self.metered(finish, artifacts);
        let state = serde_json::to_value(finish.state).expect("a state is plain data");
        let row = sqlx::query_file!(
            "src/turn/finish.sql",
            lease.org as OrgId,
            lease.session as SessionId,
            lease.token.generation,
            lease.token.counter,
            finish.append.after,
            finish.append.last(),
            now,
            &kinds,
            &payloads,
            Json(finish.append.projection) as Json<&Projection>,
            finish.command as CommandId,
            state.as_str(),
            finish.sentence,
            finish.turn.is_some(),
            finish.turn.and_then(blocked_on),
            finish.turn == Some(TurnOutcome::Aborted),
            finish.turn.and_then(run_state),
            checkpoint.map(|new| new.checkpoint) as Option<CheckpointId>,
            checkpoint.map(|new| &new.manifest.key),
            &files.iter().map(|blob| blob.key.clone()).collect::<Vec<_>>(),
            &blobs.keys,
            &blobs.sizes,
            &blobs.hashes,
            &blobs.since,
            &artifacts.iter().map(|new| new.artifact.into()).collect::<Vec<Uuid>>(),
            &artifacts.iter().map(|new| new.name.clone()).collect::<Vec<_>>(),
            &artifacts.iter().map(|new| new.media_type.clone()).collect::<Vec<_>>(),
            &artifacts.iter().map(|new| new.blob.key.clone()).collect::<Vec<_>>(),
            &usage.iter().map(|_| self.sources.id::<UsageId>().into()).collect::<Vec<Uuid>>(),
            &usage.iter().map(|(source, ..)| *source).collect::<Vec<_>>(),
            &usage.iter().map(|(_, kind, _)| kind.as_str().to_owned()).collect::<Vec<_>>(),
            &usage.iter().map(|(.., quantity)| *quantity).collect::<Vec<_>>(),
            &finish.heard.iter().map(|command| (*command).into()).collect::<Vec<Uuid>>(),
        )
        .fetch_optional(self.of(lease.org))
        .await?;
        Ok(row.map(|row| Finished {
            ended: row.ended,
            behind: row.behind,
            next: command::read_next(row.command_id, row.ordinal, row.kind, row.payload, row.attempt, row.traceparent),
        }))
    }

    fn metered(&self, finish: &Finish<'_>, artifacts: &[NewArtifact]) -> Vec<(Uuid, UsageKind, i64)> {
        let command = finish.command.into();
        let of_turn = finish.turn.map(|_| {
            [
                (command, UsageKind::Turns, 1),
                (command, UsageKind::InputTokens, finish.input_tokens),
                (command, UsageKind::OutputTokens, finish.output_tokens),
            ]
        });
        let of_turn = of_turn.into_iter().flatten().filter(|(.., quantity)| *quantity > 0);
        let of_artifacts = artifacts.iter().map(|new| (new.artifact.into(), UsageKind::ArtifactBytes, new.blob.size));
        of_turn.chain(of_artifacts).collect()
    }
}

/// What ending a command came to.
struct Finished {
    /// The lease was given up.
    ended: bool,
    /// A thread is behind now.
    behind: bool,
    next: Result<Option<NextCommand>, StoreError>,
}

/// Blobs as columns, sorted by key, so that two turns with common files can't deadlock.
#[derive(Default)]
struct Blobs {
    keys: Vec<String>,
    sizes: Vec<i64>,
    hashes: Vec<Vec<u8>>,
    since: Vec<Timestamp>,
}

impl Blobs {
    fn of(checkpoint: Option<&NewCheckpoint>, artifacts: &[NewArtifact], now: Timestamp) -> Self {
        let saved = checkpoint.into_iter().flat_map(|new| {
            let blobs = new.files.iter().chain([&new.manifest]);
            blobs.map(|blob| (blob, new.since))
        });
        // An artifact's key is its own: nobody else ever stored it.
        let mut all: Vec<(&BlobRow, Timestamp)> = saved.chain(artifacts.iter().map(|new| (&new.blob, now))).collect();
        all.sort_by(|one, other| one.0.key.cmp(&other.0.key));
        let mut columns = Self::default();
        for (blob, since) in all {
            columns.keys.push(blob.key.clone());
            columns.sizes.push(blob.size);
            columns.hashes.push(blob.sha256.clone());
            columns.since.push(since - SKEW);
        }
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
