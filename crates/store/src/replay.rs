//! The replay of a restore: what the recovery ledger remembers of the lost system, put over the rows of the backup.
//!
//! One transaction from the first note to the row of the new generation. What is noted goes into tables that live as long as
//! the transaction, so memory does not grow with the ledger; there it is added up, and applied in a few statements. Whoever is
//! killed before the end has changed nothing, and begins again.
//!
//! Rows only ever move towards "it has happened": a delivery that is sent stays sent, a slot that has a row keeps it, a token that
//! is revoked stays revoked. So a replay that reads further back than it needs to does no harm. What no row stands for goes
//! into `remembered_effects`.
//!
//! These statements are not checked when this crate is compiled: their tables are made when they run.
//!
//! Not here: reading the ledger, and what its records add up to (crate `ledger`); erasing people again (`subject`), which takes
//! transactions of its own and is done before.

mod apply;
mod copy;
mod deliveries;
mod note;

use clock::{Sources, Timestamp};
use ids::{AccountId, BackupId, ByokKeyId, ChannelId, DeliveryId, InletId, OrgId, TokenId, TriggerId, WorkflowId};
use serde::Serialize;
use sqlx::Executor as _;
use sqlx::postgres::PgTransaction;

use crate::{Environment, Generation, Store, StoreError, generation};

/// What a part of the ledger says, by noun. Any part may be told again, in any order.
#[derive(Debug, Clone, Default)]
pub struct Notes {
    pub deliveries: Vec<DeliveryNote>,
    pub slots: Vec<SlotNote>,
    pub others: Vec<OtherNote>,
}

/// What is told of a delivery's attempts: a bit for each, as `ledger::DeliveryFact` has them. Several of one delivery add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveryNote {
    pub org: OrgId,
    pub delivery: DeliveryId,
    pub intents: u64,
    pub not_sent: u64,
    pub dead: u64,
    pub sent: bool,
    pub repeats_are_seen: bool,
    /// The newest that is told.
    pub at: Timestamp,
    /// The newest of those that tell that it was given up. `None`: none does.
    pub dead_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotNote {
    pub org: OrgId,
    pub workflow: WorkflowId,
    pub due_at: Timestamp,
    /// `false`: somebody was about to fire it.
    pub fired: bool,
    pub at: Timestamp,
}

/// Anything else, with when it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherNote {
    pub what: Other,
    pub at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Other {
    InboundAccepted {
        org: OrgId,
        inlet: InletId,
        event: [u8; 32],
    },
    InteractionUsed {
        org: OrgId,
        interaction: [u8; 32],
    },
    /// Something was taken from a person in a chat.
    IdentityRestricted {
        org: OrgId,
        identity: [u8; 32],
    },
    TokenRevoked {
        org: OrgId,
        token: TokenId,
    },
    MemberRemoved {
        org: OrgId,
        account: AccountId,
    },
    ChannelClosed {
        org: OrgId,
        channel: ChannelId,
    },
    KeyRevoked {
        org: OrgId,
        key: ByokKeyId,
    },
    /// The key that a user brought is another one since.
    KeyRotated {
        org: OrgId,
        key: ByokKeyId,
        version: String,
    },
    ChannelRotated {
        org: OrgId,
        channel: ChannelId,
        version: String,
    },
    /// `version`: the number of the secret, in digits.
    TriggerRotated {
        org: OrgId,
        trigger: TriggerId,
        version: String,
    },
    AdapterRotated {
        version: String,
    },
    SubjectErased {
        account: AccountId,
    },
    /// `session` is the SHA-256 of the browser's cookie.
    SessionRevoked {
        account: AccountId,
        session: [u8; 32],
    },
}

