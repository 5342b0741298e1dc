//! `cowork quotas`: how much the orgs may use, seen and set by whoever has the installation.
//!
//! Not here: who refuses what (`store::quota`).

use std::process::ExitCode;

use clap::{Args, Subcommand};
use domain::quota::{QuotaPeriod, UsageKind};
use domain::version::Expected;
use ids::OrgId;
use serde_json::json;
use store::{QuotaRemoval, QuotaUse};

use crate::cli::ConfigArgs;
use crate::failure::Failure;
use crate::installation::Installation;
use crate::process::Process;

const ACTOR: &str = "role:admin";

#[derive(Debug, Subcommand)]
pub(crate) enum Quotas {
    /// List an org's quotas, with what is used in the present period
    List(Whose),
    /// Set how much an org may use of a kind
    Set(Set),
    /// Take a quota away: the org may use any number
    Remove(Remove),
}

#[derive(Debug, Args)]
pub(crate) struct Whose {
    #[command(flatten)]
    config: ConfigArgs,
    /// Whose
    #[arg(long, value_name = "ID")]
    org: OrgId,
    /// Answer with one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Set {
    #[command(flatten)]
    whose: Whose,
    /// turns, turn_ms, input_tokens, output_tokens, artifact_bytes, deliveries or runs
    #[arg(long)]
    kind: UsageKind,
    /// day or month, of the calendar in UTC
    #[arg(long)]
    period: QuotaPeriod,
    /// As many are allowed in a period
    #[arg(long, value_name = "QUANTITY", value_parser = clap::value_parser!(i64).range(0..=1_000_000_000_000_000))]
    max: i64,
}

#[derive(Debug, Args)]
pub(crate) struct Remove {
    #[command(flatten)]
    whose: Whose,
    /// Of what
    #[arg(long)]
    kind: UsageKind,
}

impl Quotas {
    fn whose(&self) -> &Whose {
        match self {
            Self::List(whose) | Self::Set(Set { whose, .. }) | Self::Remove(Remove { whose, .. }) => whose,
        }
    }

    pub(crate) fn json(&self) -> bool {
        self.whose().json
    }

    pub(crate) async fn run(self, process: Process) -> Result<ExitCode, Failure> {
        let Whose { config, org, json } = self.whose();
        let installation = Installation::open(config.load(&process)?, &process).await?;
        let quotas = self.carry_out(&installation, *org).await;
        installation.close().await;
        tell(&quotas?, *json);
        Ok(ExitCode::SUCCESS)
    }

    /// The org's quotas afterwards.
    async fn carry_out(&self, installation: &Installation, org: OrgId) -> Result<Vec<QuotaUse>, Failure> {
        installation.generation_to_serve().await?;
        let store = &installation.store;
        if store.org_get(org).await?.is_none() {
            let advice = "See `GET /api/orgs` for the ids of orgs.";
            return Err(Failure::failed("Nothing was done.", format!("there is no org {org}"), advice));
        }
        match self {
            Self::List(_) => {}
            Self::Set(Set { kind, period, max, .. }) => {
                store.quota_put(org, *kind, *period, *max, &Expected::Anything, ACTOR).await?;
            }
            Self::Remove(Remove { kind, .. }) => {
                let removed = store.quota_remove(org, *kind, &Expected::Anything, ACTOR).await?;
                if removed != QuotaRemoval::Done {
                    let advice = "See `cowork quotas list`.";
                    return Err(Failure::failed(
                        "Nothing was removed.",
                        format!("the org has no quota of {kind}"),
                        advice,
                    ));
                }
            }
        }
        Ok(store.quota_list(org).await?)
    }
}

fn tell(quotas: &[QuotaUse], as_json: bool) {
    if as_json {
        let items: Vec<_> = quotas.iter().map(view).collect();
        return println!("{}", json!({"items": items}));
    }
    for QuotaUse { quota, used, ends_at } in quotas {
        let (kind, period, max) = (quota.kind.as_str(), quota.period.as_str(), quota.quantity_max);
        println!("{kind:16} {used} of {max} in this {period}, which ends at {ends_at}");
    }
    if quotas.is_empty() {
        println!("The org has no quotas: it may use any number.");
    }
}

fn view(QuotaUse { quota, used, ends_at }: &QuotaUse) -> serde_json::Value {
    json!({
        "kind": quota.kind, "period": quota.period, "quantity_max": quota.quantity_max, "used": used, "ends_at": ends_at,
    })
}
