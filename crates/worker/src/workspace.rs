//! The folder that a session's agent works in: brought to the last checkpoint before a turn, saved after it.
//!
//! A folder that this process left exactly at a checkpoint is used again as it is. A mark beside it says so; whoever
//! starts a turn there takes the mark away first. So half of a lost turn is never gone on from, whoever left it: the
//! mark of another process, or of a life before this one, counts for nothing.
//!
//! Not here: what a checkpoint is (`objects::checkpoint`).

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use ids::{CheckpointId, InstanceId, OrgId, SessionId};
use tokio::fs;

#[derive(Debug)]
pub(crate) struct Workspaces {
    root: PathBuf,
    instance: InstanceId,
}

/// Whether the folder holds what a checkpoint does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    AtCheckpoint,
    Elsewhere,
}

impl Workspaces {
    pub(crate) fn new(root: PathBuf, instance: InstanceId) -> Self {
        Self { root, instance }
    }

    /// The same on every worker: agents keep absolute paths in their state.
    pub(crate) fn path(&self, org: OrgId, session: SessionId) -> PathBuf {
        self.root.join(org.to_string()).join(session.to_string())
    }

    /// Takes the mark away and says what it said.
    pub(crate) async fn unmark(&self, workspace: &Path, checkpoint: Option<CheckpointId>) -> std::io::Result<Found> {
        let mark = mark(workspace);
        let said = match fs::read_to_string(&mark).await {
            Ok(said) => said,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Elsewhere),
            Err(error) => return Err(error),
        };
        fs::remove_file(&mark).await?;
        let here = checkpoint.is_some_and(|checkpoint| said == self.says(checkpoint));
        Ok(if here { Found::AtCheckpoint } else { Found::Elsewhere })
    }

    /// Notes that the folder is exactly at `checkpoint`. Failing is harmless: it will be restored once more.
    pub(crate) async fn mark(&self, workspace: &Path, checkpoint: CheckpointId) {
        if let Err(error) = fs::write(mark(workspace), self.says(checkpoint)).await {
            tracing::debug!(%error, "a workspace was not marked");
        }
    }

    fn says(&self, checkpoint: CheckpointId) -> String {
        format!("{} {checkpoint}", self.instance)
    }
}

/// Makes the folder, empty: for a session that has no checkpoint yet.
pub(crate) async fn empty(workspace: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(workspace).await {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(workspace).await
}

fn mark(workspace: &Path) -> PathBuf {
    let mut name = workspace.file_name().unwrap_or_default().to_owned();
    name.push(".at");
    workspace.with_file_name(name)
}