/// What the replay did, and what it could not do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Replayed {
    pub deliveries: DeliveriesReplayed,
    pub slots: SlotsReplayed,
    /// Messages from outside that are known to have been taken, and are not taken again.
    pub inbound_accepted: u64,
    pub interactions_used: u64,
    /// People in chats from whom something was taken after the backup; they may do nothing until somebody says what.
    pub identities_disabled: u64,
    pub tokens_revoked: u64,
    pub browser_sessions_revoked: u64,
    pub members_removed: u64,
    pub keys_revoked: u64,
    pub channels_rotated: u64,
    /// Channels that were open in the backup and are closed again, for good.
    pub channels_closed: u64,
    /// Triggers whose older secrets are void again.
    pub triggers_rotated: u64,
    /// Accounts that were erased and whose rows came back.
    pub subjects_erased: u64,
    /// What is remembered without a row, by kind: it will not happen again.
    pub remembered: Remembered,
    /// What happened after the backup and is lost: the real recovery point.
    pub lost: Lost,
    /// What a person should see to.
    pub attention: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DeliveriesReplayed {
    /// Waited in the backup; are known to have arrived.
    pub sent: u64,
    pub dead: u64,
    /// Held until an operator decides.
    pub unknown: u64,
    /// May have arrived, and go out again under the same id: the far side takes it once.
    pub again: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SlotsReplayed {
    pub fired: u64,
    pub unknown: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Remembered {
    pub deliveries: u64,
    pub deliveries_unknown: u64,
    pub inbound: u64,
    pub interactions: u64,
}

/// Things younger than the backup that the ledger points to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// Messages that were sent, of turns that the rows don't know, or don't know the end of.
    pub deliveries: u64,
    /// Messages that came in after the backup: prompts that are gone.
    pub inbound: u64,
    /// Runs of slots that fired after the backup.
    pub runs: u64,
    /// Slots of workflows that are not in the backup.
    pub slots: u64,
    pub tokens: u64,
    pub members: u64,
    pub keys: u64,
    pub channels: u64,
    pub subjects: u64,
    pub browser_sessions: u64,
}

/// What the notes are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The instant of the backup's snapshot: the rows stop knowing there. `None`: not known.
    pub as_of: Option<Timestamp>,
    /// Whether the notes are all that the lost system told since then, with no hole in it. So what they don't tell did not
    /// happen.
    pub complete: bool,
}

/// A replay that is going on. Dropped, it leaves nothing behind.
#[derive(Debug)]
pub struct Replay {
    tx: PgTransaction<'static>,
    sources: Sources,
}

/// Which generation a replay ends with.
#[derive(Debug, Clone, Copy)]
pub struct Beginning {
    pub generation: i64,
    pub backup: BackupId,
    pub environment: Environment,
}

const TABLES: &str = include_str!("replay/tables.sql");

impl Store {
    /// Begins a replay. Nobody else sees anything of it before [`Replay::begin_generation`].
    pub async fn replay(&self) -> Result<Replay, StoreError> {
        let mut tx = self.pool.begin().await.map_err(StoreError::during("replay"))?;
        tx.execute(TABLES).await.map_err(StoreError::during("replay_tables"))?;
        Ok(Replay { tx, sources: self.sources.clone() })
    }
}

impl Replay {
    /// Puts what the notes add up to over the rows.
    pub async fn apply(&mut self, generation: i64, extent: Extent) -> Result<Replayed, StoreError> {
        apply::all(&mut self.tx, generation, extent, self.sources.now()).await
    }

    /// Begins the generation, with the report of its restore, and makes all of it true at once.
    pub async fn begin_generation(
        mut self,
        beginning: Beginning,
        report: &serde_json::Value,
    ) -> Result<Generation, StoreError> {
        let during = || StoreError::during("replay_begin_generation");
        let Beginning { generation, backup, environment } = beginning;
        generation::begin(&mut self.tx, &self.sources, generation, backup, environment).await.map_err(during())?;
        sqlx::query!(
            "-- restore_report_insert
            INSERT INTO restore_reports (generation, report, written_at) VALUES ($1, $2, $3)",
            generation,
            report,
            self.sources.now(),
        )
        .execute(&mut *self.tx)
        .await
        .map_err(during())?;
        let begun = generation::current(&mut self.tx).await.map_err(during())?;
        self.tx.commit().await.map_err(during())?;
        Ok(begun.expect("a generation was just inserted"))
    }
}

#[cfg(test)]
mod tests;
