//! What is sent twice and fired twice after a restore, by three well-known queues on Postgres and by ours, in one run.
//!
//! Each goes through the same disaster. 100 messages wait and a schedule is due every minute; a dump, or a backup, is
//! taken; the workers send the messages and a tick fires; everything is killed; what was dumped is restored; the workers
//! run again. Somebody outside counts what arrived.
//!
//! The others are restored as their users restore them: the dump, and nothing else. That is no fault of theirs; none of
//! them promises more. The comparison says what a restore costs who has nothing that remembers.
//!
//! Ours is restored as its runbook says: the backup, and the recovery ledger that outlived the disaster.

mod ours;
mod peer;
mod sink;
mod table;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use tokio::process::Command;

use crate::peer::PEERS;
use crate::table::Line;

/// Messages that wait when the dump is taken.
pub(crate) const JOBS: u32 = 100;

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ours_only = arguments == ["--ours"];
    ensure!(arguments.is_empty() || ours_only, "usage: bench-never-twice [--ours]");
    let scratch = tempfile::Builder::new().prefix("cowork-never-twice-").tempdir()?;
    open_to_postgres(scratch.path())?;
    let mut lines = Vec::new();
    if !ours_only {
        install(scratch.path()).await?;
        lines = others(scratch.path()).await?;
    }
    let tally = ours::survive(scratch.path()).await.context("Open Cowork")?;
    lines.push(Line { name: "Open Cowork".to_owned(), tally });
    print!("{}", table::render(&lines));
    Ok(ExitCode::SUCCESS)
}

/// Postgres runs as somebody else if we are root, and has to get in.
fn open_to_postgres(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))
}

async fn install(into: &Path) -> anyhow::Result<()> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("install");
    eprintln!("installing the queues to compare with, into a temporary folder");
    let status = Command::new(script).arg(into).status().await.context("the installer can't be started")?;
    ensure!(
        status.success(),
        "the queues to compare with could not be installed: python3 with venv, node and npm it takes"
    );
    Ok(())
}

async fn others(scratch: &Path) -> anyhow::Result<Vec<Line>> {
    let [first, second, third] = PEERS.map(|peer| async move {
        let tally = peer.survive(scratch, scratch).await.with_context(|| peer.name)?;
        anyhow::Ok(Line { name: peer.name.to_owned(), tally })
    });
    let (first, second, third) = tokio::try_join!(first, second, third)?;
    Ok(vec![first, second, third])
}
