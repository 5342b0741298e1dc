//! A checkpoint comes back as it was saved, or not at all.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;

mod formats;
mod hostile;
mod kinds;

struct World {
    folder: TempDir,
    objects: Objects,
    key: CheckpointKey,
    name: CheckpointName,
}

fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let objects = Objects::open_folder(&folder.path().join("objects")).unwrap();
    let id = Uuid::from_u128;
    let name = CheckpointName { org: id(1).into(), session: id(2).into(), checkpoint: id(3).into() };
    fs::create_dir_all(folder.path().join("workspace/a/empty")).unwrap();
    fs::write(folder.path().join("workspace/a/notes.txt"), "hello").unwrap();
    fs::write(folder.path().join("workspace/same.txt"), "hello").unwrap();
    fs::write(folder.path().join("workspace/run.sh"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(folder.path().join("workspace/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    World { folder, objects, key: CheckpointKey::new(&[7; 32]), name }
}

impl World {
    fn saved() -> Saved {
        Saved { sequence: 9, state: json!({"turns": 2}), left_out: LeftOut::default() }
    }

    fn workspace(&self) -> PathBuf {
        self.folder.path().join("workspace")
    }

    async fn save(&self) -> SavedCheckpoint {
        self.try_save().await.unwrap()
    }

    async fn try_save(&self) -> Result<SavedCheckpoint, SaveError> {
        let contents = look(&self.workspace()).await?;
        let saved = Saved { left_out: contents.left_out().clone(), ..Self::saved() };
        save(&self.objects, &self.key, 1, self.name, contents, &saved).await
    }

    async fn open(&self, manifest: &Blob) -> Result<Saved, OpenError> {
        open(&self.objects, &self.key, self.name, manifest, &self.workspace()).await
    }

    async fn verify(&self, manifest: &Blob) -> Result<Saved, OpenError> {
        verify(&self.objects, &self.key, self.name, manifest, &Verified::default()).await
    }

    fn object(&self, blob: &Blob) -> PathBuf {
        self.objects.folder().join(&blob.key)
    }
}

#[tokio::test]
async fn a_workspace_comes_back_as_it_was_saved() {
    let world = world();
    let checkpoint = world.save().await;
    assert_eq!(checkpoint.files.len(), 2, "equal files share an object");
    fs::remove_dir_all(world.workspace()).unwrap();
    fs::create_dir(world.workspace()).unwrap();
    fs::write(world.workspace().join("half-done"), "x").unwrap();

    assert_eq!(world.open(&checkpoint.manifest).await.unwrap(), World::saved());

    assert_eq!(fs::read_to_string(world.workspace().join("a/notes.txt")).unwrap(), "hello");
    assert!(world.workspace().join("a/empty").is_dir());
    assert!(!world.workspace().join("half-done").exists());
    let mode = fs::metadata(world.workspace().join("run.sh")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    assert_eq!(world.verify(&checkpoint.manifest).await.unwrap(), World::saved());
}

#[tokio::test]
async fn a_second_checkpoint_shares_what_did_not_change() {
    let mut world = world();
    let first = world.save().await;
    world.name.checkpoint = Uuid::from_u128(4).into();
    fs::write(world.workspace().join("same.txt"), "changed").unwrap();
    let second = world.save().await;
    assert_eq!(second.files.iter().filter(|blob| first.files.contains(blob)).count(), 2);
    assert_eq!(second.files.len(), 3);
}

#[tokio::test]
async fn what_is_missing_or_changed_leaves_the_workspace_alone() {
    let world = world();
    let checkpoint = world.save().await;
    for blob in checkpoint.files.iter().chain([&checkpoint.manifest]) {
        let whole = fs::read(world.object(blob)).unwrap();
        let mut changed = whole.clone();
        *changed.last_mut().unwrap() ^= 1;
        fs::write(world.object(blob), changed).unwrap();
        assert!(matches!(world.open(&checkpoint.manifest).await, Err(OpenError::Objects(ObjectsError::Mismatch(_)))));
        fs::remove_file(world.object(blob)).unwrap();
        assert!(matches!(world.open(&checkpoint.manifest).await, Err(OpenError::Objects(ObjectsError::NotFound(_)))));
        assert!(matches!(world.verify(&checkpoint.manifest).await, Err(OpenError::Objects(_))));
        fs::write(world.object(blob), whole).unwrap();
    }
    assert_eq!(fs::read_to_string(world.workspace().join("same.txt")).unwrap(), "hello");
    assert!(!world.folder.path().join("workspace.restoring").exists());
}

#[tokio::test]
async fn a_checkpoint_can_not_be_passed_for_that_of_another_session() {
    let mut world = world();
    let checkpoint = world.save().await;
    world.name.session = Uuid::from_u128(9).into();
    assert!(matches!(world.open(&checkpoint.manifest).await, Err(OpenError::Sealed(_))));
}

#[tokio::test]
async fn a_replaced_data_key_opens_nothing() {
    let mut world = world();
    let checkpoint = world.save().await;
    world.key = CheckpointKey::new(&[8; 32]);
    assert!(matches!(world.verify(&checkpoint.manifest).await, Err(OpenError::Sealed(_))));
}
