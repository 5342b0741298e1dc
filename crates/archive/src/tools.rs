//! Postgres' own tools, as child processes: `pg_dump` and `pg_restore`.
//!
//! A password goes to them through the environment, never through the argument list, which everybody on the machine
//! can read. They are killed when the work that waits for them is dropped.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use percent_encoding::percent_decode_str;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// How much of what a tool complained is kept.
const COMPLAINT_MAX: usize = 2_000;

/// Where the tools are.
#[derive(Debug, Clone)]
pub struct Tools {
    pub pg_dump: PathBuf,
    pub pg_restore: PathBuf,
}

impl Tools {
    /// The tools of one installation of Postgres.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        Self { pg_dump: folder.join("pg_dump"), pg_restore: folder.join("pg_restore") }
    }
}

/// A tool did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    #[error("{tool} can't be started")]
    Start {
        tool: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error("{tool} ended with {status}: {complaint}")]
    Failed { tool: &'static str, status: ExitStatus, complaint: String },
}

/// A command for `program` that finds the database at `url` by itself.
pub(crate) fn command(program: &Path, url: &str) -> Command {
    let (url, password) = without_password(url);
    let mut command = Command::new(program);
    command.arg(format!("--dbname={url}")).arg("--no-password");
    // Its messages are read here.
    command.env("LC_ALL", "C").env("PGAPPNAME", "cowork archive");
    if let Some(password) = password {
        command.env("PGPASSWORD", password);
    }
    command
}

/// Runs a tool; `on_line` sees what it says as it goes.
pub(crate) async fn run(
    tool: &'static str,
    mut command: Command,
    mut on_line: impl FnMut(&str),
) -> Result<(), ToolError> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let start = |source| ToolError::Start { tool, source };
    let mut child = command.spawn().map_err(start)?;
    let mut lines = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
    let mut complaint = String::new();
    while let Some(line) = lines.next_line().await.map_err(start)? {
        on_line(&line);
        if line.contains("error:") || line.contains("detail:") || line.contains("hint:") || line.contains("FATAL") {
            complaint.push_str(line.strip_prefix(tool).unwrap_or(&line).trim_start_matches([':', ' ']));
            complaint.push_str("; ");
        }
    }
    let status = child.wait().await.map_err(start)?;
    if status.success() {
        return Ok(());
    }
    let complaint: String = complaint.trim_end_matches("; ").chars().take(COMPLAINT_MAX).collect();
    Err(ToolError::Failed { tool, status, complaint })
}

/// Takes the password out of a connection URL.
fn without_password(url: &str) -> (String, Option<String>) {
    let Some((scheme, rest)) = url.split_once("://") else { return (url.to_owned(), None) };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    let (user, mut password) = match user.and_then(|user| user.split_once(':')) {
        Some((user, password)) => (Some(user), Some(decoded(password))),
        None => (user, None),
    };
    let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
    let mut kept = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.strip_prefix("password=") {
            Some(value) => password = Some(decoded(value)),
            None => kept.push(pair),
        }
    }
    let user = user.map(|user| format!("{user}@")).unwrap_or_default();
    let query = if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) };
    (format!("{scheme}://{user}{host}{path}{query}"), password)
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, bare: &str, password: Option<&str>) {
        assert_eq!(without_password(url), (bare.to_owned(), password.map(str::to_owned)));
    }

    #[test]
    fn a_password_never_stays_in_the_url() {
        check("postgres://me:s%40fe@db:5433/app", "postgres://me@db:5433/app", Some("s@fe"));
        check("postgres://me@h/app?password=x&host=/run", "postgres://me@h/app?host=/run", Some("x"));
        check("postgres://me@localhost/app?host=/run/pg", "postgres://me@localhost/app?host=/run/pg", None);
        check("postgresql:///app", "postgresql:///app", None);
        check("postgres://h", "postgres://h", None);
    }
}
