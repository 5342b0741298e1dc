//! What real agents leave in a workspace: links, files with two names, sockets, pipes, odd rights.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::os::unix::net::UnixListener;

use caps::{CapSet, Capability};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::super::files;
use super::*;

fn leads(world: &World, path: &str) -> String {
    fs::read_link(world.workspace().join(path)).unwrap().to_str().unwrap().to_owned()
}

#[tokio::test]
async fn links_come_back_as_they_were_wherever_they_lead() {
    let world = world();
    let secret = world.folder.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    let outside = secret.to_str().unwrap();
    let links = [
        ("0-before-its-target", "a"),
        ("a/up", "../same.txt"),
        ("absolute", outside),
        ("dangling", "no/where"),
        ("folder", "a/empty"),
        ("itself", "itself"),
        ("out", "../../.."),
    ];
    for (path, target) in links {
        symlink(target, world.workspace().join(path)).unwrap();
    }
    let checkpoint = world.save().await;
    assert_eq!(checkpoint.files.len(), 2, "what a link leads to is not read");
    fs::remove_dir_all(world.workspace()).unwrap();
    assert_eq!(world.open(&checkpoint.manifest).await.unwrap(), World::saved());
    for (path, target) in links {
        assert_eq!(leads(&world, path), target, "{path}");
    }
    assert_eq!(fs::read_to_string(world.workspace().join("a/notes.txt")).unwrap(), "hello");
    assert_eq!(fs::read_to_string(&secret).unwrap(), "secret");
    assert_eq!(world.verify(&checkpoint.manifest).await.unwrap(), World::saved());
    // What they lead to survives that they are replaced.
    world.open(&checkpoint.manifest).await.unwrap();
    assert_eq!(fs::read_to_string(&secret).unwrap(), "secret");
}

#[tokio::test]
async fn a_file_that_became_a_link_since_it_was_found_is_not_read() {
    let world = world();
    let secret = world.folder.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    for path in ["same.txt", "a"] {
        let contents = look(&world.workspace()).await.unwrap();
        let place = world.workspace().join(path);
        beneath::remove(&place).or_else(|_| fs::remove_file(&place)).unwrap();
        symlink(if path == "a" { world.folder.path() } else { &secret }, &place).unwrap();
        fs::write(world.folder.path().join("notes.txt"), "secret").unwrap();
        let saved = save(&world.objects, &world.key, 1, world.name, contents, &World::saved()).await;
        assert!(matches!(saved, Err(SaveError::Read { .. })), "{saved:?}");
        fs::remove_file(&place).unwrap();
    }
}

#[tokio::test]
async fn a_workspace_that_is_a_link_is_not_looked_into() {
    let world = world();
    let place = world.folder.path().join("elsewhere");
    fs::rename(world.workspace(), &place).unwrap();
    symlink(&place, world.workspace()).unwrap();
    assert!(matches!(look(&world.workspace()).await, Err(SaveError::Read { .. })));
}

#[tokio::test]
async fn a_file_with_two_names_becomes_two_files() {
    let world = world();
    fs::hard_link(world.workspace().join("same.txt"), world.workspace().join("other.txt")).unwrap();
    let checkpoint = world.save().await;
    world.open(&checkpoint.manifest).await.unwrap();
    fs::write(world.workspace().join("other.txt"), "changed").unwrap();
    assert_eq!(fs::read_to_string(world.workspace().join("same.txt")).unwrap(), "hello");
    assert_eq!(fs::metadata(world.workspace().join("same.txt")).unwrap().nlink(), 1);
}

#[tokio::test]
async fn sockets_and_pipes_are_left_out_and_named() {
    let world = world();
    let _socket = UnixListener::bind(world.workspace().join("a/s.sock")).unwrap();
    mkfifo(&world.workspace().join("pipe"), Mode::from_bits_truncate(0o600)).unwrap();
    let checkpoint = world.save().await;
    let saved = world.open(&checkpoint.manifest).await.unwrap();
    let named = [("a/s.sock", Kind::Socket), ("pipe", Kind::Pipe)];
    let named = named.map(|(path, kind)| Omission { path: path.to_owned(), kind });
    assert_eq!(saved.left_out, LeftOut { count: 2, named: named.to_vec() });
    assert!(!world.workspace().join("pipe").exists() && !world.workspace().join("a/s.sock").exists());
    assert_eq!(fs::read_to_string(world.workspace().join("same.txt")).unwrap(), "hello");
}

#[tokio::test]
async fn what_can_not_be_kept_is_told_with_its_path_and_what_to_do() {
    let world = world();
    let large = world.workspace().join("a/model.bin");
    fs::File::create(&large).unwrap().set_len((256 << 20) + 1).unwrap();
    let refused = world.try_save().await.unwrap_err();
    assert_eq!(refused.to_string(), "the workspace can't be saved: a/model.bin is larger than 256 MiB");
    assert!(matches!(refused, SaveError::Unsupported { advice, .. } if advice.contains("make it smaller")));
    fs::remove_file(large).unwrap();
    let name = OsStr::from_bytes(b"\xff");
    symlink(name, world.workspace().join("a/link")).unwrap();
    assert!(matches!(world.try_save().await, Err(SaveError::Unsupported { path, .. }) if path == "a/link"));
    fs::remove_file(world.workspace().join("a/link")).unwrap();
    fs::write(world.workspace().join(name), "x").unwrap();
    assert!(matches!(world.try_save().await, Err(SaveError::Unsupported { .. })));
}

/// As root every file can be read.
#[test]
fn what_its_owner_may_not_read_is_told_and_not_tried_again() {
    let world = world();
    fs::set_permissions(world.workspace().join("run.sh"), fs::Permissions::from_mode(0o000)).unwrap();
    let folder = Folder::open(&world.workspace()).unwrap();
    let refused = std::thread::spawn(move || {
        for capability in [Capability::CAP_DAC_OVERRIDE, Capability::CAP_DAC_READ_SEARCH] {
            caps::drop(None, CapSet::Effective, capability).unwrap();
        }
        files::read(&folder, "run.sh").unwrap_err()
    });
    assert!(matches!(refused.join().unwrap(), SaveError::Unsupported { path, .. } if path == "run.sh"));
}
