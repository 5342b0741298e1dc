//! Objects, and the rows that name them.

use super::super::act::{Act, Change};
use super::super::fault::Step::{After, Backup, EarlierBackup, Source};
use super::super::fault::{Fault, found};
use super::super::harm::Harm;
use crate::report::CheckId as Row;
use crate::report::Code;

pub(super) const FAULTS: &[Fault] = &[
    Fault::new(
        "blob-missing",
        "the object of an artifact is gone",
        &[After(
            "restore",
            Act::Object {
                key: "SELECT blob_key FROM artifacts WHERE name LIKE 'report-%' ORDER BY artifact_id LIMIT 1",
                change: Change::Remove,
            },
        )],
        &[found(Row::ObjectStoreRestore, Code::BlobMissing), found(Row::ArtifactMetadata, Code::ArtifactUnavailable)],
    ),
    Fault::new(
        "blob-truncated",
        "half of the object of an artifact is gone",
        &[After(
            "restore",
            Act::Object {
                key: "SELECT blob_key FROM artifacts WHERE name LIKE 'report-%' ORDER BY artifact_id LIMIT 1",
                change: Change::Truncate,
            },
        )],
        &[found(Row::ObjectStoreRestore, Code::BlobSize), found(Row::ArtifactMetadata, Code::ArtifactUnavailable)],
    ),
    Fault::new(
        "blob-flipped",
        "a bit in the object of an artifact",
        &[After(
            "restore",
            Act::Object {
                key: "SELECT blob_key FROM artifacts WHERE name LIKE 'report-%' ORDER BY artifact_id LIMIT 1",
                change: Change::Flip,
            },
        )],
        &[found(Row::ObjectStoreRestore, Code::BlobContent), found(Row::ArtifactMetadata, Code::ArtifactUnavailable)],
    ),
    Fault::new(
        "blob-swapped",
        "two artifacts of one size change objects",
        &[After(
            "restore",
            Act::Swap {
                one: "SELECT blob_key FROM artifacts WHERE name LIKE 'report-%' ORDER BY artifact_id LIMIT 1",
                other: "SELECT blob_key FROM artifacts WHERE name LIKE 'report-%' ORDER BY artifact_id OFFSET 1 \
                        LIMIT 1",
            },
        )],
        &[found(Row::ObjectStoreRestore, Code::BlobContent), found(Row::ArtifactMetadata, Code::ArtifactUnavailable)],
    ),
    Fault::new(
        "blob-unreadable",
        "a folder stands where an object was",
        &[After(
            "restore",
            Act::Object {
                key: "SELECT blob_key FROM artifacts WHERE name LIKE 'report-%' ORDER BY artifact_id LIMIT 1",
                change: Change::Folder,
            },
        )],
        &[
            found(Row::ObjectStoreRestore, Code::BlobUnreadable),
            found(Row::ArtifactMetadata, Code::ArtifactUnavailable),
        ],
    ),
    Fault::new(
        "blob-extra",
        "an object that no row names",
        &[After("restore", Act::Put { key: "SELECT 'orgs/' || org_id || '/g1/artifacts/nobodys' FROM orgs LIMIT 1" })],
        &[found(Row::ObjectStoreRestore, Code::BlobOrphan)],
    ),
    Fault::new(
        "blob-of-another-tenant",
        "an artifact of one org names the object of another, with a row that agrees",
        &[Source(Act::Sql(
            "INSERT INTO blobs SELECT (SELECT org_id FROM orgs o WHERE o.org_id <> b.org_id ORDER BY 1 \
             LIMIT 1), b.blob_key, b.size, b.sha256, b.created_at FROM blobs b WHERE blob_key = (SELECT \
             blob_key FROM artifacts WHERE name LIKE 'report-%' ORDER BY artifact_id LIMIT 1); UPDATE \
             artifacts a SET blob_key = (SELECT blob_key FROM artifacts WHERE name LIKE 'report-%' ORDER \
             BY artifact_id LIMIT 1) WHERE artifact_id = (SELECT artifact_id FROM artifacts x WHERE \
             x.org_id = (SELECT org_id FROM orgs o WHERE o.org_id <> (SELECT org_id FROM blobs WHERE \
             blob_key = (SELECT blob_key FROM artifacts WHERE name LIKE 'report-%' ORDER BY artifact_id \
             LIMIT 1) ORDER BY created_at LIMIT 1) ORDER BY 1 LIMIT 1) ORDER BY 1 LIMIT 1)",
        ))],
        &[found(Row::ObjectStoreRestore, Code::BlobForeign)],
    ),
    Fault::new(
        "blob-row-lost",
        "an artifact loses its rows, and its object stays",
        &[After(
            "restore",
            Act::Sql(
                "DELETE FROM artifacts WHERE blob_key = (SELECT blob_key FROM artifacts WHERE name LIKE \
                 'report-%' ORDER BY artifact_id LIMIT 1); DELETE FROM blobs WHERE NOT EXISTS (SELECT FROM \
                 artifacts a WHERE a.blob_key = blobs.blob_key) AND NOT EXISTS (SELECT FROM checkpoint_blobs \
                 c WHERE c.blob_key = blobs.blob_key) AND NOT EXISTS (SELECT FROM checkpoints c WHERE \
                 c.manifest_key = blobs.blob_key) AND NOT EXISTS (SELECT FROM project_sources s WHERE s.blob_key = \
                 blobs.blob_key)",
            ),
        )],
        &[
            found(Row::PostgresRestore, Code::TableCount),
            found(Row::ObjectStoreRestore, Code::BlobUnnamed),
            found(Row::ArtifactMetadata, Code::ArtifactMetadata),
            found(Row::ArtifactMetadata, Code::ArtifactCount),
            found(Row::ArtifactMetadata, Code::ArtifactUnavailable),
        ],
    ),
    Fault::new(
        "checkpoint-missing",
        "the manifest of a checkpoint is gone",
        &[After(
            "restore",
            Act::Object {
                key: "SELECT manifest_key FROM checkpoints WHERE session_id = (SELECT session_id FROM sessions \
                      WHERE title LIKE 'Report %' ORDER BY session_id LIMIT 1) ORDER BY sequence DESC LIMIT 1",
                change: Change::Remove,
            },
        )],
        &[found(Row::ObjectStoreRestore, Code::BlobMissing), found(Row::ObjectStoreRestore, Code::CheckpointUnopened)],
    ),
    Fault::new(
        "checkpoint-unauthentic",
        "a bit in the manifest of a checkpoint, with a row that agrees",
        &[Source(Act::ForgeObject {
            key: "SELECT manifest_key FROM checkpoints WHERE session_id = (SELECT session_id FROM sessions \
                  WHERE title LIKE 'Report %' ORDER BY session_id LIMIT 1) ORDER BY sequence DESC LIMIT 1",
        })],
        &[found(Row::ObjectStoreRestore, Code::CheckpointUnopened)],
    ),
    Fault::new(
        "checkpoint-older-than-its-row",
        "a checkpoint's row claims one event more than its manifest covers",
        &[Source(Act::Sql(
            "UPDATE checkpoints SET sequence = sequence + 1 WHERE manifest_key = (SELECT manifest_key \
             FROM checkpoints WHERE session_id = (SELECT session_id FROM sessions WHERE title LIKE \
             'Report %' ORDER BY session_id LIMIT 1) ORDER BY sequence DESC LIMIT 1)",
        ))],
        &[found(Row::ObjectStoreRestore, Code::CheckpointUnopened)],
    ),
    Fault::new(
        "checkpoint-newer-than-its-row",
        "a checkpoint's row claims one event less than its manifest covers",
        &[Source(Act::Sql(
            "UPDATE checkpoints SET sequence = sequence - 1 WHERE manifest_key = (SELECT manifest_key \
             FROM checkpoints WHERE session_id = (SELECT session_id FROM sessions WHERE title LIKE \
             'Report %' ORDER BY session_id LIMIT 1) ORDER BY sequence DESC LIMIT 1)",
        ))],
        &[found(Row::ObjectStoreRestore, Code::CheckpointUnopened)],
    ),
    Fault::new(
        "checkpoint-of-another-session",
        "a checkpoint's row names the manifest of another session",
        &[Source(Act::Sql(
            "UPDATE checkpoints SET manifest_key = (SELECT manifest_key FROM checkpoints c WHERE \
             c.org_id = checkpoints.org_id AND c.session_id <> checkpoints.session_id LIMIT 1) WHERE \
             manifest_key = (SELECT manifest_key FROM checkpoints WHERE session_id = (SELECT session_id \
             FROM sessions WHERE title LIKE 'Report %' ORDER BY session_id LIMIT 1) ORDER BY sequence \
             DESC LIMIT 1)",
        ))],
        &[found(Row::ObjectStoreRestore, Code::CheckpointUnopened)],
    ),
    Fault::new(
        "checkpoint-row-lost",
        "the rows of a session's checkpoints are gone",
        &[After(
            "restore",
            Act::Sql(
                "UPDATE sessions SET checkpoint_id = NULL WHERE session_id = (SELECT session_id FROM \
                 sessions WHERE title LIKE 'Report %' ORDER BY session_id LIMIT 1); DELETE FROM \
                 checkpoint_blobs WHERE checkpoint_id IN (SELECT checkpoint_id FROM checkpoints WHERE \
                 session_id = (SELECT session_id FROM sessions WHERE title LIKE 'Report %' ORDER BY \
                 session_id LIMIT 1)); DELETE FROM checkpoints WHERE session_id = (SELECT session_id FROM \
                 sessions WHERE title LIKE 'Report %' ORDER BY session_id LIMIT 1)",
            ),
        )],
        &[
            found(Row::PostgresRestore, Code::TableCount),
            found(Row::PostgresRestore, Code::TableDigest),
            found(Row::ObjectStoreRestore, Code::CheckpointCount),
        ],
    ),
    Fault::new(
        "objects-older-than-rows",
        "the list of objects of an earlier backup under this dump, sealed again; an artifact came in \
         between",
        &[EarlierBackup, Source(Act::AddArtifact), Backup(Harm::ForgeObjects)],
        &[found(Row::ObjectStoreRestore, Code::BlobDangling), found(Row::ArtifactMetadata, Code::ArtifactUnavailable)],
    ),
    Fault::new(
        "objects-newer-than-rows",
        "an earlier dump under this list of objects, sealed again; an artifact came in between",
        &[EarlierBackup, Source(Act::AddArtifact), Backup(Harm::ForgeDump)],
        &[
            found(Row::PostgresRestore, Code::TableCount),
            found(Row::ObjectStoreRestore, Code::BlobUnnamed),
            found(Row::ArtifactMetadata, Code::ArtifactMetadata),
            found(Row::ArtifactMetadata, Code::ArtifactCount),
            found(Row::ArtifactMetadata, Code::ArtifactUnavailable),
        ],
    ),
];
