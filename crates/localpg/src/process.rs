//! Processes as the kernel shows them.

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
    fn waiting_for_what_never_comes_ends() {
        assert!(!poll(Duration::from_millis(1), || false));
    }
}
