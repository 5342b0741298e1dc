//! The codes of findings: one for each comparison that a check makes, stable, for programs.
//!
//! A row and a code together name one [`Comparison`]. The list here is the only one: a check can't report what is not
//! in it, and `docs/reference/finding-codes.md` repeats it.
//!
//! Not here: making the comparisons (`checks`).

use std::fmt;
use std::str::FromStr;

use super::check::CheckId;

macro_rules! codes {
    ($($name:ident = $text:literal in [$($row:ident),+]: $meaning:literal;)+) => {
        /// What a finding is about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $meaning] $name,)+
        }

        impl Code {
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// As it stands in reports.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// What is wrong, in a sentence without its names.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)+ }
            }

            /// The rows that can find it.
            #[must_use]
            pub fn rows(self) -> &'static [CheckId] {
                match self { $(Self::$name => &[$(CheckId::$row,)+],)+ }
            }
        }
    };
}

codes! {
    RestoreRefused = "restore_refused" in [PostgresRestore]: "the restore refuses the backup, because it is not whole";
    DumpEmpty = "dump_empty" in [PostgresRestore]: "the dump is an empty file";
    DumpTruncated = "dump_truncated" in [PostgresRestore]: "a plain dump does not end as pg_dump ends one";
    DumpBroken = "dump_broken" in [PostgresRestore]: "the dump can't be loaded";
    BackupDamaged = "backup_damaged" in [PostgresRestore]: "files of a physical backup are not as its own manifest or repository says";
    WalMissing = "wal_missing" in [PostgresRestore]: "archived WAL has a hole, or lacks what the backup needs";
    TargetUnreached = "target_unreached" in [PostgresRestore]: "the archived WAL ends before the instant to recover to";
    TargetBeforeBackup = "target_before_backup" in [PostgresRestore]: "the instant to recover to lies before the backup's end";
    ServerRefused = "server_refused" in [PostgresRestore]: "Postgres does not start from the restored files";
    ArchivingEnabled = "archiving_enabled" in [PostgresRestore]: "the restored server would archive WAL";
    NotOurs = "not_ours" in [PostgresRestore]: "what was restored is not a database of this system";
    OtherSchema = "other_schema" in [PostgresRestore]: "what was restored has a schema that this build does not know";
    DataUnreadable = "data_unreadable" in [PostgresRestore]: "restored rows can't be read";
    Expectation = "expectation" in [PostgresRestore]: "a number is not what the plan expects";
    BackupStale = "backup_stale" in [PostgresRestore]: "the backup is older than the plan allows";
    TableCount = "table_count" in [PostgresRestore]: "a table is missing, or has another number of rows than the backup";
    TableDigest = "table_digest" in [PostgresRestore]: "a table has as many rows as the backup, with another content";
    CatalogueMissing = "catalogue_missing" in [PostgresRestore]:
        "a column, default, constraint, index, grant or other definition of the backup is missing";
    CatalogueAdded = "catalogue_added" in [PostgresRestore]: "a definition is there that the backup did not have";
    SequenceValue = "sequence_value" in [PostgresRestore]: "a sequence would not go on where the backup's would";
    AuditChain = "audit_chain" in [PostgresRestore]: "an org's audit trail is not what was sealed";
    TenantWall = "tenant_wall" in [PostgresRestore]:
        "a table of tenants has no policy, another one, or a grant of the runtime role is missing";
    EngineComplaint = "engine_complaint" in [PostgresRestore]: "Postgres finds damage in a heap or an index";

    BlobMissing = "blob_missing" in [ObjectStoreRestore]: "a blob of the backup is missing";
    BlobSize = "blob_size" in [ObjectStoreRestore]: "a blob has another size than in the backup";
    BlobContent = "blob_content" in [ObjectStoreRestore]: "a blob has its size, and another content";
    BlobUnreadable = "blob_unreadable" in [ObjectStoreRestore]: "a blob can't be read";
    BlobOrphan = "blob_orphan" in [ObjectStoreRestore]: "an object is there that no row of the backup names";
    BlobUnnamed = "blob_unnamed" in [ObjectStoreRestore]: "no restored row names a blob as the backup did";
    BlobDangling = "blob_dangling" in [ObjectStoreRestore]: "a restored row names a blob that the backup does not have";
    BlobForeign = "blob_foreign" in [ObjectStoreRestore]: "a row of one org names a blob of another";
    CheckpointCount = "checkpoint_count" in [ObjectStoreRestore]: "another number of checkpoints than in the backup";
    CheckpointUnopened = "checkpoint_unopened" in [ObjectStoreRestore, WorkerRecovery]: "a checkpoint does not open";

    SecretMissing = "secret_missing" in [SecretReferences]: "a secret of the backup is not configured";
    SecretVersion = "secret_version" in [SecretReferences]: "a secret is configured in another version";
    SecretUnresolved = "secret_unresolved" in [SecretReferences, WebOnlyBoot]: "a secret's reference does not resolve";
    CiphertextCount = "ciphertext_count" in [SecretReferences]: "another number of ciphertexts than in the backup";
    CiphertextUnopened = "ciphertext_unopened" in [SecretReferences]:
        "a stored ciphertext does not open under the restored keys";
    PlaintextExported = "plaintext_exported" in [SecretReferences]: "a secret's value stands in the manifest or in what a command printed";

    RoleDidNotStart = "role_did_not_start" in [WebOnlyBoot, WorkerRecovery, SchedulerRecovery, GatewayRecovery]:
        "a role did not come up";
    RoleDied = "role_died" in [WebOnlyBoot, SessionProjectionParity, WorkerRecovery, SchedulerRecovery, GatewayRecovery]:
        "a role that was up has ended by itself";
    RoleNotIdle = "role_not_idle" in [WebOnlyBoot, SchedulerRecovery, GatewayRecovery]:
        "a role that was not started yet has done something, or is said to be there";
    Healthz = "healthz" in [WebOnlyBoot]: "`/healthz` does not say that all is well";
    HealthUnstable = "health_unstable" in [WebOnlyBoot]: "`/healthz` said that all is well, and did not go on to say so";
    SystemId = "system_id" in [WebOnlyBoot]: "the system says that it is another one";
    Generation = "generation" in [WebOnlyBoot]: "the system is not in the generation after the backup's";
    Environment = "environment" in [WebOnlyBoot]: "the copy does not know that it is a drill";
    SchemaVersion = "schema_version" in [WebOnlyBoot]: "the schema is at another version than the backup's";
    WebInstances = "web_instances" in [WebOnlyBoot]: "diagnostics counts another number of web roles than were started";
    DiagnosticsCount = "diagnostics_count" in [WebOnlyBoot]: "diagnostics counts a table's rows otherwise than the judge";
    MetricsSessions = "metrics_sessions" in [WebOnlyBoot]: "the metrics count sessions otherwise than the judge";
    MetricsGeneration = "metrics_generation" in [WebOnlyBoot]: "the metrics give another generation";
    TokenResurrected = "token_resurrected" in [WebOnlyBoot]: "a token that was out of force before the disaster is in force again";
    MemberResurrected = "member_resurrected" in [WebOnlyBoot]: "somebody who was removed or erased before the disaster is a member again";
    SubscriptionTerms = "subscription_terms" in [WebOnlyBoot]:
        "an org is on another plan than in the backup, or on none, or its plan counts as confirmed though nobody has said so since";
    PolicyTerms = "policy_terms" in [WebOnlyBoot]: "an org's policy is not the backup's, or does not keep out whom it kept out";
    KeyWithdrawn = "key_withdrawn" in [WebOnlyBoot]: "a key that was in force in the backup, and that nobody replaced since, is out of force or has another secret";
    KeyResurrected = "key_resurrected" in [WebOnlyBoot]: "a key that was replaced before the disaster is in force with the secret of before";
    IdentityTerms = "identity_terms" in [WebOnlyBoot]: "a person in a chat may do something else there than in the backup, or is another member";
    IdentityResurrected = "identity_resurrected" in [WebOnlyBoot, GatewayRecovery]:
        "a person who was disabled in a chat before the disaster may act there";
    ChannelReopened = "channel_reopened" in [WebOnlyBoot, GatewayRecovery]:
        "a channel that was closed for good before the disaster is open";
    SourceReachable = "source_reachable" in [WebOnlyBoot]: "the lost system or production answers where the restored one runs";
    NotReadOnly = "not_read_only" in [WebOnlyBoot]: "maintenance does not begin, hold or end as it should";
    NotQuiet = "not_quiet" in [WebOnlyBoot]: "something moved although only the web role was there";

    SessionAdded = "session_added" in [SessionProjectionParity]: "a session has rows that the backup did not have";
    SessionMissing = "session_missing" in [SessionProjectionParity]: "a session has lost its projection or all its events";
    EventDamage = "event_damage" in [SessionProjectionParity]: "a session's events have a hole or a repeat, or can't be read";
    EventSequence = "event_sequence" in [SessionProjectionParity]: "a session's events end elsewhere than in the backup";
    ProjectionSequence = "projection_sequence" in [SessionProjectionParity]: "a projection does not stand at its session's last event";
    ProjectionContent = "projection_content" in [SessionProjectionParity]: "a projection is not what its events add up to";
    SessionListed = "session_listed" in [SessionProjectionParity]: "the API does not list a session at its last event";
    SessionCount = "session_count" in [SessionProjectionParity]: "the API lists another number of sessions";
    ProjectionServed = "projection_served" in [SessionProjectionParity]: "the API serves a session that is behind its last event";

    SubjectResurrected = "subject_resurrected" in [SessionProjectionParity, ArtifactMetadata]:
        "rows or files tell of a person who was erased before the disaster";

    ArtifactMetadata = "artifact_metadata" in [ArtifactMetadata]: "an artifact is not listed as the backup had it";
    ArtifactCount = "artifact_count" in [ArtifactMetadata]: "the API lists another number of artifacts";
    ArtifactContent = "artifact_content" in [ArtifactMetadata]: "an artifact downloads with other bytes";
    ArtifactUnavailable = "artifact_unavailable" in [ArtifactMetadata]: "an artifact can't be downloaded";

    CommandLost = "command_lost" in [WorkerRecovery]: "a command was acknowledged before the backup and is not in it";
    SmokeUnfinished = "smoke_unfinished" in [WorkerRecovery]: "a worker was there, and nobody carried the smoke prompt out";
    SmokeOutcome = "smoke_outcome" in [WorkerRecovery]: "the smoke prompt was not carried out well";
    SmokeSequence = "smoke_sequence" in [WorkerRecovery]: "the smoke prompt's events have a hole or a repeat";
    SmokeEvents = "smoke_events" in [WorkerRecovery]: "the smoke prompt lacks an event";
    SmokeProjection = "smoke_projection" in [WorkerRecovery]: "after the smoke prompt the projection is not at the last event";
    WorkspaceLost = "workspace_lost" in [WorkerRecovery]: "the agent did not find what it had saved before the backup";
    LinkLost = "link_lost" in [WorkerRecovery]: "a link that was saved before the backup is not in the workspace, or leads elsewhere";
    CheckpointSaved = "checkpoint_saved" in [WorkerRecovery]: "a turn was acknowledged without a checkpoint";
    RequestAnsweredTwice = "request_answered_twice" in [WorkerRecovery]: "a request that was answered before the disaster can be answered again";
    SourceLost = "source_lost" in [WorkerRecovery]: "a session that had done nothing does not begin with the files of its project source";
    SteeringUnheard = "steering_unheard" in [WorkerRecovery]: "a prompt that steers was not heard, once, by the turn that it waited for";
    SteeringRepeated = "steering_repeated" in [WorkerRecovery]: "a prompt that had steered a turn before the backup is carried out again";
    StaleTakeover = "stale_takeover" in [WorkerRecovery]: "nobody finished the turn of a worker that slept";
    StaleAttempts = "stale_attempts" in [WorkerRecovery]: "the turn of a worker that slept was not begun again";
    StaleTokenAccepted = "stale_token_accepted" in [WorkerRecovery]: "a worker that overslept its lease was not refused";
    StaleWrite = "stale_write" in [WorkerRecovery]: "a worker that overslept its lease wrote";

    RunMissing = "run_missing" in [SchedulerRecovery]: "a run of the backup is not listed";
    SlotWithoutRun = "slot_without_run" in [SchedulerRecovery]: "a slot had fired and has no run";
    SlotFiredTwice = "slot_fired_twice" in [SchedulerRecovery]: "a slot fired twice";
    SlotFiredAgain = "slot_fired_again" in [SchedulerRecovery]: "a slot fired that had fired before the disaster";
    SlotForgotten = "slot_forgotten" in [SchedulerRecovery]: "a slot fired before the disaster, and the restored system does not know of it";
    HeldSlot = "held_slot" in [SchedulerRecovery]: "a workflow that was resumed did not fire exactly its newest missed slot";
    MissedSlotFired = "missed_slot_fired" in [SchedulerRecovery]: "a slot fired that was missed and was to be skipped";
    SlotLost = "slot_lost" in [SchedulerRecovery]: "a slot fell due and did not fire";

    CursorAhead = "cursor_ahead" in [GatewayRecovery]: "a delivery cursor stands after its session's last event";
    CursorBehind = "cursor_behind" in [GatewayRecovery]: "a delivery cursor stands before a message that was rendered already";
    SmokeUnanswered = "smoke_unanswered" in [GatewayRecovery]: "a new message was not answered";
    Signature = "signature" in [GatewayRecovery]: "a delivery is not signed as its receiver expects";
    InboundTakenTwice = "inbound_taken_twice" in [GatewayRecovery]: "a message that was accepted before is taken again";
    CallTakenTwice = "call_taken_twice" in [GatewayRecovery]: "a call of a workflow that was accepted before is taken again";
    CallRefused = "call_refused" in [GatewayRecovery]: "a call of a workflow is refused that is signed with a secret in force";
    TriggerSecretResurrected = "trigger_secret_resurrected" in [GatewayRecovery]: "a trigger's secret signs calls that was replaced before the disaster";
    IdentityRefused = "identity_refused" in [GatewayRecovery]: "a person who may decide in a chat is refused there";
    QuestionTokenInForce = "question_token_in_force" in [GatewayRecovery]: "a token that the lost system gave out decides what an agent asks";
    QuestionLost = "question_lost" in [GatewayRecovery]: "a question that was open in the backup is not known as one that the API decides, or the API does not decide it";
    DecisionForgotten = "decision_forgotten" in [GatewayRecovery]: "a question that was decided by chat before the disaster is not known as decided, or can be decided again";
    Retry = "retry" in [GatewayRecovery]: "a dead letter was retried and did not arrive";
    DeadLetter = "dead_letter" in [GatewayRecovery]: "a delivery was set aside and is not a dead letter";
    DeliveryDuplicated = "delivery_duplicated" in [GatewayRecovery]: "a delivery arrived more than once";
    DeliverySentAgain = "delivery_sent_again" in [GatewayRecovery]: "a delivery was sent before the backup, and went out again";
    DeliveryRepeated = "delivery_repeated" in [GatewayRecovery]: "a delivery that had arrived went out again to a receiver that sees a repeat";
    DeliveryForgotten = "delivery_forgotten" in [GatewayRecovery]: "a delivery that was answered after the backup, long before the disaster, went out again";
    DeliveryNotHeld = "delivery_not_held" in [GatewayRecovery]: "a delivery that may have arrived was sent to a receiver that would see a repeat";
    DeliveryHeldNeedlessly = "delivery_held_needlessly" in [GatewayRecovery]: "a delivery is held for a person whose fate is known";
    DeliveryUnexplained = "delivery_unexplained" in [GatewayRecovery]: "a delivery arrived that nothing in the backup leads to";
    DeliveryNeverArrived = "delivery_never_arrived" in [GatewayRecovery]: "the backup knows a delivery as sent that never arrived";
    DeliveryLost = "delivery_lost" in [GatewayRecovery]: "a delivery was pending in the backup and did not arrive";
    OutOfOrder = "out_of_order" in [GatewayRecovery]: "deliveries of one thread arrived out of order";
    ReachedDestination = "reached_destination" in [GatewayRecovery]: "a delivery of the copy was not redirected";

    CanaryFound = "canary_found" in [Redaction]: "an output holds a canary";
    PositiveControl = "positive_control" in [Redaction]: "a canary that was planted for the scanner was not found";
}

