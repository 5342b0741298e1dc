//! Healthy backups come back equal; unhealthy sources and unfit targets are refused.

mod world;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use archive::manifest::Table;
use archive::{Archive, BackupError, Quiet, RestoreError, backup, catalogue, digest, probe, restore, verify};
use serde_json::Value;
use sqlx::{Connection, Executor, PgConnection};
use testkit::wait_until;
use world::{Target, World, chain, files};

async fn digests(url: &str, tables: &[Table]) -> Vec<Table> {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let mut seen = Vec::new();
    for table in tables {
        let digest = digest::table_digest(&mut connection, &table.sql).await.unwrap();
        seen.push(Table { rows: digest.rows, bytes: digest.bytes, digest: digest.digest, ..table.clone() });
    }
    seen
}

/// Everything that the manifest says must hold of the target.
async fn assert_restored(world: &World, target: &Target) {
    let backup = world.archive().read(world.archive().resolve("latest").unwrap()).unwrap();
    let (manifest, url) = (&backup.manifest, target.database.url());
    assert_eq!(digests(&url, &manifest.tables).await, manifest.tables);
    let mut connection = PgConnection::connect(&url).await.unwrap();
    assert_eq!(catalogue::lines(&mut connection).await.unwrap(), manifest.catalogue);
    for sequence in &manifest.sequences {
        let next = catalogue::sequence_next(&mut connection, &sequence.schema, &sequence.name).await.unwrap().unwrap();
        assert!((sequence.next_at_least..=sequence.next_at_most).contains(&next), "{sequence:?}: {next}");
    }
    for asked in manifest.probes.iter().filter(|probe| probe.recorded.is_some()) {
        let recorded: Vec<Value> = backup.probe_rows(&asked.name).unwrap().unwrap();
        let now = probe::rows(&mut connection, &asked.sql).await.unwrap();
        let now: Vec<Value> = now.iter().map(|row| serde_json::from_str(row).unwrap()).collect();
        assert_eq!(recorded, now, "{}", asked.name);
        assert_eq!(asked.recorded.as_ref().unwrap().rows, now.len() as u64);
    }
    for blob in backup.blobs().unwrap() {
        let (from, to) = (world.objects().join(&blob.key), target.objects().join(&blob.key));
        assert_eq!(std::fs::read(from).unwrap(), std::fs::read(to).unwrap());
    }
    assert_eq!(files(&target.objects()).len() as u64, manifest.blobs.count);
}

#[tokio::test]
async fn grants_and_policies_come_back_to_a_server_that_lacks_the_role() {
    let world = World::empty().await;
    let role = format!("reader_{}", world.database.name());
    let owned = |sql: &str| sqlx::AssertSqlSafe(sql.replace("READER", &role));
    let walled = "CREATE ROLE READER; GRANT SELECT ON blobs TO READER; ALTER TABLE blobs ENABLE ROW LEVEL SECURITY;
        CREATE POLICY mine ON blobs USING (org_id::text = current_setting('a.b', true))";
    world.database.pool().execute(owned(walled)).await.unwrap();
    let backup = world.backed_up().await;
    // The server of the target is the same, so the role is taken away in between.
    world.database.pool().execute(owned("DROP OWNED BY READER; DROP ROLE READER")).await.unwrap();
    let target = Target::fresh().await;
    target.restore(&backup).await.unwrap();
    assert_restored(&world, &target).await;
    let lines = backup.manifest.catalogue.iter();
    let told = lines.filter(|line| line.starts_with("policy public.blobs mine") || line.contains(&role)).count();
    assert_eq!(told, 2, "the backup has the policy and the grant");
    target.database.pool().execute(owned("DROP OWNED BY READER; DROP ROLE READER")).await.unwrap();
}

#[tokio::test]
async fn an_empty_system_comes_back_equal() {
    let world = World::empty().await;
    let backup = world.backed_up().await;
    let target = Target::fresh().await;
    target.restore(&backup).await.unwrap();
    assert_restored(&world, &target).await;
}

#[tokio::test]
async fn a_filled_system_comes_back_equal() {
    let world = World::filled(9).await;
    let backup = world.backed_up().await;
    let manifest = &backup.manifest;
    let target = Target::fresh().await;
    let done = target.restore(&backup).await.unwrap();
    assert_restored(&world, &target).await;
    assert_eq!((done.blobs, manifest.blobs.count), (9, 9));
    assert_eq!(manifest.table("events").unwrap().rows, 200);
    assert_eq!(manifest.system.generation, 1);
    assert_eq!(manifest.blobs.prefixes.len(), 1);
    assert_eq!(manifest.blobs.prefixes[0].prefix, format!("orgs/{}/g1/artifacts", world::ORG));
    let versions: BTreeMap<_, _> = manifest.key_versions.iter().map(|v| (v.version.as_str(), v.ciphertexts)).collect();
    assert_eq!(versions, BTreeMap::from([("1", 2)]));
}

