//! Wrapping data keys anew, a page at a time.
//!
//! A record says itself under which version it is, so whoever is killed in the middle has lost nothing, and whoever begins
//! again goes on with what is left. Each page is one transaction. Records that are sealed under an older version meanwhile, by a role
//! with an older configuration, are counted at the end and not hunted for.
//!
//! A data key that does not open is told and left as it is.

use std::process::ExitCode;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use secrets::{Kms, KmsError, Wrapped};
use serde::Serialize;
use store::{Rewrapped, SealedTable, Store, WrappedKey};

use super::{ACTOR, everybody_opens, inventory::Inventory, kms};
use crate::cli::ConfigArgs;
use crate::failure::{EXIT_FAILED, Failure};
use crate::installation::Installation;
use crate::process::Process;

/// Faults that are told one by one; the others are counted.
const FAULTS_TOLD: usize = 20;

#[derive(Debug, Args)]
pub(crate) struct Rewrap {
    #[command(flatten)]
    config: ConfigArgs,
    /// Records of one transaction
    #[arg(long, default_value_t = 200, value_name = "RECORDS", value_parser = clap::value_parser!(u16).range(1..=5_000))]
    batch: u16,
    /// Answer with one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What became of it.
#[derive(Debug, Default, Serialize)]
struct Done {
    version: String,
    rewrapped: u64,
    /// Data keys that don't open. The first of them by name.
    failed: u64,
    faults: Vec<Fault>,
    /// Records that are under older versions now.
    left: i64,
}

#[derive(Debug, Serialize)]
struct Fault {
    table: &'static str,
    org_id: String,
    version: String,
    error: String,
}

impl Rewrap {
    pub(super) async fn run(self, process: Process) -> Result<ExitCode, Failure> {
        let installation = Installation::open(self.config.load(&process)?, &process).await?;
        let done = self.rewrap(&installation).await;
        installation.close().await;
        let done = done?;
        if self.json {
            println!("{}", serde_json::to_string(&done).expect("it is plain data"));
        } else {
            done.tell();
        }
        Ok(if done.left == 0 { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
    }

    async fn rewrap(&self, installation: &Installation) -> Result<Done, Failure> {
        let kms = kms(installation)?;
        let before = Inventory::of(installation).await?;
        agreed(&before)?;
        everybody_opens(installation, &kms).await?;
        let progress = self.progress(left(&before));
        let mut done = Done { version: kms.current_version().to_owned(), ..Done::default() };
        for table in SealedTable::ALL {
            self.table(&installation.store, &kms, table, &mut done, &progress).await?;
        }
        progress.finish_and_clear();
        done.left = left(&Inventory::of(installation).await?);
        Ok(done)
    }

    async fn table(
        &self,
        store: &Store,
        kms: &dyn Kms,
        table: SealedTable,
        done: &mut Done,
        progress: &ProgressBar,
    ) -> Result<(), Failure> {
        let mut after = None;
        loop {
            let page =
                store.data_key_list_older(table, kms.current_version(), after.as_ref(), self.batch.into()).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.place.clone());
            progress.set_message(table.as_str());
            progress.inc(page.len() as u64);
            let mut anew = Vec::with_capacity(page.len());
            for key in page {
                match wrapped_anew(kms, &key).await {
                    Ok(wrapped) => anew.push(Rewrapped { before: key, wrapped_key: wrapped.bytes }),
                    Err(KmsError::Unavailable(source)) => return Err(unavailable(source)),
                    Err(error) => done.note(&key, &error),
                }
            }
            done.rewrapped += store.data_key_rewrap(table, kms.current_version(), &anew, ACTOR).await?;
        }
    }

    fn progress(&self, records: i64) -> ProgressBar {
        let bar = if self.json { ProgressBar::hidden() } else { ProgressBar::new(records.unsigned_abs()) };
        bar.with_style(
            ProgressStyle::with_template("{msg:18} {wide_bar} {pos}/{len} {eta}").expect("the template is constant"),
        )
    }
}

/// Whoever wraps under a version that nobody decided for would wind a rotation back.
fn agreed(inventory: &Inventory) -> Result<(), Failure> {
    if inventory.older().is_empty() || inventory.rotated_to.as_deref() == Some(inventory.current()) {
        return Ok(());
    }
    let rotated = inventory.rotated_to.as_deref();
    Err(Failure::failed(
        "The configured version is not the system's current one.",
        format!("{} is configured as current, and {} was made current", inventory.current(), rotated.unwrap_or("none")),
        "Run `cowork keys rotate` first, or correct secrets.adapter_key.",
    ))
}

fn left(inventory: &Inventory) -> i64 {
    inventory.sealed.iter().filter(|sealed| sealed.version != inventory.current()).map(|sealed| sealed.records).sum()
}

async fn wrapped_anew(kms: &dyn Kms, key: &WrappedKey) -> Result<Wrapped, KmsError> {
    let (before, aad) = (Wrapped { bytes: key.wrapped_key.clone(), key_version: key.key_version.clone() }, key.aad());
    kms.wrap(&kms.unwrap(&before, &aad).await?, &aad).await
}

fn unavailable(source: Box<dyn std::error::Error + Send + Sync>) -> Failure {
    let advice = "Run this again: what was wrapped anew stays so, and it goes on with what is left.";
    Failure::could_not("The key service did not answer.", source, advice)
}

impl Done {
    fn note(&mut self, key: &WrappedKey, error: &KmsError) {
        self.failed += 1;
        if self.faults.len() < FAULTS_TOLD {
            self.faults.push(Fault {
                table: key.table.as_str(),
                org_id: key.place.org.to_string(),
                version: key.key_version.clone(),
                error: error.to_string(),
            });
        }
    }

    fn tell(&self) {
        println!("{} data keys were wrapped anew under version {}.", self.rewrapped, self.version);
        for Fault { table, org_id, error, .. } in &self.faults {
            println!("NOT OPENED: {table} of the org {org_id}: {error}");
        }
        if self.failed > self.faults.len() as u64 {
            println!("NOT OPENED: {} in all", self.failed);
        }
        if self.left == 0 {
            println!("No record needs an older version any more. Backups from before do: keep its value for them.");
        } else {
            println!(
                "{} records are under older versions. Repeat this when no role seals under one; `cowork keys inventory` \
                 names them.",
                self.left
            );
        }
    }
}
