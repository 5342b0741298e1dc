//! Backups of a [`World`] as an operator takes them, with Postgres' own tools and with pgBackRest.
//!
//! Not here: restoring. A drill does.

use std::ffi::OsStr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use localpg::Binaries;
use walkdir::WalkDir;

use crate::world::{World, search_path};

/// Runs one of Postgres' programs to its end.
///
/// # Panics
/// If it fails.
pub fn tool<S: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = S>) -> String {
    let binaries = Binaries::find(search_path().as_deref()).expect("Postgres' programs are installed");
    let mut command = Command::new(binaries.tool(name));
    command.args(arguments);
    said(name, &command.output().unwrap_or_else(|error| panic!("{name} can't be started: {error}")))
}

fn said(name: &str, output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{name} failed:\n{stdout}\n{stderr}");
    stdout
}

/// `pg_dump --format FORMAT` to `to`.
pub fn dump(world: &World, format: &str, to: &Path) {
    let url = world.database_url();
    tool("pg_dump", [OsStr::new("--format"), format.as_ref(), "--file".as_ref(), to.as_os_str(), url.as_ref()]);
}

/// Copies a folder with everything below it.
///
/// # Panics
/// If it can't.
pub fn copy_folder(from: &Path, to: &Path) {
    let output = Command::new("cp").args(["-a", "--"]).args([from, to]).output().expect("there is a cp");
    said("cp", &output);
}

/// Archived WAL, and a base backup.
#[derive(Debug)]
pub struct Physical {
    pub wal: PathBuf,
    pub base: PathBuf,
}

impl Physical {
    /// What a world's server has to be told before it lives.
    ///
    /// # Panics
    /// If the folder of WAL can't be made.
    #[must_use]
    pub fn new(folder: &Path) -> (Self, String) {
        let wal = folder.join("wal");
        std::fs::create_dir(&wal).expect("a folder can be made");
        open_to_all(&wal);
        let server =
            format!("archive_mode = on\narchive_command = 'test ! -f {0}/%f && cp %p {0}/%f'\n", wal.display());
        (Self { wal, base: folder.join("base") }, server)
    }

    /// `pg_basebackup`, with `--no-manifest` or nothing.
    pub fn back_up(&self, world: &World, extra: &[&str]) {
        let base = self.base.display().to_string();
        let url = world.database_url();
        let fixed = ["--pgdata", &base, "--dbname", &url, "--checkpoint=fast", "--wal-method=none"];
        tool("pg_basebackup", fixed.iter().copied().chain(extra.iter().copied()));
    }

    /// Has the server archive what it has written so far.
    pub async fn archive(&self, world: &World) {
        archive_all(world).await;
    }

    /// Names of archived segments, in order.
    ///
    /// # Panics
    /// If the folder can't be read.
    #[must_use]
    pub fn segments(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.wal).expect("a folder of one's own can be read").flatten();
        let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.retain(|name| name.len() == 24);
        names.sort_unstable();
        names
    }
}

async fn archive_all(world: &World) {
    let last: String = world.ask("SELECT pg_walfile_name(pg_switch_wal())").await;
    crate::wait::wait_for_async("the last segment is archived", async || {
        let archived: Option<String> = world.ask("SELECT max(last_archived_wal) FROM pg_stat_archiver").await;
        (archived? >= last).then_some(())
    })
    .await;
}

fn open_to_all(folder: &Path) {
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(folder, open).expect("one's own folder can be opened");
}

/// A repository of pgBackRest, with a stanza `main`.
#[derive(Debug)]
pub struct PgBackRest {
    folder: PathBuf,
}

impl PgBackRest {
    /// What a world's server has to be told before it lives.
    ///
    /// # Panics
    /// If its folders can't be made.
    #[must_use]
    pub fn new(folder: &Path) -> (Self, String) {
        let own = folder.join("pgbackrest");
        for name in ["", "repo", "lock", "spool"] {
            std::fs::create_dir(own.join(name)).expect("a folder can be made");
            open_to_all(&own.join(name));
        }
        let repository = Self { folder: own };
        let server = format!(
            "archive_mode = on\narchive_command = 'pgbackrest --config={} --stanza=main archive-push %p'\n",
            repository.config().display()
        );
        (repository, server)
    }

    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder.join("pgbackrest.conf")
    }

    #[must_use]
    pub fn repository(&self) -> PathBuf {
        self.folder.join("repo")
    }

    /// Writes its configuration, makes the stanza and takes a full backup.
    ///
    /// # Panics
    /// If one of them fails.
    pub fn back_up(&self, world: &World) {
        let data = world.folder().join("postgres/data");
        let folder = self.folder.display();
        let config = format!(
            "[global]\nrepo1-path={folder}/repo\nlock-path={folder}/lock\nspool-path={folder}/spool\n\
             log-level-file=off\nlog-level-console=warn\nstart-fast=y\n\n[main]\npg1-path={}\npg1-socket-path={}\n\
             pg1-user={}\npg1-database=postgres\n",
            data.display(),
            world.cluster.endpoint().socket_folder().display(),
            localpg::SUPERUSER,
        );
        std::fs::write(self.config(), config).expect("a file can be written");
        self.run(&data, &["stanza-create"]);
        self.run(&data, &["--type=full", "backup"]);
        self.give_back();
    }

    /// Has the server archive what it has written so far.
    pub async fn archive(&self, world: &World) {
        archive_all(world).await;
        self.give_back();
    }

    /// As the account that owns the server's files.
    fn run(&self, data: &Path, arguments: &[&str]) {
        let owner = std::fs::metadata(data).expect("the server's data is there");
        let mut command = Command::new("pgbackrest");
        command.arg("--config").arg(self.config()).arg("--stanza=main").args(arguments).current_dir("/");
        if nix::unistd::geteuid().is_root() {
            command.uid(owner.uid()).gid(owner.gid());
        }
        let output = command.output().expect("pgbackrest is installed (scripts/install test)");
        said("pgbackrest", &output);
    }

    /// A drill runs as the test does, and only reads.
    fn give_back(&self) {
        for entry in WalkDir::new(&self.folder).into_iter().flatten() {
            // The server goes on writing here, as its own account.
            let mode = if entry.file_type().is_dir() { 0o777 } else { 0o666 };
            let _ = std::fs::set_permissions(entry.path(), std::fs::Permissions::from_mode(mode));
        }
    }
}
