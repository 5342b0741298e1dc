//! The folder that a session's agent works in: brought to the last checkpoint before a turn, saved after it.
//!
//! A folder that this process left exactly at a checkpoint is used again as it is, with what its last turn left, which is remembered
//! with it: a follow-up reads nothing from the database or the object store. Only this process knows what it left, so what
//! another one left, or a life before this one, counts for nothing. A file beside the folder says which process entered it last:
//! where that is another, this one has forgotten.
//!
//! Not here: what a checkpoint is (`objects::checkpoint`).

use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use hashlink::LruCache;
use ids::{CheckpointId, InstanceId, OrgId, SessionId};
use objects::checkpoint::{LeftOut, Saved};
use serde_json::Value;
use tokio::fs;

/// Folders that are remembered, those that were left last.
const REMEMBERED: usize = 1_000;
/// Of what a turn leaves, in bytes. What is larger is read from its checkpoint.
const BEHIND_MAX: usize = 16 << 10;

#[derive(Debug)]
pub(crate) struct Workspaces {
    root: PathBuf,
    instance: InstanceId,
    left: Mutex<LruCache<SessionId, Left>>,
}

/// How this process left a folder.
#[derive(Debug)]
struct Left {
    checkpoint: CheckpointId,
    /// `None`: it is too large.
    behind: Option<Behind>,
}

/// What a turn leaves to the next.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Behind {
    /// Of the agent.
    pub(crate) state: Value,
    /// Of the workspace; people were told.
    pub(crate) left_out: LeftOut,
}

impl From<Saved> for Behind {
    fn from(saved: Saved) -> Self {
        Self { state: saved.state, left_out: saved.left_out }
    }
}

impl Behind {
    /// About.
    fn bytes(&self) -> usize {
        self.state.to_string().len() + self.left_out.named.iter().map(|one| one.path.len()).sum::<usize>()
    }
}

/// What a folder holds when it is entered.
#[derive(Debug, PartialEq)]
pub(crate) enum Found {
    /// What the checkpoint does. With what the turn before left, if it is remembered.
    AtCheckpoint(Option<Behind>),
    Elsewhere,
}

impl Workspaces {
    pub(crate) fn new(root: PathBuf, instance: InstanceId) -> Self {
        Self { root, instance, left: Mutex::new(LruCache::new(REMEMBERED)) }
    }

    /// The same on every worker: agents keep absolute paths in their state.
    pub(crate) fn path(&self, org: OrgId, session: SessionId) -> PathBuf {
        self.root.join(org.to_string()).join(session.to_string())
    }

    /// For a turn that goes on from `checkpoint`. Until the folder is left again it holds half of a turn.
    pub(crate) async fn enter(
        &self,
        org: OrgId,
        session: SessionId,
        checkpoint: Option<CheckpointId>,
    ) -> std::io::Result<Found> {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner).remove(&session);
        let (file, instance) = (entered_by(&self.path(org, session)), self.instance.to_string());
        let stayed = tokio::task::spawn_blocking(move || sign(&file, &instance)).await??;
        Ok(match left {
            Some(left) if stayed && Some(left.checkpoint) == checkpoint => Found::AtCheckpoint(left.behind),
            _ => Found::Elsewhere,
        })
    }

    /// Remembers that the folder is exactly at `checkpoint`, which holds `behind`, too.
    pub(crate) fn leave(&self, session: SessionId, checkpoint: CheckpointId, behind: Behind) {
        let behind = Some(behind).filter(|behind| behind.bytes() <= BEHIND_MAX);
        self.left.lock().unwrap_or_else(PoisonError::into_inner).insert(session, Left { checkpoint, behind });
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

fn entered_by(workspace: &Path) -> PathBuf {
    let mut name = workspace.file_name().unwrap_or_default().to_owned();
    name.push(".at");
    workspace.with_file_name(name)
}

/// Says in `file` that `instance` is here. Whether it said so already: then nothing is written, since a file that is made anew for
/// each turn costs more than the turn (ext4 walks through the inodes that it may not use again yet).
fn sign(file: &Path, instance: &str) -> std::io::Result<bool> {
    match std::fs::read(file) {
        Ok(said) if said == instance.as_bytes() => return Ok(true),
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    if let Some(folder) = file.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    std::fs::write(file, instance).map(|()| false)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    struct Folder {
        root: tempfile::TempDir,
        org: OrgId,
        session: SessionId,
    }

    impl Folder {
        fn new() -> Self {
            let id = Uuid::from_u128;
            Self { root: tempfile::tempdir().unwrap(), org: id(1).into(), session: id(2).into() }
        }

        /// Another one each time.
        fn process(&self, number: u128) -> Workspaces {
            Workspaces::new(self.root.path().to_owned(), Uuid::from_u128(number).into())
        }

        async fn enter(&self, process: &Workspaces, checkpoint: u128) -> Found {
            process.enter(self.org, self.session, Some(Uuid::from_u128(checkpoint).into())).await.unwrap()
        }

        fn leave(&self, process: &Workspaces, checkpoint: u128, behind: Behind) {
            process.leave(self.session, Uuid::from_u128(checkpoint).into(), behind);
        }
    }

    #[tokio::test]
    async fn a_folder_is_at_a_checkpoint_only_for_the_process_that_left_it_there() {
        let folder = Folder::new();
        let behind = Behind { state: json!({"lines": 3}), left_out: LeftOut::default() };
        let (one, other) = (folder.process(11), folder.process(12));
        assert_eq!(folder.enter(&one, 1).await, Found::Elsewhere);
        folder.leave(&one, 1, behind.clone());
        assert_eq!(folder.enter(&one, 1).await, Found::AtCheckpoint(Some(behind.clone())));
        assert_eq!(folder.enter(&one, 1).await, Found::Elsewhere, "half of a turn was gone on from");
        folder.leave(&one, 2, behind.clone());
        assert_eq!(folder.enter(&one, 1).await, Found::Elsewhere, "it was left at another checkpoint");
        folder.leave(&one, 2, behind.clone());
        assert_eq!(folder.enter(&other, 2).await, Found::Elsewhere);
        assert_eq!(folder.enter(&one, 2).await, Found::Elsewhere, "another process was there meanwhile");
    }

    #[tokio::test]
    async fn what_is_large_is_read_from_the_checkpoint() {
        let folder = Folder::new();
        let process = folder.process(11);
        folder.enter(&process, 1).await;
        folder.leave(&process, 1, Behind { state: json!("x".repeat(BEHIND_MAX)), left_out: LeftOut::default() });
        assert_eq!(folder.enter(&process, 1).await, Found::AtCheckpoint(None));
    }
}
