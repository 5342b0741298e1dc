//! What a call of the binary said when it was over.

use std::process::Command;

use crate::binary::cowork;

/// Exit code and both outputs.
#[derive(Debug)]
pub struct Told {
    /// `-1`, if a signal ended it.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Calls the binary and waits for its end.
///
/// # Panics
/// If it can't be started.
#[must_use]
pub fn tell(arguments: &[&str]) -> Told {
    told(cowork(arguments))
}

/// As [`tell`], for a call that was prepared.
///
/// # Panics
/// If it can't be started.
#[must_use]
pub fn told(mut command: Command) -> Told {
    let output = command.output().expect("the binary can be started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Told { code: output.status.code().unwrap_or(-1), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

impl Told {
    /// That it failed with this code, in three parts, and that all of `words` are among them.
    ///
    /// # Panics
    /// If not.
    #[track_caller]
    pub fn failed(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{}\n{}", self.stdout, self.stderr);
        for part in ["cowork: ", "\n  detail: ", "\n  what to do: "] {
            assert!(self.stderr.contains(part), "{part:?} is missing:\n{}", self.stderr);
        }
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is not told:\n{}", self.stderr);
        }
    }

    /// That it succeeded.
    ///
    /// # Panics
    /// If not.
    #[track_caller]
    pub fn succeeded(&self) -> &Self {
        assert_eq!(self.code, 0, "{}\n{}", self.stdout, self.stderr);
        self
    }
}
