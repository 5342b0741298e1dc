//! Every SQL statement about our tables, and every migration. A file per noun.
//!
//! Methods are noun first (`session_create`, `lease_claim`); every statement's first line is its function's name, so
//! that `pg_stat_activity` speaks our words. Statements are checked against the schema when this crate is compiled;
//! `scripts/sqlx-prepare` refreshes the offline data.
//!
//! Each public method is one transaction, or says otherwise. No trait stands in front of Postgres: tests use Postgres.
//!
//! Not here: decisions (`domain`), the bytes that rows name (`objects`), taking secrets apart (`secrets`).

mod account;
mod archive;
mod artifact;
mod audit;
mod backup_spec;
mod batcher;
mod binding;
mod blob;
mod blob_deletion;
mod browser_session;
mod byok;
mod call;
mod change;
mod channel;
mod channel_identity;
mod checkpoint;
mod command;
mod compaction;
mod connections;
mod cursor;
mod data_key;
mod deadlock;
mod delivery;
mod diagnostics;
mod error;
mod event;
mod feed;
mod generation;
mod idempotency;
mod identities;
mod inbound;
mod instance;
mod interaction;
mod invitation;
mod key_rotation;
mod lease;
mod maintenance;
mod org;
mod org_key;
mod outbox;
mod policy;
mod profile;
mod project_source;
mod quota;
mod remembered;
mod replay;
mod role;
mod run;
mod session;
mod sign_in;
mod slot;
mod standing;
mod subject;
mod subscription;
#[cfg(test)]
mod testing;
mod token;
mod trigger;
mod turn;
mod upload;
mod usage;
mod wake;
mod wall;
mod workflow;

use clock::Sources;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

use crate::batcher::Batcher;
use crate::command::taking::Taking;
use crate::connections::Connections;
use crate::event::{After, NewEvents};
use crate::identities::Identities;
use crate::maintenance::LastLook;
use crate::session::{List, View};
use crate::token::uses::Uses;
use crate::turn::End;
use crate::wall::Wall;

pub use crate::account::{Member, NewMember, Removal};
pub use crate::archive::{NewestBackup, NotedBackup, OldestBackup};
pub use crate::artifact::{Artifact, NewArtifact};
pub use crate::audit::{
    AUDIT_SEALED_AT_ONCE, AuditFault, AuditFaultKind, AuditFilter, AuditHead, AuditRecord, AuditVerification,
    SealedRecord,
};
pub use crate::backup_spec::{BACKUP_SPEC, BackupFilter, BackupGroup, BackupProbe, BackupSpec};
pub use crate::binding::{Binding, BindingError, NewBinding};
pub use crate::blob::BlobRow;
pub use crate::blob_deletion::{Deletions, DueDeletion, GRACE as BLOB_GRACE};
pub use crate::browser_session::BrowserSession;
pub use crate::byok::{ByokError, ByokKey, NewByokKey, NewByokSecret, SealedByokKey, byok_aad};
pub use crate::call::{Call, CallError, Called, CalledTrigger};
pub use crate::change::ChangeError;
pub use crate::channel::{Channel, ChannelChange, NewChannel};
pub use crate::channel_identity::{ChannelIdentity, IdentityChange, IdentityError, Sender};
pub use crate::checkpoint::{Checkpoint, NewCheckpoint};
pub use crate::command::steering::Steer;
pub use crate::command::{Command, EnqueueError, Enqueued, NewCommand};
pub use crate::compaction::{CompactError, Compacted, CompactionPage};
pub use crate::cursor::{BehindCursor, NewDelivery};
pub use crate::data_key::{Rewrapped, SealedCount, SealedPlace, SealedTable, WrappedKey};
pub use crate::delivery::{
    ClaimedDelivery, Claims, Delivery, DeliverySweep, Intervention, Outcome, Settlement, UnknownDelivery,
};
pub use crate::diagnostics::{Backlog, KeyVersion};
pub use crate::error::{ConnectError, StoreError};
pub use crate::event::Append;
pub use crate::feed::{FeedEvent, FeedPage};
pub use crate::generation::{Environment, Generation, RestoreMark};
pub use crate::idempotency::{Attempt, Begun, IDEMPOTENCY_KEPT, KeptAnswer, SealedAnswer, aad as idempotency_aad};
pub use crate::identities::{Credential, Identity};
pub use crate::inbound::{InboundError, InboundMessage, Received};
pub use crate::instance::{Instance, InstanceKeys, Offer, OfferedAgent, RoleCount};
pub use crate::interaction::{DecisionError, InboundDecision, Interaction, InteractionState, NewInteraction, Over};
pub use crate::invitation::{Invitation, NewInvitation};
pub use crate::key_rotation::KeyRotation;
pub use crate::lease::{Held, Lease, NextCommand};
pub use crate::maintenance::Maintenance;
pub use crate::org::{FirstOrg, Org};
pub use crate::org_key::{OrgKey, org_key_aad};
pub use crate::outbox::{Effect, OutboxBacklog, Outboxed, SettledAs};
pub use crate::policy::OrgPolicy;
pub use crate::profile::Profile;
pub use crate::project_source::{NewProjectSource, ProjectSource, ProjectSourceError, SourceOrigin, SourceRepository};
pub use crate::quota::{OF_TURNS as QUOTAS_OF_TURNS, Quota, QuotaRemoval, QuotaUse, UsedUp};
pub use crate::replay::{
    Beginning, DeliveriesReplayed, DeliveryNote, Extent, Lost, Notes, Other, OtherNote, Remembered, Replay, Replayed,
    SlotNote, SlotsReplayed,
};
pub use crate::role::{CustomRole, RoleDeletion};
pub use crate::run::Run;
pub use crate::session::{
    NewImport, NewSession, ProjectionStatus, RebuildError, Rebuilt, Session, SessionChange, SessionDetails,
    SessionSearch, SessionStart, StoredProjection,
};
pub use crate::sign_in::{NewSignIn, SignInError, SignedIn};
pub use crate::slot::Slot;
pub use crate::standing::{Standing, Standings};
pub use crate::subject::{EraseError, ErasedFor, Erasure, ErasureStep};
pub use crate::subscription::{NewSubscription, Subscription, SubscriptionChange};
pub use crate::token::{NewToken, Token};
pub use crate::trigger::{DueTrigger, PlannedSlots, SettledSlots, Trigger, TriggerSecret};
pub use crate::turn::{Finish, Spoken};
pub use crate::upload::{NewUpload, OPEN_UPLOADS_MAX, Upload, UploadError, UploadPart};
pub use crate::usage::{DayTotal, ModelTotal, UsageTotal};
pub use crate::wake::{EventsWaiter, Waiter, Wake, Wakes};
pub use crate::wall::{ROLE as RUNTIME_ROLE, Walls};
pub use crate::workflow::{NewWorkflow, Workflow, WorkflowChange, WorkflowError};

