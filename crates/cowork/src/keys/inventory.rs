//! What is sealed under which version, and who needs what.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use serde::Serialize;
use store::{InstanceKeys, SealedCount};

use super::{living, named};
use crate::cli::ConfigArgs;
use crate::failure::{EXIT_FAILED, Failure};
use crate::installation::Installation;
use crate::process::Process;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Answer with one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The state of the keys, as the rows, the configuration of this machine and the living processes have it.
#[derive(Debug, Serialize)]
pub(crate) struct Inventory {
    /// Versions that the configuration names, the current one first.
    pub(crate) configured: Vec<String>,
    /// What an operator made current. `None`: nothing was ever rotated.
    pub(crate) rotated_to: Option<String>,
    pub(crate) sealed: Vec<Sealed>,
    /// Living processes, and what they seal under.
    roles: Vec<RoleKeys>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Sealed {
    pub(crate) table: String,
    pub(crate) version: String,
    pub(crate) records: i64,
}

#[derive(Debug, Serialize)]
struct RoleKeys {
    process: String,
    /// `None`: an older release, which does not say.
    seals_under: Option<String>,
}

impl Args {
    pub(super) async fn run(self, process: Process) -> Result<ExitCode, Failure> {
        let installation = Installation::open(self.config.load(&process)?, &process).await?;
        let inventory = Inventory::of(&installation).await;
        installation.close().await;
        let inventory = inventory?;
        if self.json {
            println!("{}", serde_json::to_string(&inventory).expect("it is plain data"));
        } else {
            inventory.tell();
        }
        let fit = inventory.missing().is_empty() && inventory.other_than_rotated().is_none();
        Ok(if fit { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
    }
}

impl Inventory {
    pub(crate) async fn of(installation: &Installation) -> Result<Self, Failure> {
        let living = living(installation).await?;
        let counts = installation.store.data_key_counts().await?;
        let rotated = installation.store.key_rotation_current().await?;
        let role = |process: &InstanceKeys| RoleKeys {
            process: named(process),
            seals_under: process.key_versions.as_ref().and_then(|all| all.first().cloned()),
        };
        Ok(Self {
            configured: installation.config.secret_references().adapter_key_versions(),
            rotated_to: rotated.map(|rotation| rotation.version),
            sealed: counts.into_iter().map(Sealed::from).collect(),
            roles: living.iter().map(role).collect(),
        })
    }

    pub(crate) fn current(&self) -> &str {
        &self.configured[0]
    }

    /// Records by version.
    fn records(&self) -> BTreeMap<&str, i64> {
        let mut records = BTreeMap::new();
        for sealed in &self.sealed {
            *records.entry(sealed.version.as_str()).or_default() += sealed.records;
        }
        records
    }

    /// Versions under which something is sealed and that the configuration does not name.
    pub(crate) fn missing(&self) -> Vec<String> {
        let records = self.records().into_iter();
        let unknown = records.filter(|(version, _)| !self.configured.iter().any(|known| known == version));
        unknown.map(|(version, records)| format!("version {version} ({records} records)")).collect()
    }

    /// Older versions that records are still sealed under.
    pub(crate) fn older(&self) -> Vec<String> {
        let records = self.records().into_iter().filter(|(version, _)| *version != self.current());
        records.map(|(version, records)| format!("version {version} ({records} records)")).collect()
    }

    /// What was made current, if the configuration names another version as current.
    pub(crate) fn other_than_rotated(&self) -> Option<&str> {
        self.rotated_to.as_deref().filter(|rotated| *rotated != self.current())
    }

    /// Configured older versions that no record and no living process needs.
    pub(crate) fn unneeded(&self) -> Vec<&str> {
        let records = self.records();
        let sealing: BTreeSet<&str> = self.roles.iter().filter_map(|role| role.seals_under.as_deref()).collect();
        let unsure = self.roles.iter().any(|role| role.seals_under.is_none());
        let older = self.configured[1..].iter().map(String::as_str);
        older.filter(|older| !unsure && !records.contains_key(older) && !sealing.contains(older)).collect()
    }

    fn tell(&self) {
        println!("configured: {} is current; {}", self.current(), listed(&self.configured[1..], "no older ones"));
        match &self.rotated_to {
            Some(version) => println!("made current by an operator: {version}"),
            None => println!("made current by an operator: none yet"),
        }
        for Sealed { table, version, records } in &self.sealed {
            println!("{table:18} version {version:12} {records} records");
        }
        for RoleKeys { process, seals_under } in &self.roles {
            println!(
                "role {process} seals under {}",
                seals_under.as_deref().unwrap_or("a version that it does not say")
            );
        }
        for missing in self.missing() {
            println!("MISSING: {missing} can't be opened: name it under secrets.adapter_key.previous");
        }
        if let Some(rotated) = self.other_than_rotated() {
            println!(
                "OTHER: {rotated} was made current, and {} is configured as current: correct the configuration, or \
                 run `cowork keys rotate`",
                self.current()
            );
        }
        for version in self.unneeded() {
            println!("version {version} is needed by nothing here; keep its value as long as backups need it");
        }
    }
}

impl From<SealedCount> for Sealed {
    fn from(SealedCount { table, version, records }: SealedCount) -> Self {
        Self { table, version, records }
    }
}

fn listed(versions: &[String], none: &str) -> String {
    if versions.is_empty() { none.to_owned() } else { format!("older: {}", versions.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inventory(configured: &[&str], sealed: &[(&str, i64)], sealing: &[Option<&str>]) -> Inventory {
        let sealed = sealed.iter().map(|(version, records)| Sealed {
            table: "byok_keys".into(),
            version: (*version).into(),
            records: *records,
        });
        let role = |version: &Option<&str>| RoleKeys { process: "web".into(), seals_under: version.map(str::to_owned) };
        Inventory {
            configured: configured.iter().map(|version| (*version).to_owned()).collect(),
            rotated_to: None,
            sealed: sealed.collect(),
            roles: sealing.iter().map(role).collect(),
        }
    }

    #[test]
    fn an_older_version_can_go_when_no_record_and_no_role_needs_it() {
        let unneeded =
            |sealed: &[(&str, i64)], sealing: &[Option<&str>]| inventory(&["2", "1"], sealed, sealing).unneeded().len();
        assert_eq!(unneeded(&[("2", 4)], &[Some("2")]), 1);
        assert_eq!(unneeded(&[("2", 4), ("1", 1)], &[Some("2")]), 0);
        assert_eq!(unneeded(&[("2", 4)], &[Some("2"), Some("1")]), 0);
        assert_eq!(unneeded(&[("2", 4)], &[None]), 0, "a role that does not say may need it");
    }

    #[test]
    fn a_version_that_records_need_and_nobody_configured_is_named() {
        assert_eq!(inventory(&["2"], &[("1", 3), ("2", 1)], &[]).missing(), ["version 1 (3 records)"]);
    }
}
