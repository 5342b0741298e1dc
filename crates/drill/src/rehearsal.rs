//! The rehearsal: a live system of the drill's own, which is backed up while it is busy, goes on, and is destroyed.
//!
//! Everything in it was written by the program, through its API or by its roles; the drill writes no row. What the
//! world outside knows (the sink, the canaries, what was acknowledged) is kept in [`Aftermath`], apart from the system.
//!
//! Not here: judging (`checks`), restoring (`run`).

pub(crate) mod canaries;
pub(crate) mod kept;
pub(crate) mod later;
mod life;
pub(crate) mod people;
mod repository;
mod supervise;
mod world;

use std::path::PathBuf;

use clock::Timestamp;
use ids::{ChannelId, CommandId, OrgId, RunId, SessionId, WorkflowId};
use secrecy::SecretString;

use self::canaries::Canaries;
use self::kept::Kept;
use self::later::Standing;
use self::people::People;
use crate::origin::Origin;
use crate::settings::SecretValues;
use crate::sink::Sink;

pub(crate) use self::life::files;
pub(crate) use self::world::{Means, Source, build, start_target_cluster};

/// How large a world is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Besides the few that are there for what happens in them.
    pub(crate) sessions: u32,
    /// One at least.
    pub(crate) orgs: usize,
    /// Only what a drill has to have something to ask about.
    pub(crate) bare: bool,
}

impl Size {
    pub(crate) const FEW: Self = Self { sessions: 0, orgs: 3, bare: false };

    /// 1: about 200 sessions, 10,000 events, 500 blobs. 20: 1 GB of rows and 10,000 blobs.
    pub(crate) fn of_scale(scale: u32) -> Self {
        Self { sessions: scale * SESSIONS_PER_SCALE, ..Self::FEW }
    }
}

const SESSIONS_PER_SCALE: u32 = 190;

/// A command that the API acknowledged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Acknowledged {
    pub(crate) command: CommandId,
    pub(crate) at: Timestamp,
}

/// A message from outside that the gateway accepted.
#[derive(Debug, Clone)]
pub(crate) struct Inbound {
    pub(crate) event_id: String,
    pub(crate) thread: String,
    pub(crate) text: String,
    pub(crate) command: CommandId,
    pub(crate) at: Timestamp,
}

/// A call of a workflow that the gateway accepted.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) event_id: String,
    pub(crate) data: String,
    pub(crate) run: RunId,
}

/// A webhook trigger whose calls the drill can sign.
#[derive(Debug, Clone)]
pub(crate) struct KnownTrigger {
    pub(crate) org: OrgId,
    pub(crate) workflow: WorkflowId,
    /// Where it is called, at a gateway.
    pub(crate) path: String,
    pub(crate) signing_secret: SecretString,
}

/// A workflow that is called, and the calls of it that were accepted.
#[derive(Debug, Clone)]
pub(crate) struct Called {
    pub(crate) trigger: KnownTrigger,
    pub(crate) calls: Vec<Call>,
}

/// A workflow that waits, paused, for the target's scheduler to be asked to go on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    pub(crate) org: OrgId,
    pub(crate) workflow: WorkflowId,
    /// The lost system was asked to go on with it after the backup, and fired what it had missed.
    pub(crate) resumed: bool,
}

/// A session with a checkpoint, and a file and a link in its workspace, for the smoke prompt.
#[derive(Debug, Clone)]
pub(crate) struct Smoke {
    pub(crate) org: OrgId,
    pub(crate) session: SessionId,
    /// The file's name and the SHA-256 of its content, in hex.
    pub(crate) remembers: Option<(String, String)>,
    /// The link's name and the SHA-256 of where it leads, in hex. `None`: none is known.
    pub(crate) link: Option<(String, String)>,
}

/// A channel whose messages the drill can sign.
#[derive(Debug, Clone)]
pub(crate) struct KnownChannel {
    pub(crate) org: OrgId,
    pub(crate) channel: ChannelId,
    pub(crate) signing_secret: SecretString,
}

/// Where somebody would answer who must not: the lost system, or production.
#[derive(Debug, Clone)]
pub(crate) enum Elsewhere {
    /// The URL of a database.
    Database(String),
    /// `HOST:PORT`
    Server(String),
}

/// What is left of the source: what the world outside of it knows.
#[derive(Debug)]
pub(crate) struct Aftermath {
    /// Where its backup is.
    pub(crate) origin: Origin,
    /// Nothing of the target may reach these.
    pub(crate) elsewhere: Vec<Elsewhere>,
    pub(crate) operator_token: SecretString,
    /// Kept outside of the system, as an operator's secret manager is.
    pub(crate) secrets: SecretValues,
    pub(crate) sink: Sink,
    /// How many requests the sink had when nobody of the source was left.
    pub(crate) arrived: usize,
    /// Whether the sink was there before the disaster, and so knows what had been sent.
    pub(crate) witness: bool,
    pub(crate) canaries: Canaries,
    /// The same path for every worker of this world, before and after.
    pub(crate) workspaces: PathBuf,
    /// Logs of the source's roles, if the drill has them.
    pub(crate) logs: Option<PathBuf>,
    /// The recovery ledger, which the disaster does not reach; `None`: nobody has it.
    pub(crate) ledger: Option<PathBuf>,
    /// What `cowork backup` printed.
    pub(crate) backup_output: String,
    pub(crate) acknowledged: Vec<Acknowledged>,
    pub(crate) inbound: Vec<Inbound>,
    /// A channel that the drill can send a message into.
    pub(crate) inbound_channel: Option<KnownChannel>,
    /// `None`: no workflow is known that is called.
    pub(crate) called: Option<Called>,
    pub(crate) smoke: Option<Smoke>,
    pub(crate) held: Vec<Held>,
    /// What was decided after the backup. `None`: nothing is known.
    pub(crate) standing: Option<Standing>,
    /// What was set before the backup, and otherwise after it. `None`: nothing is known.
    pub(crate) kept: Option<Kept>,
    /// Who may do what in a chat, and what was decided there. `None`: nothing is known.
    pub(crate) people: Option<People>,
    /// (workflow, due time) of every run that the source's API listed last.
    pub(crate) fired: Vec<(WorkflowId, Timestamp)>,
    pub(crate) restarts: u64,
    pub(crate) disaster_at: Timestamp,
    /// When gateways of the source were killed, the disaster among it.
    pub(crate) interruptions: Vec<Timestamp>,
}
