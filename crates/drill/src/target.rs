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

use crate::operated::Commands;
use crate::plan::RoleCommands;
use crate::processes::{Launcher, Role, RoleProcess, StartError, WORK_FOLDER_VARIABLE};
use crate::settings::{SecretValues, Settings};

/// A system that is being restored.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) settings: Settings,
    pub(crate) launcher: Launcher,
    pub(crate) roles: Vec<RoleProcess>,
    /// The operator's own, if they start the roles.
    pub(crate) commands: Option<Commands>,
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
        Ok(Self { settings, launcher, roles: Vec::new(), commands: None, cluster })
    }

    pub(crate) fn database_url(&self) -> &str {
        &self.settings.database_url
    }

    /// Starts one role and keeps it.
    pub(crate) async fn start(&mut self, name: &str, role: Role) -> Result<(), StartError> {
        let process = match &self.commands {
            None => self.launcher.start(name, role, &[]).await?,
            Some(commands) => RoleProcess::by_commands(commands, name, role).await?,
        };
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
    pub(crate) async fn dead_roles(&mut self) -> Vec<String> {
        let (mut living, mut dead) = (Vec::new(), Vec::new());
        for mut process in std::mem::take(&mut self.roles) {
            if process.alive().await {
                living.push(process);
            } else {
                dead.push(process.name.clone());
            }
        }
        self.roles = living;
        dead
    }

    /// Leaves starting, stopping and looking at roles to the operator's commands.
    pub(crate) fn operated_by(&mut self, roles: BTreeMap<String, RoleCommands>, inherited: &BTreeMap<String, String>) {
        let mut environment = inherited.clone();
        let own = [
            ("PATH", self.settings.search_path.clone()),
            (WORK_FOLDER_VARIABLE, self.settings.work_folder.display().to_string()),
            ("COWORK_DRILL_CONFIG", self.settings.config_path().display().to_string()),
            ("COWORK_DRILL_FOLDER", self.settings.folder.display().to_string()),
        ];
        environment.extend(own.map(|(name, value)| (name.to_owned(), value)));
        self.commands = Some(Commands { roles, environment, logs: self.settings.logs() });
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
