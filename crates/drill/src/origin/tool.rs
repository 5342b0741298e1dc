//! A tool of somebody else's, run to its end: with a limit in time, and a bound on what is kept of its output.
//!
//! Not here: roles, which go on running (`processes`).

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

use crate::processes::WORK_FOLDER_VARIABLE;

/// How much of each output is kept: its end, where tools say what went wrong.
const KEPT: usize = 32 * 1024;

/// What a tool said.
#[derive(Debug)]
pub(crate) struct Said {
    /// `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    pub(crate) fn succeeded(&self) -> bool {
        self.code == Some(0)
    }

    /// Both outputs.
    pub(crate) fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// The lines that tell what went wrong, or the last one.
    pub(crate) fn complaint(&self) -> String {
        let all = self.all();
        let loud = |line: &&str| ["error", "ERROR", "FATAL", "fatal"].iter().any(|word| line.contains(word));
        let mut lines: Vec<&str> = all.lines().filter(loud).take(3).collect();
        if lines.is_empty() {
            lines.extend(all.lines().rev().find(|line| !line.trim().is_empty()));
        }
        lines.join("; ").trim().to_owned()
    }
}

/// A command that belongs to the drill with this work folder, and inherits nothing but `PATH`.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>, search_path: &str, work_folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", search_path).env("LC_ALL", "C").env("TZ", "UTC");
    command.env(WORK_FOLDER_VARIABLE, work_folder).process_group(0).kill_on_drop(true);
    command
}

/// Runs `command` for at most `limit`.
///
/// # Errors
/// If it can't be started, or takes longer. That is a fault of the drill's surroundings, not of a backup.
pub(crate) async fn run(mut command: Command, limit: Duration) -> anyhow::Result<Said> {
    let name = Path::new(command.as_std().get_program()).file_name().unwrap_or_default().display().to_string();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("{name} can't be started"))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let talk = async { tokio::join!(tail(stdout), tail(stderr), child.wait()) };
    let Ok((stdout, stderr, status)) = tokio::time::timeout(limit, talk).await else {
        let _ = child.kill().await;
        bail!("{name} took longer than {} s", limit.as_secs());
    };
    Ok(Said { code: status.context("its end could not be awaited")?.code(), stdout, stderr })
}

/// The end of what is read.
async fn tail(from: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut from) = from else { return String::new() };
    let (mut kept, mut buffer) = (Vec::new(), vec![0; 8 * 1024]);
    while let Ok(read) = from.read(&mut buffer).await {
        if read == 0 {
            break;
        }
        kept.extend_from_slice(&buffer[..read]);
        if kept.len() > 2 * KEPT {
            kept.drain(..kept.len() - KEPT);
        }
    }
    String::from_utf8_lossy(&kept[kept.len().saturating_sub(KEPT)..]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sh(script: &str) -> anyhow::Result<Said> {
        let mut command = command("sh", "/usr/bin:/bin", Path::new("/nowhere"));
        command.args(["-c", script]);
        run(command, Duration::from_secs(20)).await
    }

    #[tokio::test]
    async fn what_a_tool_says_is_bounded_and_its_end_is_kept() {
        let said = sh("yes | head -c 3000000; echo the end; exit 3").await.unwrap();
        assert_eq!(said.code, Some(3));
        assert!(said.stdout.len() <= KEPT && said.stdout.ends_with("the end\n"));
    }

    #[tokio::test]
    async fn a_tool_that_does_not_end_is_ended() {
        let mut command = command("sleep", "/usr/bin:/bin", Path::new("/nowhere"));
        command.arg("600");
        let error = run(command, Duration::from_millis(50)).await.unwrap_err();
        assert!(error.to_string().contains("sleep took longer"), "{error}");
    }

    #[tokio::test]
    async fn a_complaint_is_what_sounds_like_one() {
        assert_eq!(
            sh("echo fine; echo 'pg_restore: error: no' >&2; echo bye >&2").await.unwrap().complaint(),
            "pg_restore: error: no"
        );
        assert_eq!(sh("echo one; echo two").await.unwrap().complaint(), "two");
    }
}
