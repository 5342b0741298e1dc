//! What an agent can't do. Takes a kernel with Landlock that knows TCP ports (6.7 or newer).

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::PathBuf;

use agents::{AcpSettings, Confinement, Outcome};

use crate::world::{World, gone, settings};

/// The agent in its cage. Its program lies in the target folder.
fn confined() -> AcpSettings {
    AcpSettings { confinement: Confinement::default(), ..settings() }
}

#[tokio::test]
async fn an_agent_sees_its_own_files_and_those_of_the_system_only() {
    let mut world = World::new(confined());
    let secret = world.outside().join("secret");
    std::fs::write(&secret, "hidden").unwrap();
    let neighbour = world.outside().join("neighbour/work");
    std::fs::create_dir_all(&neighbour).unwrap();
    let prompt = format!(
        "read {}\nwrite {}/a.txt x\nwrite ../b.txt x\nwrite a.txt x\nread a.txt\nread /etc/os-release\nread /etc/shadow",
        secret.display(),
        neighbour.display()
    );
    let (outcome, seen) = world.prompt(&prompt).await;
    assert_eq!(outcome, Outcome::Completed);
    let said = seen.said();
    assert!(said.starts_with(&format!("{}: PermissionDenied", secret.display())), "{said}");
    assert!(said.contains("a.txt: x") && said.contains("/etc/shadow: PermissionDenied"), "{said}");
    assert!(!said.contains("os-release: PermissionDenied") && !said.contains("nothing is remembered"), "{said}");
    assert!(!neighbour.join("a.txt").exists() && !world.session().join("b.txt").exists());
}

#[tokio::test]
async fn an_agent_does_not_see_its_workers_environment_or_memory() {
    let mut world = World::new(confined());
    let worker = std::process::id();
    let prompt = format!("read /proc/{worker}/environ\nread /proc/self/stat");
    let said = world.prompt(&prompt).await.1.said();
    assert!(said.starts_with(&format!("/proc/{worker}/environ: PermissionDenied")), "{said}");
    assert!(said.contains("(acp-fake)"), "its own it sees: {said}");
}

#[tokio::test]
async fn an_agent_has_the_environment_that_it_was_given_and_no_more() {
    let env = BTreeMap::from([("MODEL_HOME".to_owned(), "{home}/models".to_owned())]);
    let mut world = World::new(AcpSettings { env, ..confined() });
    let said = world.prompt("env").await.1.said();
    let mut names: Vec<&str> = said.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    names.sort_unstable();
    assert_eq!(names, ["HOME", "LANG", "MODEL_HOME", "PATH", "TMPDIR", "XDG_CACHE_HOME"]);
    assert!(said.contains(&format!("MODEL_HOME={}/home/models", world.session().display())), "{said}");
}

#[tokio::test]
async fn an_agent_connects_to_no_port_but_its_own() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let prompt = format!("connect {}", listener.local_addr().unwrap());
    let mut world = World::new(confined());
    assert_eq!(world.prompt(&prompt).await.1.said(), "PermissionDenied");
    let open = Confinement { open_network: true, ..Confinement::default() };
    let mut world = World::new(AcpSettings { confinement: open, ..settings() });
    assert_eq!(world.prompt(&prompt).await.1.said(), "connected");
}

#[tokio::test]
async fn what_an_agent_leaves_behind_ends_with_it() {
    let mut world = World::new(confined());
    let (_, seen) = world.prompt("leave").await;
    let left = seen.said().strip_prefix("left ").unwrap().to_owned();
    world.elsewhere(confined());
    gone(&left).await;
}

#[tokio::test]
async fn a_link_in_the_place_of_a_folder_opens_no_cage() {
    for folder in ["work", "home"] {
        let mut world = World::new(confined());
        world.prompt("echo hi").await;
        std::fs::remove_dir_all(world.session().join(folder)).unwrap();
        let secret = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(secret.path(), world.session().join(folder)).unwrap();
        world.elsewhere(confined());
        let (outcome, _) = world.prompt("echo hi").await;
        let Outcome::Failed { error } = outcome else { panic!("it ran: {outcome:?}") };
        assert!(error.contains("its folders can't be made"), "{error}");
        assert_eq!(std::fs::read_dir(secret.path()).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn an_agent_whose_cage_can_not_be_made_does_not_run() {
    let broken = AcpSettings { launcher: vec!["/bin/echo".into()], ..confined() };
    let mut world = World::new(broken);
    let (outcome, _) = world.prompt("echo hi").await;
    let Outcome::Failed { error } = outcome else { panic!("it ran: {outcome:?}") };
    assert!(error.contains("its sandbox could not be set up"), "{error}");
    let missing = PathBuf::from("/nowhere");
    let lenient = Confinement { readable: vec![missing], ..Confinement::default() };
    let mut world = World::new(AcpSettings { confinement: lenient, ..settings() });
    assert_eq!(world.prompt("echo hi").await.0, Outcome::Completed, "what is not there is left out");
}