impl Code {
    /// Those that only a drill of a plan can find: a rehearsal has neither such a backup nor expectations.
    pub const OF_PLANS: &[Self] = &[
        Self::DumpEmpty,
        Self::DumpTruncated,
        Self::DumpBroken,
        Self::BackupDamaged,
        Self::WalMissing,
        Self::TargetUnreached,
        Self::TargetBeforeBackup,
        Self::ServerRefused,
        Self::ArchivingEnabled,
        Self::NotOurs,
        Self::OtherSchema,
        Self::DataUnreadable,
        Self::Expectation,
        Self::BackupStale,
    ];
}

/// One comparison of one row: what can be disabled to see whether anything depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Comparison {
    pub row: CheckId,
    pub code: Code,
}

impl Comparison {
    /// Every comparison that the judge makes.
    pub fn all() -> impl Iterator<Item = Self> {
        let rows = |code: Code| code.rows().iter().map(move |row| Self { row: *row, code });
        Code::ALL.iter().flat_map(move |code| rows(*code))
    }
}

/// `postgres-restore:table_count`
impl fmt::Display for Comparison {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.row.as_str(), self.code.as_str())
    }
}

/// No comparison has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no comparison is called {0:?}; they are called like postgres-restore:table_count")]
pub struct UnknownComparison(String);

impl FromStr for Comparison {
    type Err = UnknownComparison;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::all().find(|known| known.to_string() == text).ok_or_else(|| UnknownComparison(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_codes_have_one_name() {
        let names: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), Code::ALL.len());
    }

    #[test]
    fn a_comparison_is_found_by_its_name() {
        for comparison in Comparison::all() {
            assert_eq!(comparison.to_string().parse(), Ok(comparison));
        }
        assert!("postgres-restore:canary_found".parse::<Comparison>().is_err());
    }

    #[test]
    fn the_reference_lists_every_code_and_no_other() {
        let reference = include_str!("../../../../docs/reference/finding-codes.md");
        let listed: Vec<&str> = reference.lines().filter(|line| line.starts_with("| `")).collect();
        let expected: Vec<String> = Code::ALL.iter().map(|code| line(*code)).collect();
        assert_eq!(listed, expected, "docs/reference/finding-codes.md has to say:\n{}", expected.join("\n"));
    }

    fn line(code: Code) -> String {
        let rows: Vec<_> = code.rows().iter().map(|row| (*row as usize + 1).to_string()).collect();
        format!("| `{}` | {} | {} |", code.as_str(), rows.join(", "), code.meaning())
    }
}
