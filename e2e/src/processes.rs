//! Processes as the kernel shows them: which of them belong to a folder of a test.
//!
//! A process belongs to a folder if its environment or its command line names a path below it: a drill marks its
//! children so, and a Postgres server names its data folder. Only such processes are ever ended here, each by its id.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

/// `kill -9`. Somebody who is gone already needs none.
pub fn kill(pid: u32) {
    if let Ok(pid) = i32::try_from(pid) {
        let _ = signal::kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

/// Processes that belong to `folder`, with their command lines. Not the caller.
#[must_use]
pub fn living_below(folder: &Path) -> Vec<(u32, String)> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != std::process::id())
        .filter_map(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            // One that has ended and was not waited for yet has neither.
            let belongs = names(&line, folder) || names(&environment, folder);
            belongs.then(|| (pid, String::from_utf8_lossy(&line).replace('\0', " ")))
        })
        .collect()
}

fn names(bytes: &[u8], folder: &Path) -> bool {
    let path = [folder.as_os_str().as_bytes(), b"/"].concat();
    bytes.windows(path.len()).any(|window| window == path)
}

/// The processes below `folder` that serve `role`.
#[must_use]
pub fn of_role(folder: &Path, role: &str) -> Vec<u32> {
    let served = format!(" serve --roles {role} ");
    living_below(folder).into_iter().filter(|(_, line)| line.contains(&served)).map(|(pid, _)| pid).collect()
}

/// For a test that ends early: nothing of it goes on.
pub(crate) fn end_all_below(folder: &Path) {
    let entries = || std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let servers = |line: &str| line.contains("postgres");
    living_below(folder).iter().filter(|(_, line)| !servers(line)).for_each(|(pid, _)| kill(*pid));
    for folder in entries().chain([folder.to_owned()]) {
        let _ = localpg::sweep(&folder);
        for cluster in [folder.join("postgres"), folder.join("cowork-data/postgres")] {
            let _ = localpg::sweep_home(&cluster);
        }
    }
    living_below(folder).iter().for_each(|(pid, _)| kill(*pid));
}
