//! A process of the binary that runs beside the test, and not longer.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use crate::wait::wait_for;

/// Killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// Held open: its end would count as Enter.
    input: Option<ChildStdin>,
    stderr: PathBuf,
}

impl Running {
    /// Starts `command`; what it says goes to `NAME.out` and `NAME.err` in `folder`.
    ///
    /// # Panics
    /// If it can't be started.
    #[must_use]
    pub fn start(mut command: Command, folder: &Path, name: &str) -> Self {
        let file = |ending: &str| File::create(folder.join(format!("{name}.{ending}"))).expect("a file can be made");
        command.stdin(Stdio::piped()).stdout(file("out")).stderr(file("err"));
        let mut child = command.spawn().expect("the binary can be started");
        let input = child.stdin.take();
        Self { child, input, stderr: folder.join(format!("{name}.err")) }
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// # Panics
    /// If the process is gone.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).expect("a process id fits");
        signal::kill(Pid::from_raw(pid), signal).expect("a process that was not waited for takes signals");
    }

    /// Presses Enter.
    ///
    /// # Panics
    /// If nobody reads.
    pub fn enter(&mut self) {
        self.input.as_mut().expect("it is held until the end").write_all(b"\n").expect("somebody reads");
    }

    /// What it has said on standard error so far.
    #[must_use]
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    /// Its exit code, if it has ended; `-1`, if a signal ended it.
    pub fn ended(&mut self) -> Option<i32> {
        let status = self.child.try_wait().expect("a child can be waited for")?;
        Some(status.code().unwrap_or(-1))
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> i32 {
        let what = format!("process {} ends; it said:\n{}", self.pid(), self.said());
        wait_for(&what, || self.ended())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
