//! `make chaos`: a system under load while its parts are killed, stopped and cut off, and laws that it is held to afterwards.
//!
//! The roles are processes of the binary that was built beside this program, two of each; so is everything that is asked of
//! them in the end. Between roles, Postgres and clients are wires that can be cut. Whoever uses the system goes on until the
//! answer comes, and remembers what it was; a sink and readers remember what they saw. When the mishaps are over all comes to
//! rest, and then the laws are asked: by queries of the rows and of what was remembered, by the product's own commands, and by
//! a drill of a backup.
//!
//! Not here: disasters after which a backup is restored (`bench/disasters`), speed (`bench/control-plane`).

mod folds;
mod judge;
mod laws;
mod mishaps;
mod outside;
mod people;
mod place;
mod proof;
mod rest;
mod roles;
mod run;
mod server;
mod sink;
mod told;
mod watch;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::run::Outcome;

/// An interrupt, as a shell would tell it.
const INTERRUPTED: u8 = 130;

/// Kills, stops and cuts off parts of a system under load at random, and holds it to its laws afterwards.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// How long things go wrong
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) seconds: u64,
    /// Where the dice begin
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Ask the laws only: no backup, no drill
    #[arg(long)]
    pub(crate) without_drill: bool,
    /// Put the logs of the roles there, where they stay
    #[arg(long, value_name = "DIR")]
    pub(crate) logs: Option<PathBuf>,
    /// Answer with one line of JSON
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        outcome = run::run(&options) => Ok(tell(&options, &outcome?)),
        _ = interrupt.recv() => Ok(ExitCode::from(INTERRUPTED)),
        _ = terminate.recv() => Ok(ExitCode::from(INTERRUPTED)),
    }
}

fn tell(options: &Options, outcome: &Outcome) -> ExitCode {
    let Outcome { counts, seen, violations } = outcome;
    if options.json {
        let told: Vec<_> = violations
            .iter()
            .map(|one| json!({"law": one.law, "sentence": one.sentence, "found": one.found}))
            .collect();
        println!(
            "{}",
            json!({
                "seconds": options.seconds, "seed": options.seed, "kills": counts.kills, "pauses": counts.pauses,
                "cuts": counts.cuts, "postgres": counts.postgres, "bad_days": counts.weather,
                "blocked_folders": counts.blocks, "seen": seen, "violations": told,
            })
        );
    } else {
        println!("{seen}");
        violations.iter().for_each(|violation| println!("  violation of {}", violation.line()));
        println!(
            "chaos seconds={} seed={} kills={} pauses={} cuts={} postgres={} violations={}",
            options.seconds,
            options.seed,
            counts.kills,
            counts.pauses,
            counts.cuts,
            counts.postgres,
            violations.len()
        );
    }
    if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
