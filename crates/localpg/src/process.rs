//! Processes as the kernel shows them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const PAUSE: Duration = Duration::from_millis(5);

/// Waits until `reached` holds, at most `limit`. `false`: it never did.
#[expect(clippy::disallowed_methods, reason = "the pause between two looks at a state that has no wake-up")]
pub(crate) fn poll(limit: Duration, mut reached: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if reached() {
            return true;
        }
        if start.elapsed() > limit {
            return false;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Whether process `pid` is the server of `data`: a process id alone proves nothing, as ids are used again.
///
/// The command line is what everybody may read. A process that has ended but isn't reaped has an empty one.
pub(crate) fn serves(pid: i32, data: &Path) -> bool {
    let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    words.windows(2).any(|pair| pair[0] == b"-D" && pair[1] == data.as_os_str().as_bytes())
}

/// The processes of Postgres' programs whose data folder is `folder` or lies below it.
///
/// `initdb`, the servers that it runs for itself, and a server that has just been started have no pid file yet. They name
/// the folder all the same: after `-D`, or in `PGDATA`.
pub(crate) fn working_below(folder: &Path) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| works_below(*pid, folder)).collect()
}

fn works_below(pid: i32, folder: &Path) -> bool {
    let below = |path: &[u8]| Path::new(OsStr::from_bytes(path)).starts_with(folder);
    let read = |name: &str| std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let (line, environment) = (read("cmdline"), read("environ"));
    let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    let mut variables = environment.split(|byte| *byte == 0);
    words.windows(2).any(|pair| pair[0] == b"-D" && below(pair[1]))
        || variables.any(|variable| variable.strip_prefix(b"PGDATA=").is_some_and(below))
}

/// `kill -9` of all that [`working_below`] finds, until nothing is found. `false`: somebody is still there.
pub(crate) fn end_below(folder: &Path, limit: Duration) -> bool {
    poll(limit, || {
        let left = working_below(folder);
        left.iter().for_each(|pid| send(*pid, Signal::SIGKILL));
        left.is_empty()
    })
}

/// Sends `signal`. Nobody there is not an error: the wait that follows sees it.
pub(crate) fn send(pid: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid), signal);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_no_server_is_not_taken_for_one() {
        let me = i32::try_from(std::process::id()).unwrap();
        assert!(!serves(me, Path::new("/data")));
        assert!(!serves(i32::MAX, Path::new("/data")));
    }

    #[test]
    fn only_a_program_that_names_the_folder_itself_is_taken_for_one_at_work_below_it() {
        let home = Path::new("/nowhere/home");
        let start = |variable: &str, folder: &str| {
            std::process::Command::new("sleep").arg("60").env(variable, folder).spawn().unwrap()
        };
        let mut children = [
            start("PGDATA", "/nowhere/home/data.new"),
            start("PGDATA", "/nowhere/home-of-another"),
            start("PGHOST", "/nowhere/home/run"),
        ];
        let pids = children.each_ref().map(|child| i32::try_from(child.id()).unwrap());
        assert!(poll(Duration::from_secs(10), || working_below(home) == [pids[0]]));
        assert!(end_below(home, Duration::from_secs(10)));
        assert!(children[1].try_wait().unwrap().is_none() && children[2].try_wait().unwrap().is_none());
        for child in &mut children {
            let _ = child.kill();
            child.wait().unwrap();
        }
    }

    #[test]
    fn waiting_for_what_never_comes_ends() {
        assert!(!poll(Duration::from_millis(1), || false));
    }
}
