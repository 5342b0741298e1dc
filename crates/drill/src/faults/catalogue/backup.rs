//! Backups that are damaged, forged or gone.

use super::super::act::{Act, Change};
use super::super::fault::Step::{Backup, EarlierBackup, Source};
use super::super::fault::{Fault, Told, found, unknown};
use super::super::harm::Harm;
use crate::report::CheckId as Row;
use crate::report::Code;

/// The restore says so, and nothing else can be looked at.
const REFUSED: &[Told] = &[
    found(Row::PostgresRestore, Code::RestoreRefused),
    unknown(Row::ObjectStoreRestore),
    unknown(Row::SecretReferences),
    unknown(Row::WebOnlyBoot),
    unknown(Row::SessionProjectionParity),
    unknown(Row::ArtifactMetadata),
    unknown(Row::WorkerRecovery),
    unknown(Row::SchedulerRecovery),
    unknown(Row::GatewayRecovery),
    unknown(Row::Redaction),
];

/// There is nothing to restore: no row can be looked at.
const NOTHING_KNOWN: &[Told] = &[
    unknown(Row::PostgresRestore),
    unknown(Row::ObjectStoreRestore),
    unknown(Row::SecretReferences),
    unknown(Row::WebOnlyBoot),
    unknown(Row::SessionProjectionParity),
    unknown(Row::ArtifactMetadata),
    unknown(Row::WorkerRecovery),
    unknown(Row::SchedulerRecovery),
    unknown(Row::GatewayRecovery),
    unknown(Row::Redaction),
];

const fn file(path: &'static str, change: Change) -> super::super::fault::Step {
    Backup(Harm::File { path, change })
}

pub(super) const FAULTS: &[Fault] = &[
    Fault::new("dump-truncated", "half of the dump is gone", &[file("database.dump", Change::Truncate)], REFUSED),
    Fault::new("dump-empty", "the dump has no byte", &[file("database.dump", Change::Empty)], REFUSED),
    Fault::new("dump-flipped", "a bit in the dump", &[file("database.dump", Change::Flip)], REFUSED),
    Fault::new("dump-missing", "the dump is gone", &[file("database.dump", Change::Remove)], REFUSED),
    Fault::new("manifest-truncated", "half of the manifest", &[file("manifest.json", Change::Truncate)], REFUSED),
    Fault::new("manifest-flipped", "a bit in the manifest", &[file("manifest.json", Change::Flip)], REFUSED),
    Fault::new("manifest-unsealed", "the manifest's hash is gone", &[file("manifest.sha256", Change::Remove)], REFUSED),
    Fault::new("probe-flipped", "a bit in a recorded answer", &[file("probes/sessions.jsonl", Change::Flip)], REFUSED),
    Fault::new("blob-list-truncated", "half of the list of blobs", &[file("blobs.jsonl", Change::Truncate)], REFUSED),
    Fault::new(
        "archived-blob-missing",
        "a blob of the archive is gone",
        &[Backup(Harm::Blob { change: Change::Remove })],
        REFUSED,
    ),
    Fault::new(
        "archived-blob-truncated",
        "half of a blob of the archive",
        &[Backup(Harm::Blob { change: Change::Truncate })],
        REFUSED,
    ),
    Fault::new(
        "archived-blob-flipped",
        "a bit in a blob of the archive",
        &[Backup(Harm::Blob { change: Change::Flip })],
        REFUSED,
    ),
    Fault::new(
        "archive-description-damaged",
        "archive.json is cut in half",
        &[Backup(Harm::Archive { change: Change::Truncate })],
        REFUSED,
    ),
    Fault::new("backup-gone", "the backup's folder is gone", &[Backup(Harm::Gone)], NOTHING_KNOWN),
    Fault::new(
        "dump-of-an-earlier-backup",
        "an earlier dump under this manifest, sealed again; a usage record was added in between",
        &[
            EarlierBackup,
            Source(Act::Sql(
                "INSERT INTO usage_records SELECT org_id, gen_random_uuid(), gen_random_uuid(), kind, quantity, now()
                 FROM usage_records LIMIT 1",
            )),
            Backup(Harm::ForgeDump),
        ],
        &[found(Row::PostgresRestore, Code::TableCount)],
    ),
];
