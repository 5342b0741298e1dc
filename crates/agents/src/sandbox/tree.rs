//! What descends from a process: to be stopped, to go on, to be ended.
//!
//! Read from `/proc`. Children are found by their parent, so one whose parent has ended is found only below a process to which the
//! kernel gives orphans, which is what supervisors are.
//!
//! Not promised: that a process is seen that is made while this looks. Whoever has to be sure looks until nothing new is there.

use std::collections::HashMap;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long processes may take to stop. One in the middle of a slow disk operation can't.
const STOPS: u32 = 200;
const STOP_LOOK: Duration = Duration::from_millis(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Descendant {
    pub(crate) pid: Pid,
    /// It does nothing: it is stopped, or has ended.
    still: bool,
}

/// All that descends from `ancestor`, without itself.
pub(crate) fn descendants(ancestor: Pid) -> Vec<Descendant> {
    let mut children: HashMap<Pid, Vec<Descendant>> = HashMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // It may have ended since.
        let Ok(text) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        if let Some((parent, still)) = read(&text) {
            children.entry(parent).or_default().push(Descendant { pid: Pid::from_raw(pid), still });
        }
    }
    let (mut found, mut ahead) = (Vec::new(), vec![ancestor]);
    while let Some(next) = ahead.pop() {
        for child in children.remove(&next).unwrap_or_default() {
            ahead.push(child.pid);
            found.push(child);
        }
    }
    found
}

/// Parent and stillness, of a line of `/proc/PID/stat`: the name, in brackets, may hold anything.
fn read(stat: &str) -> Option<(Pid, bool)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    Some((Pid::from_raw(parent), matches!(state, "T" | "t" | "Z" | "X")))
}

/// Stops all that descends from `ancestor`. `false`: something did not stop in time.
pub(crate) async fn stop(ancestor: Pid) -> bool {
    for _ in 0..STOPS {
        let moving: Vec<Descendant> = descendants(ancestor).into_iter().filter(|it| !it.still).collect();
        if moving.is_empty() {
            return true;
        }
        for descendant in moving {
            let _ = kill(descendant.pid, Signal::SIGSTOP);
        }
        tokio::time::sleep(STOP_LOOK).await;
    }
    false
}

/// Lets all go on that was stopped.
pub(crate) fn proceed(ancestor: Pid) {
    for descendant in descendants(ancestor) {
        let _ = kill(descendant.pid, Signal::SIGCONT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_hides_no_parent() {
        assert_eq!(read("12 (a) S 7 (b)) T 3 12 12 0"), Some((Pid::from_raw(3), true)));
        assert_eq!(read("12 (sh) S 3 12 12 0"), Some((Pid::from_raw(3), false)));
        assert_eq!(read("12 (sh"), None);
    }
}
