//! What keeps a drill from writing a report at all. Whatever happens later is in the report.

use std::path::PathBuf;

use crate::findings::FindingsError;

/// In three parts: what happened (`Display`), the detail (`source`), what to do (`advice`).
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    #[error("the drill's work folder can't be made in {}", parent.display())]
    Work { parent: PathBuf, source: std::io::Error },
    #[error("the report can't be written to {}", out.display())]
    Out { out: PathBuf, source: anyhow::Error },
    #[error("{} is neither empty nor the report of an earlier drill", .0.display())]
    Occupied(PathBuf),
    #[error("the findings file can't be used")]
    Findings(#[from] FindingsError),
    #[error("another drill is writing to {}", .0.display())]
    Busy(PathBuf),
    #[error("the corpus of broken worlds could not be tried")]
    Corpus { source: anyhow::Error },
}

impl DrillError {
    /// What the operator can do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Work { .. } => "check the space and the permissions there, or name another folder with --work",
            Self::Out { .. } => "check the space and the permissions there, or name another folder with --out",
            Self::Occupied(_) => "name a folder that is new or empty with --out",
            Self::Findings(error) => error.advice(),
            Self::Corpus { .. } => "see whether `cowork drill run` passes on this machine, and start it again",
            Self::Busy(_) => "wait for it to end, or name another folder with --out",
        }
    }
}
