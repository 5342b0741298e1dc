//! What is left when the owner is killed, and who cleans it up.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use localpg::{Binaries, Cluster, Options};

/// Tells this test program to be the owner that is killed: `temporary` or `kept`, and the folder.
const PART: &str = "LOCALPG_TEST_PART";
const FOLDER: &str = "LOCALPG_TEST_FOLDER";

#[expect(clippy::disallowed_methods, reason = "a test finds its server programs as a shell would")]
fn binaries() -> Binaries {
    Binaries::find(std::env::var_os("PATH").as_deref()).unwrap()
}

fn open_folder() -> tempfile::TempDir {
    tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o755)).tempdir().unwrap()
}

/// Not a test by itself: the owner, which says where its server is and then waits to be killed.
#[test]
#[expect(clippy::disallowed_methods, reason = "the child half of the tests below is told its part")]
fn owner() {
    let Ok(part) = std::env::var(PART) else { return };
    let folder = std::env::var_os(FOLDER).unwrap();
    let cluster = match part.as_str() {
        "temporary" => Cluster::temporary(&binaries(), Path::new(&folder)),
        _ => Cluster::start(&binaries(), Path::new(&folder), Options::safe()),
    }
    .unwrap();
    println!("\nserver {}", cluster.pid());
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

/// Starts an owner and waits until its server is up. Returns it and the server's process id.
fn start_owner(part: &str, folder: &Path) -> (Child, i32) {
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "owner", "--nocapture"])
        .env(PART, part)
        .env(FOLDER, folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines().map(Result::unwrap);
    let server = lines.find_map(|line| line.strip_prefix("server ").map(|pid| pid.parse().unwrap())).unwrap();
    (owner, server)
}

fn is_alive(pid: i32) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

#[test]
fn what_a_killed_owner_left_is_swept() {
    let parent = open_folder();
    let (mut owner, server) = start_owner("temporary", parent.path());
    assert_eq!(localpg::sweep(parent.path()), localpg::SweepReport::default(), "the living are left alone");
    owner.kill().unwrap();
    owner.wait().unwrap();
    assert!(is_alive(server), "a kill leaves the server running");
    let report = localpg::sweep(parent.path());
    assert_eq!((report.removed.len(), report.stuck.len()), (1, 0), "{report:?}");
    assert!(!is_alive(server));
    assert!(std::fs::read_dir(parent.path()).unwrap().next().is_none());
}

#[test]
fn a_kept_cluster_is_taken_over_from_a_killed_owner() {
    let parent = open_folder();
    let home = parent.path().join("postgres");
    let (mut owner, server) = start_owner("kept", &home);
    assert!(Cluster::start(&binaries(), &home, Options::safe()).is_err(), "its owner is alive");
    owner.kill().unwrap();
    owner.wait().unwrap();
    let cluster = Cluster::start(&binaries(), &home, Options::safe()).unwrap();
    assert!(!is_alive(server) && is_alive(cluster.pid()));
}

#[test]
fn a_kept_cluster_can_be_swept_by_name() {
    let parent = open_folder();
    let home = parent.path().join("postgres");
    let (mut owner, server) = start_owner("kept", &home);
    assert_eq!(localpg::sweep_home(&home), Ok(false), "its owner is alive");
    owner.kill().unwrap();
    owner.wait().unwrap();
    assert_eq!(localpg::sweep_home(&home), Ok(true));
    assert!(!is_alive(server) && !home.exists());
}

#[test]
fn a_server_that_was_killed_itself_starts_again() {
    let parent = open_folder();
    let home = parent.path().join("postgres");
    let (mut owner, server) = start_owner("kept", &home);
    for pid in [owner.id().to_string(), server.to_string()] {
        assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
    }
    owner.wait().unwrap();
    Cluster::start(&binaries(), &home, Options::safe()).unwrap().stop().unwrap();
}

#[test]
fn a_folder_whose_maker_died_before_it_claimed_it_is_swept_if_empty() {
    let parent = open_folder();
    std::fs::create_dir(parent.path().join("cowork-pg-1-1")).unwrap();
    std::fs::create_dir_all(parent.path().join("cowork-pg-1-2/not-ours")).unwrap();
    let report = localpg::sweep(parent.path());
    assert_eq!(report.removed, [parent.path().join("cowork-pg-1-1")]);
    assert!(parent.path().join("cowork-pg-1-2").exists());
}
