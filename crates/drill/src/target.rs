//! The target: the system that is restored, its database, its folder and the roles that were started so far.
//!
//! Not here: the order in which they are started (`run`).

use std::collections::BTreeMap;

use anyhow::Context as _;
use archive::probe;
use client::Client;
use localpg::Cluster;
use secrecy::SecretString;
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};

use crate::processes::{Launcher, Role, RoleProcess, StartError};
use crate::settings::{SecretValues, Settings};

/// A system that is being restored.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) settings: Settings,
    pub(crate) launcher: Launcher,
    pub(crate) roles: Vec<RoleProcess>,
    /// `None`: the database's server is not ours to stop.
    pub(crate) cluster: Option<Cluster>,
}

impl Target {
    /// Writes the target's folder around its database.
    pub(crate) fn prepare(
        cluster: Option<Cluster>,
        settings: Settings,
        secrets: &SecretValues,
        executable: &std::path::Path,
    ) -> anyhow::Result<Self> {
        let environment = settings.write(secrets).context("the target's folder can't be written")?;
        let launcher = Launcher {
            executable: executable.to_owned(),
            config: settings.config_path(),
            logs: settings.logs(),
            environment,
        };
        Ok(Self { settings, launcher, roles: Vec::new(), cluster })
    }

    pub(crate) fn database_url(&self) -> &str {
        &self.settings.database_url
    }

    /// Starts one role and keeps it.
    pub(crate) async fn start(&mut self, name: &str, role: Role) -> Result<(), StartError> {
        let process = self.launcher.start(name, role, &[]).await?;
        self.roles.push(process);
        Ok(())
    }

    /// Where the first process of `role` listens.
    pub(crate) fn url(&self, role: Role) -> String {
        let found = self.roles.iter().map(|process| process.url(role)).find(|url| !url.is_empty());
        found.unwrap_or_default()
    }

    /// The operator, against this target's web role.
    pub(crate) fn operator(&self, token: &SecretString) -> Client {
        Client::new(self.url(Role::Web), token.clone())
    }

    /// Lets go of roles that have died, and names them; none should.
    pub(crate) fn dead_roles(&mut self) -> Vec<String> {
        let dead = self.roles.extract_if(.., |process| !process.alive());
        dead.map(|process| process.name.clone()).collect()
    }

    /// Stops every role. Gives back the names of those that did not stop well.
    pub(crate) async fn stop_roles(&mut self) -> Vec<String> {
        let mut unwell = Vec::new();
        for process in self.roles.drain(..).rev() {
            let name = process.name.clone();
            if !process.stop().await {
                unwell.push(name);
            }
        }
        unwell
    }

    /// The counters of everything that a role could move, by name: the probe `activity`.
    pub(crate) async fn activity(&self, sql: &str) -> anyhow::Result<BTreeMap<String, Value>> {
        let mut connection = PgConnection::connect(self.database_url()).await?;
        let rows = probe::rows(&mut connection, sql).await.context("the activity counters can't be read")?;
        let row = rows.first().context("the activity probe gave no row")?;
        serde_json::from_str(row).context("the activity probe gave no object")
    }
}

/// The names of counters that differ between two readings.
pub(crate) fn moved(before: &BTreeMap<String, Value>, after: &BTreeMap<String, Value>) -> Vec<String> {
    after.iter().filter(|(name, value)| before.get(*name) != Some(value)).map(|(name, _)| name.clone()).collect()
}
