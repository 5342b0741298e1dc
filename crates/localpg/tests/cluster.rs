//! Real clusters, from the machine's own programs.

use std::path::{Path, PathBuf};
use std::process::Command;

use localpg::{Binaries, Cluster, Options, StartError};

#[expect(clippy::disallowed_methods, reason = "a test finds its server programs as a shell would")]
fn binaries() -> Binaries {
    Binaries::find(std::env::var_os("PATH").as_deref()).unwrap()
}

/// A place that the account Postgres runs as can reach: `tempfile`'s own folders are closed to it.
fn open_folder() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o755)).tempdir().unwrap()
}

fn ask(cluster: &Cluster, sql: &str) -> String {
    let output = Command::new(binaries().tool("psql")).args(["-XAtc", sql, &cluster.url("postgres")]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().next().is_none()
}

fn is_alive(pid: i32) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

#[test]
fn a_temporary_cluster_answers_and_leaves_nothing() {
    let parent = open_folder();
    let cluster = Cluster::temporary(&binaries(), parent.path()).unwrap();
    assert_eq!(ask(&cluster, "SELECT current_user || ' ' || current_setting('fsync')"), "cowork off");
    cluster.create_database("other").unwrap();
    assert!(cluster.create_database("other").unwrap_err().to_string().contains("already exists"));
    let (pid, sockets) = (cluster.pid(), cluster.endpoint().socket_folder().to_path_buf());
    drop(cluster);
    assert!(!is_alive(pid) && !sockets.exists() && is_empty(parent.path()));
}

#[test]
fn the_server_never_runs_as_root_and_listens_on_its_socket_only() {
    use std::os::unix::fs::MetadataExt;
    let parent = open_folder();
    let cluster = Cluster::temporary(&binaries(), parent.path()).unwrap();
    assert_ne!(std::fs::metadata(format!("/proc/{}", cluster.pid())).unwrap().uid(), 0);
    assert_eq!(ask(&cluster, "SHOW listen_addresses"), "");
    let sockets = std::fs::metadata(cluster.endpoint().socket_folder()).unwrap();
    assert_eq!(sockets.mode() & 0o777, 0o700);
}

#[test]
fn a_kept_cluster_still_has_its_rows_at_the_second_start() {
    let parent = open_folder();
    let home = parent.path().join("deep").join("postgres");
    let first = Cluster::start(&binaries(), &home, Options::safe()).unwrap();
    ask(&first, "CREATE TABLE kept AS SELECT 7 AS value");
    assert_eq!(localpg::running(&home).as_ref(), Some(first.endpoint()));
    first.stop().unwrap();
    assert_eq!(localpg::running(&home), None);
    let second = Cluster::start(&binaries(), &home, Options::safe()).unwrap();
    assert_eq!(ask(&second, "SELECT value FROM kept"), "7");
    assert_eq!(ask(&second, "SHOW fsync"), "on");
}

#[test]
fn a_cluster_that_is_owned_is_refused_to_others() {
    let parent = open_folder();
    let home = parent.path().join("postgres");
    let owner = Cluster::start(&binaries(), &home, Options::fast()).unwrap();
    let error = Cluster::start(&binaries(), &home, Options::fast()).unwrap_err();
    assert!(matches!(&error, StartError::Owned { pid, .. } if *pid == std::process::id().to_string()), "{error}");
    assert_eq!(ask(&owner, "SELECT 1"), "1");
}

#[test]
fn two_clusters_under_one_parent_do_not_meet() {
    let parent = open_folder();
    let one = Cluster::temporary(&binaries(), parent.path()).unwrap();
    let two = Cluster::temporary(&binaries(), parent.path()).unwrap();
    ask(&one, "CREATE TABLE mine ()");
    assert_eq!(ask(&two, "SELECT count(*) FROM pg_tables WHERE tablename = 'mine'"), "0");
    assert_eq!(localpg::sweep(parent.path()), localpg::SweepReport::default());
    assert_eq!(ask(&one, "SELECT 1"), "1");
}

#[test]
fn a_path_too_deep_for_a_socket_gets_a_short_one() {
    let parent = open_folder();
    let home = parent.path().join("d".repeat(100));
    let cluster = Cluster::start(&binaries(), &home, Options::fast()).unwrap();
    assert_eq!(ask(&cluster, "SELECT 1"), "1");
    let sockets = cluster.endpoint().socket_folder().to_path_buf();
    assert!(sockets.starts_with("/tmp"));
    drop(cluster);
    assert!(!sockets.exists());
}

#[test]
fn a_failed_start_quotes_the_log() {
    let parent = open_folder();
    let home = parent.path().join("postgres");
    Cluster::start(&binaries(), &home, Options::fast()).unwrap().stop().unwrap();
    std::fs::write(home.join("data/postgresql.auto.conf"), "shared_preload_libraries = 'no_such_library'\n").unwrap();
    let error = Cluster::start(&binaries(), &home, Options::fast()).unwrap_err().to_string();
    assert!(error.contains("could not access file \"no_such_library\""), "{error}");
}

#[test]
fn data_of_another_version_is_left_untouched() {
    let parent = open_folder();
    let home = parent.path().join("postgres");
    Cluster::start(&binaries(), &home, Options::fast()).unwrap().stop().unwrap();
    std::fs::write(home.join("data/PG_VERSION"), "9\n").unwrap();
    let error = Cluster::start(&binaries(), &home, Options::fast()).unwrap_err();
    assert!(matches!(&error, StartError::OtherVersion { found, .. } if found == "9"), "{error}");
}

#[test]
fn a_stale_pid_file_does_not_stop_a_start() {
    let parent = open_folder();
    let home: PathBuf = parent.path().join("postgres");
    Cluster::start(&binaries(), &home, Options::fast()).unwrap().stop().unwrap();
    let me = std::process::id();
    std::fs::write(home.join("data/postmaster.pid"), format!("{me}\n{}\n", home.join("data").display())).unwrap();
    let cluster = Cluster::start(&binaries(), &home, Options::fast()).unwrap();
    assert_eq!(ask(&cluster, "SELECT 1"), "1");
}
