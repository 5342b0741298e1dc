//! What a workspace holds and no checkpoint of it has.
//!
//! Not here: finding it (`files`), telling people (`worker`).

use serde::{Deserialize, Serialize};

/// More are counted, and not named.
const NAMED_MAX: usize = 100;

/// What was left out of a checkpoint.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeftOut {
    pub count: u64,
    /// The first ones, sorted by path.
    pub named: Vec<Omission>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Omission {
    /// Below the workspace, with `/`.
    pub path: String,
    pub kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Socket,
    Pipe,
    Device,
}

impl Kind {
    /// With its article.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Socket => "a socket",
            Self::Pipe => "a pipe",
            Self::Device => "a device",
        }
    }
}

impl LeftOut {
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.count == 0
    }

    pub(super) fn add(&mut self, path: String, kind: Kind) {
        self.count += 1;
        if self.named.len() < NAMED_MAX {
            self.named.push(Omission { path, kind });
        }
    }
}
