//! `cowork maintenance`: the system is read and not written, until it is told otherwise.
//!
//! Works on the installation and not through its API, which an operator may have lost.
//!
//! Not here: who holds still (`store::maintenance`).

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;
use store::{Maintenance as Begun, Store};

use crate::cli::ConfigArgs;
use crate::failure::Failure;
use crate::installation::Installation;
use crate::process::Process;

const ACTOR: &str = "role:admin";
/// Characters of a reason.
const REASON_MAX: usize = 200;

#[derive(Debug, Subcommand)]
pub(crate) enum Maintenance {
    /// Refuse what changes something, and begin nothing
    On(On),
    /// Work again
    Off(Plain),
    /// Say whether the system is in maintenance, since when, and why
    Status(Plain),
}

#[derive(Debug, Args)]
pub(crate) struct On {
    #[command(flatten)]
    plain: Plain,
    /// Shown to everybody who is refused
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct Plain {
    #[command(flatten)]
    config: ConfigArgs,
    /// Answer with one line of JSON
    #[arg(long)]
    json: bool,
}

impl Maintenance {
    pub(crate) fn json(&self) -> bool {
        self.plain().json
    }

    fn plain(&self) -> &Plain {
        match self {
            Self::On(on) => &on.plain,
            Self::Off(plain) | Self::Status(plain) => plain,
        }
    }

    pub(crate) async fn run(self, process: Process) -> Result<ExitCode, Failure> {
        let installation = Installation::open(self.plain().config.load(&process)?, &process).await?;
        let state = self.carry_out(&installation).await;
        installation.close().await;
        tell(state?.as_ref(), self.json());
        Ok(ExitCode::SUCCESS)
    }

    /// The state afterwards.
    async fn carry_out(&self, installation: &Installation) -> Result<Option<Begun>, Failure> {
        installation.generation_to_serve().await?;
        let store: &Store = &installation.store;
        match self {
            Self::On(On { reason, .. }) => drop(store.maintenance_begin(reason, ACTOR).await?),
            Self::Off(_) => drop(store.maintenance_end(ACTOR).await?),
            Self::Status(_) => {}
        }
        Ok(store.maintenance().await?)
    }
}

fn tell(state: Option<&Begun>, as_json: bool) {
    if as_json {
        let (since, reason) = (state.map(|it| it.since), state.map(|it| it.reason.as_str()));
        return println!("{}", json!({"on": state.is_some(), "since": since, "reason": reason}));
    }
    match state {
        None => println!("The system works."),
        Some(Begun { since, reason }) => println!("The system is in maintenance since {since}: {reason}"),
    }
}

fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    let fits = (1..=REASON_MAX).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    if fits { Ok(text.to_owned()) } else { Err(format!("a reason has 1 to {REASON_MAX} characters on one line")) }
}
