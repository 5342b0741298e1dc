//! `cowork deliveries unknown`: messages of which nobody knows whether they arrived, until somebody says.
//!
//! Works on the installation and not through its API, so that they can be settled after a restore before any role is back. The
//! recovery ledger learns of it from the outbox, which the scheduler empties.
//!
//! Not here: how a delivery becomes unknown (`store::delivery`, `replay`).

use std::process::ExitCode;

use clap::{ArgGroup, Args, Subcommand};
use ids::{ChannelId, DeliveryId};
use serde_json::{Value, json};
use store::{Intervention, Store, UnknownDelivery};

use crate::cli::ConfigArgs;
use crate::failure::Failure;
use crate::installation::Installation;
use crate::process::Process;

/// Rows of one look.
const PAGE: i64 = 500;
const ACTOR: &str = "role:admin";

#[derive(Debug, Subcommand)]
pub(crate) enum Deliveries {
    /// Deliveries that may have arrived; a repeat would be a second message
    #[command(subcommand)]
    Unknown(Unknown),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Unknown {
    /// List them, with what it takes to ask the far side
    List(List),
    /// Send them again; they may arrive twice
    Resend(Resend),
    /// Say what became of them
    Settle(Settle),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    config: ConfigArgs,
    /// Only those of one channel
    #[arg(long, value_name = "ID")]
    channel: Option<ChannelId>,
    /// Answer with one line of JSON
    #[arg(long)]
    json: bool,
}

/// Which of them.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true).multiple(false))]
struct Which {
    /// The id of a delivery; may be given several times
    #[arg(value_name = "DELIVERY", group = "which")]
    deliveries: Vec<DeliveryId>,
    /// All that are unknown now
    #[arg(long, group = "which")]
    all: bool,
    /// With --all: only those of one channel
    #[arg(long, value_name = "ID", requires = "all")]
    channel: Option<ChannelId>,
}

#[derive(Debug, Args)]
pub(crate) struct Resend {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    which: Which,
    /// Answer with one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("fate").required(true))]
pub(crate) struct Settle {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    which: Which,
    /// They have arrived
    #[arg(long, group = "fate")]
    arrived: bool,
    /// They have not arrived, and are given up; a dead letter can be retried later
    #[arg(long, group = "fate")]
    lost: bool,
    /// Answer with one line of JSON
    #[arg(long)]
    json: bool,
}

/// What is to be done about each.
#[derive(Debug, Clone, Copy)]
enum Decision {
    Resend,
    Settle { arrived: bool },
}

impl Deliveries {
    pub(crate) fn json(&self) -> bool {
        let Self::Unknown(unknown) = self;
        match unknown {
            Unknown::List(list) => list.json,
            Unknown::Resend(resend) => resend.json,
            Unknown::Settle(settle) => settle.json,
        }
    }

    pub(crate) async fn run(self, process: Process) -> Result<ExitCode, Failure> {
        let Self::Unknown(unknown) = self;
        match unknown {
            Unknown::List(list) => list.run(process).await,
            Unknown::Resend(Resend { config, which, json }) => {
                decide(config, process, &which, Decision::Resend, json).await
            }
            Unknown::Settle(Settle { config, which, arrived, json, .. }) => {
                decide(config, process, &which, Decision::Settle { arrived }, json).await
            }
        }
    }
}

impl List {
    async fn run(self, process: Process) -> Result<ExitCode, Failure> {
        let installation = Installation::open(self.config.load(&process)?, &process).await?;
        let found = all(&installation.store, self.channel).await;
        installation.close().await;
        let found = found?;
        if self.json {
            println!("{}", json!({"items": found.iter().map(view).collect::<Vec<Value>>()}));
            return Ok(ExitCode::SUCCESS);
        }
        for unknown in &found {
            tell(unknown);
        }
        match found.len() {
            0 => println!("No delivery is unknown."),
            count => println!(
                "\n{count} unknown. Ask the far side, then `cowork deliveries unknown settle` or `... resend` says what to do."
            ),
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn decide(
    config: ConfigArgs,
    process: Process,
    which: &Which,
    decision: Decision,
    as_json: bool,
) -> Result<ExitCode, Failure> {
    let installation = Installation::open(config.load(&process)?, &process).await?;
    let done = decide_all(&installation, which, decision).await;
    installation.close().await;
    let (done, left) = done?;
    if as_json {
        println!("{}", json!({"done": done, "not_unknown": left}));
    } else {
        let what = match decision {
            Decision::Resend => "go out again",
            Decision::Settle { arrived: true } => "are known as sent",
            Decision::Settle { arrived: false } => "are given up",
        };
        println!("{} deliveries {what}.", done.len());
        left.iter().for_each(|delivery| println!("{delivery} is not unknown; nothing was done about it."));
    }
    Ok(if left.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Those that it was done about, and those that are not unknown (any more).
async fn decide_all(
    installation: &Installation,
    which: &Which,
    decision: Decision,
) -> Result<(Vec<DeliveryId>, Vec<DeliveryId>), Failure> {
    installation.generation_to_serve().await?;
    let store = &installation.store;
    let chosen = match which.all {
        true => all(store, which.channel).await?.into_iter().map(|unknown| unknown.delivery_id).collect(),
        false => which.deliveries.clone(),
    };
    let (mut done, mut left) = (Vec::new(), Vec::new());
    for delivery in chosen {
        match decide_one(store, delivery, decision).await? {
            Intervention::Done => done.push(delivery),
            Intervention::NoSuchDelivery | Intervention::NotNow => left.push(delivery),
        }
    }
    Ok((done, left))
}

async fn decide_one(store: &Store, delivery: DeliveryId, decision: Decision) -> Result<Intervention, Failure> {
    let Some(org) = store.delivery_org_of_unknown(delivery).await? else { return Ok(Intervention::NoSuchDelivery) };
    Ok(match decision {
        Decision::Resend => store.delivery_resend(org, delivery, ACTOR).await?,
        Decision::Settle { arrived } => store.delivery_settle_unknown(org, delivery, arrived, ACTOR).await?,
    })
}

async fn all(store: &Store, channel: Option<ChannelId>) -> Result<Vec<UnknownDelivery>, Failure> {
    let mut all: Vec<UnknownDelivery> = Vec::new();
    loop {
        let page = store.delivery_list_unknown(channel, all.last().map(|last| last.delivery_id), PAGE).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

fn view(unknown: &UnknownDelivery) -> Value {
    let UnknownDelivery { org, delivery_id, channel_id, channel, destination, thread, session_id, .. } = unknown;
    json!({
        "delivery_id": delivery_id, "org_id": org, "channel_id": channel_id, "channel": channel,
        "destination": destination, "thread": thread, "session_id": session_id, "sequence": unknown.sequence,
        "created_at": unknown.created_at, "since": unknown.since, "reason": unknown.reason,
    })
}

fn tell(unknown: &UnknownDelivery) {
    let UnknownDelivery { delivery_id, channel, destination, thread, session_id, sequence, created_at, .. } = unknown;
    println!("{delivery_id}  made {created_at}");
    println!("  to {destination} (channel {channel}, thread {thread}), event {sequence} of session {session_id}");
    if let Some(reason) = &unknown.reason {
        println!("  {reason}");
    }
}
