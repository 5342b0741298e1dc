//! What an agent's process may do, as it is handed from the worker to the process itself.
//!
//! Not here: doing it (`enter`).

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Of one agent's process, and of all that descends from it. Holds no secret: it is seen on a command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cage {
    /// The worker. If another one is the parent, the worker is gone.
    pub parent: i32,
    /// `false`: an operator said that files and ports are not to be limited.
    pub confined: bool,
    /// Folders in which it may do anything.
    pub writable: Vec<PathBuf>,
    /// Files and folders to read and to execute, besides those of the system. What is not there is left out.
    pub readable: Vec<PathBuf>,
    /// To which it may connect by TCP. `None`: to all.
    pub ports: Option<Vec<u16>>,
    /// Of the user that runs the worker, all in all. `None`: as many as the worker.
    pub processes: Option<u64>,
    /// Bytes of the largest file that it may write.
    pub file_bytes: u64,
    /// Bytes of data of each process. `None`: as much as the worker.
    pub memory_bytes: Option<u64>,
}

impl Cage {
    pub(super) fn to_text(&self) -> String {
        serde_json::to_string(self).expect("a cage is plain data")
    }

    pub(super) fn from_text(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| format!("its cage can't be read: {error}"))
    }
}