/// The schema's history. Applied by [`Store::migrate`].
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

/// The database, with the clock and randomness that rows are made from. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    pool: PgPool,
    /// For single statements.
    connections: Connections,
    wall: Wall,
    sources: Sources,
    wakes: Wakes,
    identities: Identities,
    uses: Uses,
    maintenance: LastLook,
    appends: Batcher<NewEvents>,
    ends: Batcher<End>,
    takings: Batcher<Taking>,
    news: Batcher<After>,
    views: Batcher<View>,
    lists: Batcher<List>,
}

/// Statements are prepared once per connection and planned once: ours are many-armed, so planning them costs more than
/// carrying them out, and none depends on its parameters' values for a good plan. Compiling them never pays.
const SETTINGS: [(&str, &str); 2] = [("plan_cache_mode", "force_generic_plan"), ("jit", "off")];

impl Store {
    /// Opens a pool to the database at `url` (`postgres://...`). At most `max_connections`, of which half are kept
    /// for single statements.
    ///
    /// # Errors
    /// If `url` is not one, or nobody answers there.
    pub async fn connect(url: &str, max_connections: u32, sources: Sources) -> Result<Self, ConnectError> {
        let options: PgConnectOptions = url.parse().map_err(ConnectError::Url)?;
        let options = options.options(SETTINGS);
        let pool = PgPoolOptions::new()
            .max_connections((max_connections - max_connections / 2).max(2))
            .connect_with(options)
            .await
            .map_err(ConnectError::Unreachable)?;
        Ok(Self::from_pool(pool, sources))
    }

    #[must_use]
    pub fn from_pool(pool: PgPool, sources: Sources) -> Self {
        let (options, limit) = (pool.connect_options().as_ref().clone(), pool.options().get_max_connections());
        let wall = Wall::default();
        let connections = Connections::new(options, limit, wall.clone());
        Self {
            pool,
            connections,
            wall,
            sources,
            wakes: Wakes::default(),
            identities: Identities::default(),
            uses: Uses::default(),
            maintenance: LastLook::default(),
            appends: Batcher::default(),
            ends: Batcher::default(),
            takings: Batcher::default(),
            news: Batcher::default(),
            views: Batcher::default(),
            lists: Batcher::default(),
        }
    }

    #[must_use]
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Brings the schema up to this build's, and raises the wall between tenants as far as this login may. Safe to run from several processes at once.
    ///
    /// # Errors
    /// If the database was migrated by a newer build, or a landed migration was edited.
    pub async fn migrate(&self) -> Result<(), ConnectError> {
        MIGRATIONS.run(&self.pool).await.map_err(ConnectError::Migrate)?;
        self.wall_raise().await
    }

    /// Waits for what is being done with the database, then lets go of it.
    pub async fn close(&self) {
        self.connections.close().await;
        self.pool.close().await;
    }

    /// The version of this build's schema: that of its newest migration.
    #[must_use]
    pub fn schema_version() -> i64 {
        MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
    }
}
