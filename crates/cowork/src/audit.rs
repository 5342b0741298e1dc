//! `cowork audit`: whether the audit trails are what was sealed.
//!
//! It reads the database and nothing else, so it can be asked of a restored one before any role starts.
//!
//! Not here: what a seal is (`store::audit`), sealing (`scheduler`).

use std::process::ExitCode;
use std::str::FromStr;

use clap::{Args, Subcommand};
use ids::OrgId;
use serde_json::{Value, json};
use store::{AuditHead, AuditVerification, Org, Store};

use crate::cli::ConfigArgs;
use crate::failure::{EXIT_FAILED, Failure};
use crate::installation::Installation;
use crate::process::Process;

/// Orgs that are read at a time.
const PAGE: i64 = 200;

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Compare every record of the audit trails with its seal
    Verify(Verify),
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    config: ConfigArgs,
    /// Of one org only; of all unless it is named
    #[arg(long, value_name = "ID")]
    org: Option<OrgId>,
    /// Begin at a link that was noted: its number and hash, as an earlier verification said them
    #[arg(long, value_name = "NUMBER:HASH", requires = "org")]
    from: Option<Noted>,
    /// Answer with one line of JSON
    #[arg(long)]
    json: bool,
}

/// A link, as people write it.
#[derive(Debug, Clone, Copy)]
struct Noted(AuditHead);

impl FromStr for Noted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || "a link is its number, a colon and 64 hex digits".to_owned();
        let (number, hash) = text.split_once(':').ok_or_else(invalid)?;
        let number = number.parse::<i64>().ok().filter(|number| *number >= 0).ok_or_else(invalid)?;
        let hash = hex::decode(hash).ok().and_then(|hash| hash.try_into().ok()).ok_or_else(invalid)?;
        Ok(Self(AuditHead { number, hash }))
    }
}

impl Audit {
    pub(crate) fn json(&self) -> bool {
        let Self::Verify(verify) = self;
        verify.json
    }

    pub(crate) async fn run(self, process: Process) -> Result<ExitCode, Failure> {
        let Self::Verify(verify) = self;
        let installation = Installation::open(verify.config.load(&process)?, &process).await?;
        let seen = verify.look(&installation.store).await;
        installation.close().await;
        let seen = seen?;
        tell(&seen, verify.json);
        let intact = seen.iter().all(|(_, seen)| seen.fault.is_none());
        Ok(if intact { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
    }
}

impl Verify {
    async fn look(&self, store: &Store) -> Result<Vec<(Org, AuditVerification)>, Failure> {
        let from = self.from.map(|Noted(head)| head);
        let mut seen = Vec::new();
        for org in self.orgs(store).await? {
            let verification = store.audit_verify(org.org_id, from, i64::MAX).await?;
            seen.push((org, verification));
        }
        Ok(seen)
    }

    async fn orgs(&self, store: &Store) -> Result<Vec<Org>, Failure> {
        if let Some(org) = self.org {
            let found = store.org_get(org).await?;
            let advice = "See `GET /api/orgs` for the ids of orgs.";
            let none = || Failure::failed("Nothing was verified.", format!("there is no org {org}"), advice);
            return Ok(vec![found.ok_or_else(none)?]);
        }
        let mut orgs: Vec<Org> = Vec::new();
        loop {
            let page = store.org_list(orgs.last().map(|org| org.org_id), PAGE).await?;
            if page.is_empty() {
                return Ok(orgs);
            }
            orgs.extend(page);
        }
    }
}

fn tell(seen: &[(Org, AuditVerification)], as_json: bool) {
    if as_json {
        let intact = seen.iter().all(|(_, seen)| seen.fault.is_none());
        let orgs: Vec<Value> = seen.iter().map(|(org, seen)| view(org, seen)).collect();
        return println!("{}", json!({"intact": intact, "orgs": orgs}));
    }
    for (org, seen) in seen {
        let (id, head) = (org.org_id, &seen.head);
        match &seen.fault {
            None => println!("{id}: {} records hold, to {}:{}", seen.verified, head.number, hex::encode(head.hash)),
            Some(fault) => println!("{id}: BROKEN at record {} ({})", fault.number, fault.kind.as_str()),
        }
        if seen.erased > 0 {
            println!("{id}: {} of them quoted people who were erased since", seen.erased);
        }
        if seen.unsealed > 0 {
            println!("{id}: {} more wait for a scheduler to seal them", seen.unsealed);
        }
    }
    println!("Note the last links elsewhere: who begins there sees whether a chain was written anew or wound back.");
}

fn view(org: &Org, seen: &AuditVerification) -> Value {
    let fault = seen.fault.as_ref().map(|fault| json!({"number": fault.number, "kind": fault.kind.as_str()}));
    json!({
        "org_id": org.org_id, "intact": seen.fault.is_none(), "verified": seen.verified, "number": seen.head.number,
        "hash": hex::encode(seen.head.hash), "erased": seen.erased, "unsealed": seen.unsealed, "fault": fault,
    })
}
