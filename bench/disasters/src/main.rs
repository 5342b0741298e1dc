//! `make disasters`: systems that are lost at random instants and come back, and an oracle outside of them.
//!
//! The bulk runs in this process: real roles on a real Postgres, each life on a runtime of its own that is ended at a random
//! instant (`life`); the fence, the replay and the new generation are those of `cowork restore` (crate `recovery`). Some
//! lineages restore without asking the ledger, as others do; there the oracle has to see things happen twice, else it
//! would be blind.

mod copying;
mod judge;
mod life;
mod lineage;
mod real;
mod server;
mod sink;
mod tally;
mod users;

use std::process::ExitCode;

use clap::Parser;
use futures::stream::{self, StreamExt as _};

use crate::lineage::Fate;
use crate::server::Databases;
use crate::sink::Sink;
use crate::tally::Tally;

/// Disasters of one lineage: restores upon restores.
const OF_A_LINEAGE: u32 = 5;
/// Disasters after which nothing is remembered.
const FORGOTTEN: u32 = 20;

/// Loses systems at random instants, restores them, and counts what happens twice, gets lost or comes back.
#[derive(Debug, Parser)]
struct Options {
    /// How many, in this process
    #[arg(long, default_value_t = 950)]
    disasters: u32,
    /// How many of real processes, with `kill -9`, `cowork backup` and `cowork restore`
    #[arg(long, default_value_t = 50)]
    real: u32,
    /// Where the dice begin
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Lineages at the same time
    #[arg(long, default_value_t = 4)]
    at_once: usize,
    /// Answer with one line of JSON
    #[arg(long)]
    json: bool,
}

/// How a lineage lives, dies and comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    InProcess,
    /// In this process, too; its restores ask no ledger.
    Forgetful,
    Real,
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Self::InProcess => "",
            Self::Forgetful => ", nothing remembered",
            Self::Real => " of real processes",
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    let databases = Databases::prepare().await?;
    let sink = Sink::start(testkit::sources(options.seed).1).await?;
    let naive = all(&databases, &sink, &options, FORGOTTEN, Kind::Forgetful).await?;
    let mut ours = all(&databases, &sink, &options, options.disasters, Kind::InProcess).await?;
    ours += all(&databases, &sink, &options, options.real, Kind::Real).await?;
    let mut faults = ours.faults();
    if naive.duplicated() == 0 || naive.double_fired == 0 || naive.resurrected == 0 {
        faults.push("the oracle is blind: without a ledger it saw nothing happen twice".to_owned());
    }
    if options.json {
        println!("{}", serde_json::json!({"naive": naive.json(), "ours": ours.json(), "faults": faults}));
    } else {
        println!("\nrestored without a ledger, as others do:\n  {}", naive.line());
        println!("restored with it, {} messages, {} slots, {} revocations:", ours.sent, ours.slots, ours.taken_away);
        println!("  {} deliveries were under way in a disaster where a repeat would be seen", ours.in_flight);
        faults.iter().for_each(|fault| println!("  broken: {fault}"));
        println!("{}", ours.line());
    }
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// So many disasters, in lineages.
async fn all(
    databases: &Databases,
    sink: &Sink,
    options: &Options,
    disasters: u32,
    kind: Kind,
) -> anyhow::Result<Tally> {
    let lineages = disasters.div_ceil(OF_A_LINEAGE);
    let fates = (0..lineages).map(|lineage| {
        let number = u64::from(lineage) * 3 + kind as u64;
        let disasters = OF_A_LINEAGE.min(disasters - lineage * OF_A_LINEAGE);
        Fate { number, seed: options.seed.wrapping_mul(1_000_003) + number, disasters, forget: kind == Kind::Forgetful }
    });
    let mut runs = stream::iter(fates).map(|fate| async move {
        let tally = match kind {
            Kind::Real => real::run(databases, sink, fate).await,
            Kind::InProcess | Kind::Forgetful => lineage::run(databases, sink, fate).await,
        };
        let whose = format!("lineage {} (seed {})", fate.number, fate.seed);
        tally.map(|tally| (whose.clone(), tally)).map_err(|error| error.context(whose))
    });
    let mut sum = Tally::default();
    let at_once = if kind == Kind::Real { options.at_once.div_ceil(2) } else { options.at_once };
    let mut done = runs.by_ref().buffer_unordered(at_once);
    while let Some(tally) = done.next().await {
        let (whose, tally) = tally?;
        if kind != Kind::Forgetful && !tally.faults().iter().all(|fault| fault.starts_with("there was no")) {
            eprintln!("\nbroken, {whose}: {}", tally.json());
        }
        sum += tally;
        eprint!("\r{} of {disasters} disasters{}", sum.disasters, kind.words());
    }
    eprintln!();
    Ok(sum)
}
