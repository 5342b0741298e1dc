//! The file that says where a process listens: for scripts, tests and the drill, which start roles on any free port.
//!
//! It is there, whole, once every port is bound and the database has answered, and gone when the process has drained.
//! A process that was killed leaves it behind; whoever reads it looks at the process id, too.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::failure::Failure;
use crate::serve::listeners::Listeners;
use crate::serve::roles::Parts;

#[derive(Debug)]
pub(crate) struct ReadyFile(Option<PathBuf>);

#[derive(Serialize)]
struct Content {
    pid: u32,
    generation: i64,
    roles: BTreeMap<&'static str, SocketAddr>,
}

impl ReadyFile {
    /// Removes what an earlier process left.
    pub(crate) fn new(path: Option<PathBuf>) -> Self {
        let file = Self(path);
        file.remove();
        file
    }

    pub(crate) fn write(&self, parts: &Parts, listeners: &Listeners) -> Result<(), Failure> {
        let Some(path) = &self.0 else { return Ok(()) };
        let content = Content {
            pid: std::process::id(),
            generation: parts.generation.generation,
            roles: listeners.addresses().collect(),
        };
        let text = serde_json::to_string(&content).expect("it is plain data");
        place(path, &text).map_err(|error| {
            Failure::could_not("The ready file can't be written.", error, "Correct --ready-file, or make its folder.")
        })
    }

    pub(crate) fn remove(&self) {
        if let Some(path) = &self.0 {
            // Usually there is none; one that can't be removed can't be written either, which is told.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// In one step: a reader sees all of it or nothing.
fn place(path: &Path, text: &str) -> std::io::Result<()> {
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    std::fs::write(&draft, text)?;
    std::fs::rename(&draft, path).inspect_err(|_| {
        let _ = std::fs::remove_file(&draft);
    })
}
