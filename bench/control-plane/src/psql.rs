//! Questions to the database that the API has no answer to, and rows that would take too long to make through it.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use localpg::Binaries;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

#[derive(Debug, Clone)]
pub(crate) struct Psql {
    program: PathBuf,
    pub(crate) url: String,
}

impl Psql {
    pub(crate) fn new(binaries: &Binaries, url: String) -> Self {
        Self { program: binaries.tool("psql"), url }
    }

    /// Runs a script, all of it or an error; what it answers, unaligned.
    pub(crate) async fn run(&self, script: &str) -> anyhow::Result<String> {
        let mut command = Command::new(&self.program);
        command.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", "--file=-"]);
        command.arg(&self.url).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("psql can't be started")?;
        let mut input = child.stdin.take().context("psql has an input")?;
        input.write_all(script.as_bytes()).await?;
        drop(input);
        let output = child.wait_with_output().await?;
        ensure!(output.status.success(), "psql: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    pub(crate) async fn number(&self, question: &str) -> anyhow::Result<i64> {
        let answer = self.run(question).await?;
        answer.parse().with_context(|| format!("{question} was answered with {answer:?}"))
    }
}
