//! `cowork usage`: what an org used, for whoever has the installation and no token.
//!
//! Days are those of the calendar in UTC. A range begins with `--from` and ends before `--to`, as in `GET /api/usage`;
//! without one it is the period of quotas that is under way.
//!
//! Not here: what counts and when (`store::usage`), what is left of quotas (`quotas`).

use std::collections::BTreeMap;
use std::process::ExitCode;

use chrono::NaiveDate;
use clap::Args;
use clock::Timestamp;
use domain::quota::{DayRange, QuotaPeriod};
use ids::OrgId;
use serde_json::{Value, json};
use store::{DayTotal, ModelTotal};

use crate::cli::ConfigArgs;
use crate::failure::Failure;
use crate::installation::Installation;
use crate::process::Process;

#[derive(Debug, Args)]
pub(crate) struct Usage {
    #[command(flatten)]
    config: ConfigArgs,
    /// Whose
    #[arg(long, value_name = "ID")]
    org: OrgId,
    /// Of the present day or month, of the calendar in UTC
    #[arg(long, default_value = "month", conflicts_with = "from")]
    period: QuotaPeriod,
    /// The first day, in UTC, like 2026-11-01
    #[arg(long, value_name = "DAY", requires = "to", value_parser = day)]
    from: Option<NaiveDate>,
    /// The day after the last one, in UTC: at most 400 days after the first
    #[arg(long, value_name = "DAY", requires = "from", value_parser = day)]
    to: Option<NaiveDate>,
    /// Answer with one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What an org used in some days.
struct Used {
    org: OrgId,
    range: DayRange,
    days: Vec<DayTotal>,
    models: Vec<ModelTotal>,
}

/// As RFC 3339 writes it, and in no other way that could be read as one.
fn day(text: &str) -> Result<NaiveDate, &'static str> {
    let day = text.parse::<NaiveDate>().ok();
    let day = day.filter(|day| text.len() == "2026-11-28".len() && day.to_string() == text);
    day.ok_or("a day is written as 2026-11-28")
}

impl Usage {
    pub(crate) async fn run(self, process: Process) -> Result<ExitCode, Failure> {
        let range = self.range(process.sources.now())?;
        let installation = Installation::open(self.config.load(&process)?, &process).await?;
        let used = used(&installation, self.org, range).await;
        installation.close().await;
        if self.json {
            println!("{}", used?.view());
        } else {
            print!("{}", used?.table());
        }
        Ok(ExitCode::SUCCESS)
    }

    fn range(&self, now: Timestamp) -> Result<DayRange, Failure> {
        let present = || (self.period.begins(now), self.period.ends_at(now).date_naive());
        let (from, to) = self.from.zip(self.to).unwrap_or_else(present);
        DayRange::new(from, to).map_err(|error| {
            let advice = "Give a --to that is not before --from, and at most 400 days after it.";
            Failure::usage("These days are no range.", error, advice)
        })
    }
}

async fn used(installation: &Installation, org: OrgId, range: DayRange) -> Result<Used, Failure> {
    installation.generation_to_serve().await?;
    let store = &installation.store;
    if store.org_get(org).await?.is_none() {
        let advice = "See `GET /api/orgs` for the ids of orgs.";
        return Err(Failure::failed("Nothing is known.", format!("there is no org {org}"), advice));
    }
    let (days, models) = (store.usage_by_day(org, range).await?, store.usage_by_model(org, Some(range)).await?);
    Ok(Used { org, range, days, models })
}

impl Used {
    /// By kind, over all of the days.
    fn totals(&self) -> BTreeMap<&str, i64> {
        let mut totals: BTreeMap<&str, i64> = BTreeMap::new();
        for DayTotal { kind, quantity, .. } in &self.days {
            *totals.entry(kind.as_str()).or_default() += quantity;
        }
        totals
    }

    /// As the API tells it: `items` of all the days as in `GET /api/usage`, `days` as in `GET /api/usage/days`.
    fn view(&self) -> Value {
        let totals = self.totals();
        let items: Vec<_> = totals.iter().map(|(kind, quantity)| json!({"kind": kind, "quantity": quantity})).collect();
        let days = self.days.iter().map(
            |DayTotal { day, kind, quantity }| json!({"day": day.to_string(), "kind": kind, "quantity": quantity}),
        );
        json!({
            "org_id": self.org,
            "period": {"from": self.range.from().to_string(), "to": self.range.to().to_string()},
            "items": items,
            "days": days.collect::<Vec<_>>(),
            "models": self.models.iter().map(model).collect::<Vec<_>>(),
        })
    }

    fn table(&self) -> String {
        let (from, to) = (self.range.from(), self.range.to());
        if self.days.is_empty() {
            return format!("The org used nothing from {from} to the day before {to}.\n");
        }
        let row = |of: &str, kind: &str, quantity: i64| format!("{of:10}  {kind:14} {quantity:>16}\n");
        let days = self.days.iter().map(|total| row(&total.day.to_string(), &total.kind, total.quantity));
        let totals = self.totals().into_iter().map(|(kind, quantity)| row("all days", kind, quantity));
        let models = self.models.iter().map(|total| {
            let name = if total.model.is_empty() { "not said" } else { total.model.as_str() };
            let ModelTotal { provider, input_tokens, output_tokens, requests, .. } = total;
            format!("{provider} {name}: {input_tokens} tokens in, {output_tokens} out, {requests} requests\n")
        });
        days.chain(totals).chain(models).collect()
    }
}

fn model(total: &ModelTotal) -> Value {
    json!({
        "provider": total.provider,
        "model": Some(&total.model).filter(|model| !model.is_empty()),
        "input_tokens": total.input_tokens,
        "output_tokens": total.output_tokens,
        "cached_tokens": total.cached_tokens,
        "requests": total.requests,
        "requests_unknown": total.requests_unknown,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(days: Vec<DayTotal>) -> Used {
        let range = DayRange::new(day("2026-11-01").unwrap(), day("2026-12-01").unwrap()).unwrap();
        Used { org: uuid::Uuid::nil().into(), range, days, models: Vec::new() }
    }

    #[test]
    fn a_table_has_each_day_and_then_all_of_them() {
        let total = |on: &str, quantity| DayTotal { day: day(on).unwrap(), kind: "turns".into(), quantity };
        let table = used(vec![total("2026-11-02", 3), total("2026-11-03", 40)]).table();
        assert_eq!(
            table.lines().collect::<Vec<_>>(),
            [
                "2026-11-02  turns                         3",
                "2026-11-03  turns                        40",
                "all days    turns                        43",
            ]
        );
    }

    #[test]
    fn who_used_nothing_is_told_so() {
        assert_eq!(used(Vec::new()).table(), "The org used nothing from 2026-11-01 to the day before 2026-12-01.\n");
    }

    #[test]
    fn a_day_is_written_in_one_way() {
        for wrong in ["2026-11-1", "2026-02-30", "yesterday", "+99999-01-01", ""] {
            assert!(day(wrong).is_err(), "{wrong}");
        }
    }
}