#[tokio::test]
async fn what_is_written_after_the_snapshot_is_not_in_the_backup_nor_missed_by_its_digests() {
    let world = World::filled(3).await;
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let url = world.database.url();
    let writer = tokio::spawn(async move {
        let mut connection = PgConnection::connect(&url).await.unwrap();
        while stopped.try_recv().is_err() {
            let sql = "INSERT INTO audit_records (org_id, audit_id, actor, action, target, detail, recorded_at)
                SELECT org_id, gen_random_uuid(), 'a', 'b', 'c', '{}', now() FROM orgs";
            connection.execute(sql).await.unwrap();
        }
    });
    let backup = world.backed_up().await;
    stop.send(()).unwrap();
    writer.await.unwrap();
    let target = Target::fresh().await;
    target.restore(&backup).await.unwrap();
    assert_restored(&world, &target).await;
}

#[tokio::test]
async fn a_second_backup_copies_only_what_is_new() {
    let world = World::filled(6).await;
    // Six keys, three contents.
    let first = world.back_up().await.unwrap();
    assert_eq!(files(&world.archive_folder().join("blobs")).len(), 3);
    world.add_blob("artifacts/s/new", b"new").await;
    let second = world.back_up().await.unwrap();
    assert_eq!(second.blobs_new, 1);
    let backups = world.archive().backups().unwrap();
    assert_eq!(backups, [first.manifest.backup_id, second.manifest.backup_id]);
    assert_eq!(world.archive().resolve("latest").unwrap(), second.manifest.backup_id);
    for id in backups {
        verify(&world.archive().read(id).unwrap(), Arc::new(Quiet)).await.unwrap();
    }
}

#[tokio::test]
async fn two_backups_at_once_into_one_new_archive_are_both_whole() {
    let world = World::filled(40).await;
    let (one, two) = tokio::join!(world.back_up(), world.back_up());
    for done in [one.unwrap(), two.unwrap()] {
        let read = world.archive().read(done.manifest.backup_id).unwrap();
        verify(&read, Arc::new(Quiet)).await.unwrap();
    }
    assert_eq!(world.archive().backups().unwrap().len(), 2);
}

/// What is in the folder of backups and is none.
fn halves(world: &World) -> usize {
    let Ok(entries) = std::fs::read_dir(world.archive_folder().join("backups")) else { return 0 };
    entries.count() - world.archive().backups().unwrap().len()
}

#[tokio::test]
async fn a_backup_that_is_given_up_leaves_no_half_of_one() {
    let world = World::filled(40).await;
    // The snapshot, the dump, the blobs: given up at ever later points, until one is quick enough.
    for millis in (0..).map(|step| step * 16) {
        match tokio::time::timeout(Duration::from_millis(millis), world.back_up()).await {
            // A flush of the disk can't be interrupted; it is followed by the clean-up all the same.
            Err(_) => wait_until("nothing is left", async || halves(&world) == 0).await,
            Ok(done) => {
                done.unwrap();
                break;
            }
        }
    }
    // One may have been given up after it was whole.
    for id in world.archive().backups().unwrap() {
        verify(&world.archive().read(id).unwrap(), Arc::new(Quiet)).await.unwrap();
    }
}

#[tokio::test]
async fn what_a_killed_backup_left_is_swept_and_its_blobs_stay() {
    let world = World::filled(2).await;
    let folder = world.archive_folder();
    world.back_up().await.unwrap();
    let left = folder.join("backups/.incomplete-0192a000-0000-7000-8000-000000000009");
    std::fs::create_dir_all(left.join("incoming")).unwrap();
    std::fs::write(left.join("incoming/3"), "half").unwrap();
    let blob = folder.join("blobs/aa").join("a".repeat(64));
    std::fs::create_dir_all(blob.parent().unwrap()).unwrap();
    std::fs::write(&blob, "somebody's").unwrap();
    world.back_up().await.unwrap();
    assert!(!left.exists() && blob.exists());
}

#[tokio::test]
async fn a_source_that_has_lost_objects_is_not_backed_up() {
    let world = World::filled(4).await;
    let [first, second, third, _]: [PathBuf; 4] = files(&world.objects()).try_into().unwrap();
    std::fs::remove_file(world.objects().join(&first)).unwrap();
    std::fs::write(world.objects().join(&second), "longer than it was before").unwrap();
    let mut bytes = std::fs::read(world.objects().join(&third)).unwrap();
    bytes[0] ^= 1;
    std::fs::write(world.objects().join(&third), bytes).unwrap();
    let error = world.back_up().await.unwrap_err();
    assert!(matches!(&error, BackupError::Blobs { faults } if faults.count == 3), "{error}");
    let text = error.to_string();
    assert!(text.contains(&format!("{}: is missing", first.display())), "{text}");
    assert!(text.contains(&format!("{}: has 25 bytes", second.display())), "{text}");
    assert!(text.contains(&format!("{}: has another SHA-256", third.display())), "{text}");
    assert!(world.archive().backups().unwrap().is_empty());
}

