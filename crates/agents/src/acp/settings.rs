//! What an operator says about an agent, and what its process is given.
//!
//! Texts of its command line and environment may name what is made for each session: `{base_url}`, `{home}`, `{workspace}`,
//! `{scratch}`, `{port}`.
//!
//! Not here: reading it (`config`), starting the process (`process`).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use domain::spend::TurnLimits;

use crate::sandbox::Cage;

/// Where an agent finds programs unless its operator says otherwise.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// An agent that speaks ACP, as an operator configured it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcpSettings {
    pub name: String,
    pub command: String,
    pub args: Vec<String>,
    /// All of its environment, besides what every agent has.
    pub env: BTreeMap<String, String>,
    /// Whose models it asks. `None`: nobody's, or it has a way of its own.
    pub provider: Option<String>,
    pub confinement: Confinement,
    /// What starts a supervisor: a program, and what stands before the arguments of [`crate::sandbox::main`].
    pub launcher: Vec<OsString>,
    pub limits: AcpLimits,
}

/// What it may touch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confinement {
    /// `false`: an operator said that its files and ports are not to be limited.
    pub files: bool,
    /// Whether it may connect by TCP to where it likes, and not only to its provider's door and its own port.
    pub open_network: bool,
    /// Besides the system's.
    pub readable: Vec<PathBuf>,
    /// Of the worker's user.
    pub processes: Option<u64>,
    pub file_bytes: u64,
    /// Of data of each process.
    pub memory_bytes: Option<u64>,
}

/// How much of it is borne.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcpLimits {
    /// Until it has been greeted and has its session.
    pub start: Duration,
    /// Of a turn, without a word from it.
    pub silence: Duration,
    /// Of a turn.
    pub turn: Duration,
    /// After it was asked to stop. Less than a worker waits for an agent.
    pub cancel: Duration,
    /// How long its process is kept after a turn, stopped, for the next.
    pub idle: Duration,
    /// So many processes are kept at the same time.
    pub kept: usize,
    /// Of a line.
    pub line_bytes: usize,
    /// In a turn.
    pub turn_bytes: usize,
    /// Lines in a turn that are no messages. Some agents log where they should speak.
    pub nonsense: usize,
    /// Of what a tool call gave. The rest is left out.
    pub output_bytes: usize,
    /// What a turn may spend with its provider.
    pub spend: TurnLimits,
}

impl Default for AcpLimits {
    fn default() -> Self {
        Self {
            start: Duration::from_secs(60),
            silence: Duration::from_secs(600),
            turn: Duration::from_secs(3_600),
            cancel: Duration::from_secs(3),
            idle: Duration::from_secs(60),
            kept: 8,
            line_bytes: 8 << 20,
            turn_bytes: 64 << 20,
            nonsense: 100,
            output_bytes: 64 << 10,
            spend: TurnLimits::default(),
        }
    }
}

impl Default for Confinement {
    fn default() -> Self {
        Self {
            files: true,
            open_network: false,
            readable: Vec::new(),
            processes: None,
            file_bytes: 256 << 20,
            memory_bytes: None,
        }
    }
}

/// The places of one session's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Places {
    pub(super) workspace: PathBuf,
    /// Saved with the workspace. Nobody's but this session's, so no login of somebody else is found there.
    pub(super) home: PathBuf,
    /// Not saved.
    pub(super) scratch: PathBuf,
    /// Free when it was looked for, for an agent that talks to itself by TCP.
    pub(super) port: u16,
    /// Where its provider answers.
    pub(super) base_url: Option<String>,
    /// The port of that.
    pub(super) door: Option<u16>,
}

impl Places {
    fn filled(&self, template: &str) -> String {
        let path = |path: &PathBuf| path.to_string_lossy().into_owned();
        template
            .replace("{base_url}", self.base_url.as_deref().unwrap_or_default())
            .replace("{home}", &path(&self.home))
            .replace("{workspace}", &path(&self.workspace))
            .replace("{scratch}", &path(&self.scratch))
            .replace("{port}", &self.port.to_string())
    }
}

impl AcpSettings {
    pub(super) fn command(&self, places: &Places) -> Vec<OsString> {
        let args = self.args.iter().map(|arg| places.filled(arg).into());
        std::iter::once(self.command.clone().into()).chain(args).collect()
    }

    pub(super) fn environment(&self, places: &Places) -> BTreeMap<OsString, OsString> {
        let scratch = &places.scratch;
        let mut all: BTreeMap<OsString, OsString> = [
            ("PATH".into(), PATH.into()),
            ("LANG".into(), "C.UTF-8".into()),
            ("HOME".into(), places.home.clone().into()),
            ("TMPDIR".into(), scratch.clone().into()),
            ("XDG_CACHE_HOME".into(), scratch.join("cache").into()),
        ]
        .into();
        let own = self.env.iter().map(|(name, value)| (name.into(), places.filled(value).into()));
        all.extend(own);
        all
    }

    pub(super) fn cage(&self, places: &Places) -> Cage {
        let it = &self.confinement;
        let ports = places.door.into_iter().chain([places.port]).collect();
        Cage {
            parent: i32::try_from(std::process::id()).expect("a process id is small"),
            confined: it.files,
            writable: vec![places.workspace.clone(), places.home.clone(), places.scratch.clone()],
            readable: it.readable.iter().cloned().chain([PathBuf::from(&self.command)]).collect(),
            ports: (!it.open_network).then_some(ports),
            processes: it.processes,
            file_bytes: it.file_bytes,
            memory_bytes: it.memory_bytes,
        }
    }
}
