//! The folder that a session's agent works in: brought to the last checkpoint before a turn, saved after it.
//!
//! A folder that this process left exactly at a checkpoint is used again as it is. A mark beside it says so; whoever
//! starts a turn there takes the mark away first. So half of a lost turn is never gone on from, whoever left it: the
//! mark of another process, or of a life before this one, counts for nothing.
//!
//! Not here: what a checkpoint is (`objects::checkpoint`).

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::FileExt as _;
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

    /// Takes the mark away and says what it said. Its file stays, and is blank: a file made and removed for every turn fills a
    /// file system's list of inodes that it must not use again yet (ext4 walks through that of the last minutes at
    /// each new file; it was two fifths of a busy worker's processor time), and one that is cut short gets a new block each time.
    pub(crate) async fn unmark(&self, workspace: &Path, checkpoint: Option<CheckpointId>) -> std::io::Result<Found> {
        let mark = mark(workspace);
        let said = tokio::task::spawn_blocking(move || take(&mark)).await??;
        let here = checkpoint.is_some_and(|checkpoint| said == self.says(checkpoint));
        Ok(if here { Found::AtCheckpoint } else { Found::Elsewhere })
    }

    /// Notes that the folder is exactly at `checkpoint`. Failing is harmless: it will be restored once more.
    pub(crate) async fn mark(&self, workspace: &Path, checkpoint: CheckpointId) {
        let (mark, says) = (mark(workspace), self.says(checkpoint));
        let written = tokio::task::spawn_blocking(move || {
            let file = File::options().write(true).create(true).truncate(false).open(mark)?;
            file.write_all_at(says.as_bytes(), 0)
        });
        if let Err(error) = written.await.unwrap_or_else(|error| Err(error.into())) {
            tracing::debug!(%error, "a workspace was not marked");
        }
    }

    /// Always of the same length.
    fn says(&self, checkpoint: CheckpointId) -> String {
        format!("{} {checkpoint}", self.instance)
    }
}

/// Makes the folder, empty: for a session that has no checkpoint yet.
pub(crate) async fn empty(workspace: &Path) -> std::io::Result<()> {
    let gone = workspace.to_owned();
    tokio::task::spawn_blocking(move || beneath::remove(&gone)).await??;
    make(workspace).await
}

/// Makes the folder if it is not there.
pub(crate) async fn make(folder: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).await
}

fn mark(workspace: &Path) -> PathBuf {
    let mut name = workspace.file_name().unwrap_or_default().to_owned();
    name.push(".at");
    workspace.with_file_name(name)
}

/// What the mark says, if there is one; it says nothing from then on.
fn take(mark: &Path) -> std::io::Result<String> {
    let mut said = String::new();
    let mut file = match File::options().read(true).write(true).open(mark) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(said),
        Err(error) => return Err(error),
    };
    file.read_to_string(&mut said)?;
    file.write_all_at(" ".repeat(said.len()).as_bytes(), 0)?;
    Ok(said)
}