#[tokio::test]
async fn a_database_that_is_not_ours_leaves_no_archive_behind() {
    let world = World::empty().await;
    let foreign = Target::fresh().await;
    let mut request = world.request();
    request.database_url = foreign.database.url();
    let error = backup(request, Arc::new(Quiet)).await.unwrap_err();
    assert!(matches!(error, BackupError::NotOurs(_)), "{error}");
    assert!(!world.archive_folder().exists());
}

#[tokio::test]
async fn a_database_of_another_schema_is_refused() {
    let world = World::empty().await;
    let mut request = world.request();
    request.spec.schema_version += 1;
    let error = backup(request, Arc::new(Quiet)).await.unwrap_err();
    assert!(matches!(error, BackupError::Schema { .. }), "{error}");
}

#[tokio::test]
async fn a_missing_pg_dump_is_named_and_leaves_nothing() {
    let world = World::empty().await;
    let mut request = world.request();
    request.tools.pg_dump = "/nowhere/pg_dump".into();
    let error = backup(request, Arc::new(Quiet)).await.unwrap_err();
    assert!(chain(&error).starts_with("the dump failed: pg_dump can't be started"), "{}", chain(&error));
    assert_eq!(std::fs::read_dir(world.archive_folder().join("backups")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_folder_that_holds_something_else_is_no_archive() {
    let world = World::empty().await;
    std::fs::create_dir(world.archive_folder()).unwrap();
    std::fs::write(world.archive_folder().join("thesis.txt"), "x").unwrap();
    assert!(matches!(world.back_up().await, Err(BackupError::Archive(_))));
    assert!(Archive::open(&world.archive_folder()).is_err());
    assert_eq!(files(&world.archive_folder()).len(), 1);
}

#[tokio::test]
async fn the_source_is_never_a_target() {
    let world = World::filled(1).await;
    let backup = world.backed_up().await;
    let onto_database = Target { database: world.database, folder: tempfile::tempdir().unwrap() };
    let error = onto_database.restore(&backup).await.unwrap_err();
    assert!(matches!(error, RestoreError::IsSource("database")), "{error}");

    let onto_objects = Target { database: testkit::TestDatabase::create().await, folder: world.folder };
    let error = onto_objects.restore(&backup).await.unwrap_err();
    assert!(matches!(error, RestoreError::IsSource("object folder")), "{error}");
}

#[tokio::test]
async fn a_target_that_is_not_empty_is_refused_untouched() {
    let world = World::filled(1).await;
    let backup = world.backed_up().await;
    let target = Target::fresh().await;
    target.database.pool().execute("CREATE TABLE mine (x int)").await.unwrap();
    let error = target.restore(&backup).await.unwrap_err();
    assert!(matches!(&error, RestoreError::DatabaseNotEmpty(what) if what.contains("public.mine")), "{error}");

    let target = Target::fresh().await;
    std::fs::create_dir(target.objects()).unwrap();
    std::fs::write(target.objects().join("mine"), "x").unwrap();
    let error = target.restore(&backup).await.unwrap_err();
    assert!(matches!(error, RestoreError::ObjectsNotEmpty), "{error}");
    assert_eq!(files(&target.objects()).len(), 1);
}

#[tokio::test]
async fn an_object_folder_that_can_not_be_is_refused_before_the_database_is_touched() {
    let world = World::filled(2).await;
    let backup = world.backed_up().await;
    let target = Target::fresh().await;
    std::fs::write(target.objects(), "a file where a folder should be").unwrap();
    let error = target.restore(&backup).await.unwrap_err();
    assert!(matches!(error, RestoreError::Objects(_)), "{error}");
    assert_eq!(files(target.folder.path()).len(), 1);
}

#[tokio::test]
async fn a_dump_that_can_not_be_loaded_leaves_the_target_as_it_was() {
    let world = World::filled(5).await;
    let backup = world.backed_up().await;
    let target = Target::fresh().await;
    let mut request = target.request(&backup);
    request.tools.pg_restore = "/bin/false".into();
    let error = restore(request, Arc::new(Quiet)).await.unwrap_err();
    assert!(matches!(error, RestoreError::Load(_)), "{error}");
    target.assert_untouched().await;
}
