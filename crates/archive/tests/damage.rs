//! The damage matrix: every file of a backup, hurt in every way. Neither verifying nor restoring may overlook it, the
//! file must be named, and the target must not have been touched.

mod world;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use archive::{Archive, ArchiveError, Backup, Quiet, RestoreError, VerifyError, verify};
use ids::BackupId;
use world::{Target, World, chain, files};

/// What is done to a file, and what that is called.
type Action = (&'static str, fn(&Path));

const ACTIONS: [Action; 4] = [
    ("truncated", |path| {
        let length = fs::metadata(path).unwrap().len();
        fs::OpenOptions::new().write(true).open(path).unwrap().set_len(length - 1).unwrap();
    }),
    ("emptied", |path| fs::write(path, "").unwrap()),
    ("one byte flipped", |path| {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    }),
    ("removed", |path| fs::remove_file(path).unwrap()),
];

/// Reads and verifies as a user would; `Err` says what they would see.
async fn inspect(folder: &Path, id: BackupId) -> Result<Backup, String> {
    let archive = Archive::open(folder).map_err(|error| chain(&error))?;
    let backup = archive.read(id).map_err(|error| chain(&error))?;
    verify(&backup, Arc::new(Quiet)).await.map_err(|error| chain(&error))?;
    Ok(backup)
}

/// Hurts the file, looks, and heals it.
async fn hurt(folder: &Path, id: BackupId, file: &Path, act: fn(&Path)) -> Result<(), String> {
    let path = folder.join(file);
    let healthy = fs::read(&path).unwrap();
    act(&path);
    let outcome = inspect(folder, id).await.map(drop);
    fs::write(&path, healthy).unwrap();
    outcome
}

#[tokio::test]
async fn every_file_hurt_in_every_way_is_found_and_named() {
    let world = World::filled(4).await;
    let id = world.backed_up().await.id();
    let folder = world.archive_folder();
    let all = files(&folder);
    assert!(all.len() > 15, "{all:?}");
    for file in &all {
        for (name, act) in ACTIONS {
            // An empty file can't get any emptier: the answer of a probe that found nothing.
            let empty = fs::metadata(folder.join(file)).unwrap().len() == 0;
            if empty && name != "removed" {
                continue;
            }
            let error = hurt(&folder, id, file, act).await.expect_err(&format!("{} {name}", file.display()));
            let file_name = file.file_name().unwrap().to_str().unwrap();
            assert!(error.contains(file_name), "{} {name}: {error}", file.display());
        }
    }
    inspect(&folder, id).await.unwrap();
}

#[tokio::test]
async fn a_restore_of_a_hurt_backup_touches_nothing() {
    let world = World::filled(4).await;
    let backup = world.backed_up().await;
    let folder = world.archive_folder();
    let target = Target::fresh().await;
    let below: PathBuf = format!("backups/{}", backup.id()).into();
    let hurtable = files(&folder).into_iter().filter(|file| {
        let read_again = file.starts_with("blobs") || file.starts_with(&below);
        let named = ["database.dump", "blobs.jsonl", "sessions.jsonl"].iter().any(|name| file.ends_with(name));
        read_again && (named || file.starts_with("blobs"))
    });
    for file in hurtable {
        for (name, act) in ACTIONS {
            let path = folder.join(&file);
            let healthy = fs::read(&path).unwrap();
            act(&path);
            let error = target.restore(&backup).await.expect_err(&format!("{} {name}", file.display()));
            assert!(matches!(error, RestoreError::Backup(_)), "{} {name}: {error}", file.display());
            target.assert_untouched().await;
            fs::write(&path, healthy).unwrap();
        }
    }
    target.restore(&backup).await.unwrap();
}

#[tokio::test]
async fn a_blob_that_was_exchanged_for_another_of_its_size_is_found() {
    let world = World::filled(0).await;
    world.add_blob("artifacts/a", b"one").await;
    let backup = world.backed_up().await;
    let blob = world.archive().blob(&backup.blobs().unwrap()[0].sha256);
    fs::write(blob, "two").unwrap();
    let error = verify(&backup, Arc::new(Quiet)).await.unwrap_err();
    assert!(matches!(&error, VerifyError::Blobs { faults } if faults.count == 1), "{error}");
    assert!(error.to_string().contains("another SHA-256"), "{error}");
}

#[tokio::test]
async fn a_newer_format_is_refused_as_newer_not_as_damaged() {
    let world = World::empty().await;
    let id = world.backed_up().await.id();
    let folder = world.archive_folder();
    let manifest = folder.join(format!("backups/{id}/manifest.json"));
    let text = fs::read_to_string(&manifest).unwrap();
    // Fields that this build has never heard of, and no sum that it would understand.
    let newer = text.replacen("\"version\": 1,", "\"version\": 2, \"novelty\": {},", 1);
    assert_ne!(newer, text);
    fs::write(&manifest, newer).unwrap();
    let error = Archive::open(&folder).unwrap().read(id).unwrap_err();
    assert!(matches!(error, ArchiveError::Newer { found: 2, ours: 1, .. }), "{error}");
    assert!(error.to_string().contains("manifest.json has format version 2"), "{error}");
    assert_eq!(error.advice(), "use the build that made it, or a later one");

    let file = folder.join("archive.json");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen("\"version\": 1,", "\"version\": 9,", 1)).unwrap();
    assert!(matches!(Archive::open(&folder), Err(ArchiveError::Newer { found: 9, .. })));
    assert!(world.back_up().await.is_err());
}

#[tokio::test]
async fn a_manifest_that_was_edited_with_its_sum_left_alone_is_damaged() {
    let world = World::empty().await;
    let id = world.backed_up().await.id();
    let manifest = world.archive_folder().join(format!("backups/{id}/manifest.json"));
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replacen("\"rows\": 1,", "\"rows\": 2,", 1)).unwrap();
    let error = world.archive().read(id).unwrap_err();
    assert!(error.to_string().contains("does not agree with manifest.sha256"), "{error}");
}

#[tokio::test]
async fn the_latest_backup_is_not_silently_passed_over_when_it_is_damaged() {
    let world = World::empty().await;
    world.back_up().await.unwrap();
    let second = world.back_up().await.unwrap().manifest.backup_id;
    fs::remove_file(world.archive_folder().join(format!("backups/{second}/manifest.json"))).unwrap();
    let archive = world.archive();
    let latest = archive.resolve("latest").unwrap();
    assert_eq!(latest, second);
    assert!(archive.read(latest).unwrap_err().to_string().contains("manifest.json is damaged: it is missing"));
}
