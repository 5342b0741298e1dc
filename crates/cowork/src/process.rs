//! What this process was given: environment, working directory, clock and randomness. Read once.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use clock::Sources;

use crate::failure::Failure;

/// What to pass down instead of reading it again.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    /// Variables whose name and value are UTF-8; the others are nobody's configuration.
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) working_directory: PathBuf,
    pub(crate) sources: Sources,
    /// What became of leaving the machine's network, if a command wanted to.
    pub(crate) isolated: Option<drill::Isolated>,
}

impl Process {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads them")]
    pub(crate) fn read() -> Result<Self, Failure> {
        let utf8 = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        let working_directory = std::env::current_dir().map_err(|error| {
            Failure::could_not("The working directory can't be used.", error, "Start in a folder that exists.")
        })?;
        Ok(Self {
            environment: std::env::vars_os().filter_map(utf8).collect(),
            working_directory,
            sources: Sources::system(),
            isolated: None,
        })
    }
}
