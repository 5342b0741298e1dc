//! Making a new cluster, or checking the one that is there.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::account::Account;
use crate::binaries::Binaries;
use crate::endpoint::SUPERUSER;
use crate::error::{StartError, io_error};
use crate::home::Home;
use crate::options::{Durability, Options};
use crate::postmaster::last_lines;
use crate::process;

/// How long processes that were killed may take to be gone.
const KILLED: Duration = Duration::from_secs(20);

/// Makes `home/data` unless it is there. It appears whole or not at all: a start that is killed leaves no half of one.
pub(crate) fn ensure_data(
    binaries: &Binaries,
    home: &Home,
    account: Account,
    options: Options,
) -> Result<(), StartError> {
    if home.data().exists() {
        return check_version(binaries, &home.data());
    }
    let fresh = home.path().join("data.new");
    if fresh.exists() {
        // An `initdb` that outlived its owner may still be writing there.
        process::end_below(&fresh, KILLED);
        std::fs::remove_dir_all(&fresh).map_err(io_error("remove", &fresh))?;
    }
    account.create_folder(&fresh).map_err(io_error("make", &fresh))?;
    initdb(binaries, home, &fresh, account, options)?;
    std::fs::rename(&fresh, home.data()).map_err(io_error("rename", &fresh))
}

/// Collation by code point: it never changes under an index, as a library's collations do. Checksums, so that damage
/// is found.
fn initdb(
    binaries: &Binaries,
    home: &Home,
    folder: &Path,
    account: Account,
    options: Options,
) -> Result<(), StartError> {
    let mut command = Command::new(binaries.tool("initdb"));
    command.arg("-D").arg(folder).args(["-U", SUPERUSER, "--encoding=UTF8", "--locale=C", "--lc-ctype=C.UTF-8"]);
    command.args(["--auth-local=trust", "--auth-host=reject", "--data-checksums", "--no-instructions"]);
    if options.durability == Durability::Fast {
        command.arg("--no-sync");
    }
    // Its own process group: an interrupt at the terminal is for us, who decide what becomes of a half-made cluster.
    let output =
        account.run(&mut command).process_group(0).output().map_err(io_error("run", binaries.tool("initdb")))?;
    if output.status.success() {
        return Ok(());
    }
    let _ = std::fs::remove_dir_all(folder);
    Err(StartError::Init { home: home.path().to_path_buf(), tail: last_lines(&output.stderr) })
}

fn check_version(binaries: &Binaries, data: &Path) -> Result<(), StartError> {
    let path = data.join("PG_VERSION");
    let found = std::fs::read_to_string(&path).map_err(io_error("read", path))?.trim().to_owned();
    let expected = major_version(binaries)?;
    if found == expected {
        return Ok(());
    }
    Err(StartError::OtherVersion { data: data.to_path_buf(), found, expected })
}

/// From `postgres (PostgreSQL) 15.8 (...)`.
fn major_version(binaries: &Binaries) -> Result<String, StartError> {
    let program = binaries.tool("postgres");
    let output = Command::new(&program).arg("--version").output().map_err(io_error("run", &program))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_whitespace().nth(2).unwrap_or_default();
    Ok(version.chars().take_while(char::is_ascii_digit).collect())
}
