//! From a restored database to a system that knows what the lost one did: the fence, the replay of the recovery ledger, the
//! new generation.
//!
//! In this order. The marker of the new generation is put into the installation's ledger: a process of the lost system that
//! is still alive sees it with its next write, and stops. Only then the ledger is read, from an hour before the backup's
//! snapshot to its end. What it says becomes true of the rows together with the generation, in one transaction; people are
//! erased again before, session by session. Whoever is killed in between comes again and arrives at the same.
//!
//! Not here: SQL and adding up a whole ledger (`store::replay`), its format (crate `ledger`), which ledger is
//! read and which is written (whoever restores).

mod notes;
mod reading;

use std::time::{Duration, Instant};

use clock::Timestamp;
use ids::{AccountId, BackupId};
use ledger::{LedgerError, NewGeneration, Reader};
use objects::Objects;
use serde_json::{Value, json};
use store::{Beginning, Environment, EraseError, ErasedFor, Extent, Generation, Replay, Store, StoreError};

use crate::reading::Reading;

/// A generation that is to begin.
#[derive(Debug, Clone, Copy)]
pub struct Recovery<'a> {
    pub store: &'a Store,
    /// What the rows of the backup say.
    pub current: &'a Generation,
    /// The installation's ledger, which the new generation writes.
    pub own: &'a Objects,
    pub environment: Environment,
    pub backup: BackupId,
    pub memory: Memory<'a>,
}

/// What is known of what the lost system did after the backup.
#[derive(Debug, Clone, Copy)]
pub enum Memory<'a> {
    Ledger(&'a Reader),
    /// Nothing, and somebody has asked for that.
    Declined,
    /// Nothing: a drill that no ledger was given to.
    NotGiven,
}

/// A generation that has begun, and what its restore remembered.
#[derive(Debug)]
pub struct Begun {
    pub generation: Generation,
    pub report: Value,
}

/// What a long replay tells while it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Records that were read, and up to when.
    Reading {
        records: u64,
        position: Timestamp,
    },
    Read {
        records: u64,
        took: Duration,
    },
    /// Something is wrong with the ledger, and the recovery goes on.
    Finding(String),
}

#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    #[error("the recovery ledger can't be read")]
    Unreadable(#[source] LedgerError),
    /// It is another ledger than the one that was meant: a sentence.
    #[error("{0}")]
    AnotherLedger(String),
    #[error("the lost system can't be fenced")]
    Unfenced(#[source] LedgerError),
    #[error("a subject can't be erased again")]
    NotErased(#[source] EraseError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Recovery<'_> {
    /// Fences the lost system, replays what it did, begins the generation.
    ///
    /// # Errors
    /// Then nothing has begun, and the same may be tried again.
    pub async fn begin(&self, progress: &mut (dyn FnMut(Progress) + Send)) -> Result<Begun, RecoveryError> {
        let generation = self.fence().await?;
        let as_of = self.store.restore_mark().await?.as_of;
        let mut replay = self.store.replay().await?;
        let reading = match self.memory {
            Memory::Ledger(reader) => Some(reading::read(reader, as_of, &mut replay, progress).await?),
            Memory::Declined | Memory::NotGiven => None,
        };
        self.erase_again(&mut replay).await?;
        let applying = Instant::now();
        let complete = reading.as_ref().is_some_and(Reading::is_whole);
        let replayed = replay.apply(generation, Extent { as_of, complete }).await?;
        let mut report = serde_json::to_value(replayed).expect("counts are plain data");
        report["ledger"] = json!(self.memory.as_str());
        report["as_of"] = json!(as_of);
        report["complete"] = json!(complete);
        report["apply_ms"] = json!(ms(applying.elapsed()));
        reading.unwrap_or_default().tell(&mut report);
        let beginning = Beginning { generation, backup: self.backup, environment: self.environment };
        let generation = replay.begin_generation(beginning, &report).await?;
        Ok(Begun { generation, report })
    }

    /// Puts the marker of the new generation into the installation's own ledger, and gives back its number: above that of
    /// every restore that this ledger has seen.
    async fn fence(&self) -> Result<i64, RecoveryError> {
        let current = self.current;
        let restore = self.store.restore_name().await?;
        let markers = ledger::generations(self.own, current.system_id).await.map_err(RecoveryError::Unreadable)?;
        let ours = markers.into_iter().rfind(|marker| marker.started.restore == restore);
        let newest = ledger::newest_generation(self.own).await.map_err(RecoveryError::Unreadable)?;
        let generation = match ours {
            Some(marker) if marker.started.generation > current.generation => marker.started.generation,
            _ => current.generation.max(newest.unwrap_or(0)) + 1,
        };
        let environment = match self.environment {
            Environment::Production => ledger::Environment::Production,
            Environment::Drill => ledger::Environment::Drill,
        };
        let new = NewGeneration { generation, environment, backup: Some(self.backup), restore };
        let at = self.store.sources().now();
        ledger::begin_generation(self.own, current.system_id, &new, at).await.map_err(RecoveryError::Unfenced)?;
        Ok(generation)
    }

    /// People who were erased after the backup are erased from the rows that came back.
    async fn erase_again(&self, replay: &mut Replay) -> Result<(), RecoveryError> {
        let mut after: Option<AccountId> = None;
        loop {
            let subjects = replay.subjects_noted(after, 1_000).await?;
            let Some(last) = subjects.last() else { return Ok(()) };
            after = Some(*last);
            for account in subjects {
                match self.store.subject_erase(account, ErasedFor::Installation, "role:restore").await {
                    Ok(_) => self.store.subject_erasure_carry_out(account).await?,
                    // Younger than the backup: there is nothing to erase.
                    Err(EraseError::NoSuchSubject) => {}
                    Err(EraseError::Store(error)) => return Err(error.into()),
                    Err(error) => return Err(RecoveryError::NotErased(error)),
                }
            }
        }
    }
}

impl Memory<'_> {
    fn as_str(&self) -> &'static str {
        match self {
            Self::Ledger(_) => "read",
            Self::Declined => "declined",
            Self::NotGiven => "not_given",
        }
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
