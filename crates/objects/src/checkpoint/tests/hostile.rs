//! Manifests that only a holder of the org's key could have made: none leads a write out of the workspace.

use proptest::prelude::*;

use super::super::manifest::Link;
use super::*;

impl World {
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

fn link(path: &str, target: &str) -> Link {
    Link { path: path.to_owned(), target: target.to_owned() }
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
async fn nothing_lies_behind_a_link() {
    for target in ["..", "/tmp", "a"] {
        world()
            .refuses(|manifest| {
                manifest.links.push(link("out", target));
                manifest.files[0].path = "out/x".into();
            })
            .await;
        world()
            .refuses(|manifest| {
                manifest.links.push(link("out", target));
                manifest.folders.push("out/x".into());
            })
            .await;
        world().refuses(|manifest| manifest.links.extend([link("out", target), link("out/x", "y")])).await;
    }
}

#[tokio::test]
async fn a_link_has_a_place_of_its_own_and_leads_to_some_name() {
    for taken in ["a", "a/empty", "a/notes.txt", "same.txt"] {
        world().refuses(|manifest| manifest.links.push(link(taken, "x"))).await;
    }
    world().refuses(|manifest| manifest.links.extend([link("l", "x"), link("l", "y")])).await;
    let long = "x".repeat(4_096);
    for target in ["", "a\0b", &long] {
        world().refuses(|manifest| manifest.links.push(link("l", target))).await;
    }
    for path in ["../l", "/l", "a/../l", "none/l", "same.txt/l", &long, &"x".repeat(256)] {
        world().refuses(|manifest| manifest.links.push(link(path, "x"))).await;
    }
}

#[tokio::test]
async fn a_folder_is_named_before_what_lies_in_it() {
    world().refuses(|manifest| manifest.folders.reverse()).await;
    world().refuses(|manifest| manifest.folders.clear()).await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_a_manifest_names_nothing_is_written_outside(
        folders in prop::collection::vec("[ab./]{1,4}", 0..3),
        files in prop::collection::vec("[ab./]{1,6}", 0..3),
        links in prop::collection::vec(("[ab./]{1,4}", "(\\.\\./)?[ab./]{1,6}"), 0..3),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let world = world();
            let forged = world.forge(|manifest| {
                let file = manifest.files[0].clone();
                manifest.files = files.iter().map(|path| File { path: path.clone(), ..file.clone() }).collect();
                manifest.folders = folders.clone();
                manifest.links = links.iter().map(|(path, target)| link(path, target)).collect();
            });
            let forged = forged.await;
            // What is checked can be written; what can't is refused before anything is.
            let opened = world.open(&forged).await;
            assert!(matches!(opened, Ok(_) | Err(OpenError::Manifest(_))), "{opened:?}");
            let mut beside: Vec<_> = fs::read_dir(world.folder.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
            beside.sort();
            assert_eq!(beside, ["objects", "workspace"]);
            assert!(fs::symlink_metadata(world.workspace()).unwrap().is_dir());
        });
    }
}
