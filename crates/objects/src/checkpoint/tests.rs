//! A checkpoint comes back as it was saved, or not at all.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;

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
        Saved { sequence: 9, state: json!({"turns": 2}) }
    }

    fn workspace(&self) -> PathBuf {
        self.folder.path().join("workspace")
    }

    async fn save(&self) -> SavedCheckpoint {
        save(&self.objects, &self.key, 1, self.name, &self.workspace(), &Self::saved()).await.unwrap()
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

    /// Stores a manifest that nobody but a holder of the key could have made.
    async fn forge(&self, change: impl FnOnce(&mut Manifest)) -> Blob {
        let saved = self.save().await;
        let bytes = self.objects.get(&saved.manifest.key).await.unwrap();
        let mut manifest = Manifest::open(&self.key, self.name, &saved.manifest, &bytes).unwrap();
        change(&mut manifest);
        let sealed = manifest.seal(&self.key, self.name).unwrap();
        self.objects.put("orgs/forged", sealed.into()).await.unwrap()
    }

    async fn refuses(&self, change: impl FnOnce(&mut Manifest)) {
        let forged = self.forge(change).await;
        assert!(matches!(self.verify(&forged).await, Err(OpenError::Manifest(_))));
        assert!(matches!(self.open(&forged).await, Err(OpenError::Manifest(_))));
        assert_eq!(fs::read_to_string(self.workspace().join("a/notes.txt")).unwrap(), "hello");
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

#[tokio::test]
async fn paths_that_climb_are_refused() {
    for path in ["../x", "/etc/x", "a/../../x", "a//x", "./x", ""] {
        world().refuses(|manifest| manifest.files[0].path = path.into()).await;
        world().refuses(|manifest| manifest.folders[0] = path.into()).await;
    }
}

#[tokio::test]
async fn a_manifest_can_not_name_a_path_twice_or_an_object_of_another_org() {
    world().refuses(|manifest| manifest.files[1].path = manifest.files[0].path.clone()).await;
    world().refuses(|manifest| manifest.files[0].blob_key = "orgs/other/x".into()).await;
    world().refuses(|manifest| manifest.files[0].blob_sha256 = "00".into()).await;
}

#[tokio::test]
async fn a_file_that_unpacks_to_another_length_is_refused() {
    for size in [0, 4, 6, u64::MAX] {
        let world = world();
        let forged = world.forge(|manifest| manifest.files[0].size = size).await;
        assert!(matches!(world.verify(&forged).await, Err(OpenError::Sealed(_))));
    }
}

#[tokio::test]
async fn a_workspace_with_a_link_can_not_be_saved() {
    let world = world();
    std::os::unix::fs::symlink("/etc/passwd", world.workspace().join("link")).unwrap();
    let saved = save(&world.objects, &world.key, 1, world.name, &world.workspace(), &World::saved()).await;
    assert!(matches!(saved, Err(SaveError::Unsupported { path, .. }) if path == "link"));
}
