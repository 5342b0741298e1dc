//! The commands and their flags. A command is an arm of [`Command`] and a file of its own.
//!
//! No flag takes a secret: what is on a command line is seen by everybody on the machine.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use config::Config;

use crate::failure::Failure;
use crate::process::Process;
use crate::{
    admin, agent_sandbox, archive, audit, backup, billing, deliveries, doctor, drill, findings, gate, keys,
    maintenance, openapi, quotas, restore, scan, serve, subjects, usage, validate,
};

/// A self-hosted cloud for AI coworkers whose recovery is proven, not promised.
#[derive(Debug, Parser)]
#[command(name = "cowork", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run one role or several, until told to stop
    Serve(serve::Serve),
    /// Prepare and inspect an installation
    #[command(subcommand)]
    Admin(admin::Admin),
    /// Put one restorable state of a running system into an archive
    Backup(backup::Backup),
    /// Give a backup back to an empty database and an empty object folder
    Restore(restore::Restore),
    /// Look at what an archive holds
    #[command(subcommand)]
    Archive(archive::Archive),
    /// Look whether an installation is fit: configuration, secrets, objects, agents, drills, database, keys, clock, ledger, backups, roles, maintenance, backlog
    Doctor(doctor::Doctor),
    /// Messages that may have arrived and that wait for a person
    #[command(subcommand)]
    Deliveries(deliveries::Deliveries),
    /// The versions of the key that everything sealed depends on
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Whether the system is read and not written
    #[command(subcommand)]
    Maintenance(maintenance::Maintenance),
    /// How much the orgs may use
    #[command(subcommand)]
    Quotas(quotas::Quotas),
    /// What an org used, by day and kind, and by model
    Usage(usage::Usage),
    /// Which plans orgs are on
    #[command(subcommand)]
    Subscriptions(billing::Subscriptions),
    /// The audit trails
    #[command(subcommand)]
    Audit(audit::Audit),
    /// People who are to be forgotten
    #[command(subcommand)]
    Subjects(subjects::Subjects),
    /// Prove that the system comes back
    #[command(subcommand)]
    Drill(drill::Drill),
    /// See to what drills found
    Findings(findings::Findings),
    /// Refuse a launch that no drill speaks for
    Gate(gate::Gate),
    /// Look for secrets in files, folders and streams, in every encoding
    Scan(scan::Scan),
    /// Print the description of the HTTP API (OpenAPI 3.1)
    Openapi(openapi::OpenApi),
    /// What a worker starts an agent by
    #[command(hide = true)]
    AgentSandbox(agent_sandbox::AgentSandbox),
    /// Hold documents and manifests against the program
    #[command(subcommand)]
    Validate(validate::Validate),
}

/// Which configuration to use.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// The configuration file; `cowork.toml` in the working directory if there is one
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

impl Command {
    /// Whether failures are told as JSON.
    pub(crate) fn json(&self) -> bool {
        match self {
            Self::Serve(_) | Self::Openapi(_) | Self::AgentSandbox(_) => false,
            Self::Admin(admin) => admin.json(),
            Self::Backup(backup) => backup.json,
            Self::Restore(restore) => restore.json,
            Self::Archive(archive) => archive.json(),
            Self::Deliveries(deliveries) => deliveries.json(),
            Self::Doctor(doctor) => doctor.json,
            Self::Audit(audit) => audit.json(),
            Self::Keys(keys) => keys.json(),
            Self::Maintenance(maintenance) => maintenance.json(),
            Self::Quotas(quotas) => quotas.json(),
            Self::Usage(usage) => usage.json,
            Self::Subscriptions(subscriptions) => subscriptions.json(),
            Self::Subjects(subjects) => subjects.json(),
            Self::Drill(drill) => drill.json(),
            Self::Findings(findings) => findings.json(),
            Self::Gate(gate) => gate.json,
            Self::Scan(scan) => scan.json,
            Self::Validate(validate) => validate.json(),
        }
    }

    /// Whether it runs roles, whose output is a log.
    pub(crate) fn is_role(&self) -> bool {
        matches!(self, Self::Serve(_))
    }

    /// What a command does to the whole process before it has a second thread.
    pub(crate) fn isolate(&self, process: &Process) -> Option<::drill::Isolated> {
        match self {
            Self::Drill(drill) => drill.isolate(process),
            _ => None,
        }
    }

    pub(crate) async fn run(self, process: Process) -> Result<ExitCode, Failure> {
        match self {
            Self::Serve(serve) => serve.run(process).await,
            Self::Admin(admin) => admin.run(process).await,
            Self::Backup(backup) => backup.run(process).await,
            Self::Restore(restore) => restore.run(process).await,
            Self::Archive(archive) => archive.run(process).await,
            Self::Deliveries(deliveries) => deliveries.run(process).await,
            Self::Doctor(doctor) => doctor.run(process).await,
            Self::Audit(audit) => audit.run(process).await,
            Self::Keys(keys) => keys.run(process).await,
            Self::Maintenance(maintenance) => maintenance.run(process).await,
            Self::Quotas(quotas) => quotas.run(process).await,
            Self::Usage(usage) => usage.run(process).await,
            Self::Subscriptions(subscriptions) => subscriptions.run(process).await,
            Self::Subjects(subjects) => subjects.run(process).await,
            Self::Drill(drill) => drill.run(process).await,
            Self::Findings(findings) => findings.run(&process),
            Self::Gate(gate) => gate.run(&process),
            Self::Scan(scan) => scan.run(process).await,
            Self::Openapi(openapi) => openapi.run(),
            Self::AgentSandbox(sandbox) => Ok(sandbox.run()),
            Self::Validate(validate) => validate.run(&process),
        }
    }
}

impl ConfigArgs {
    pub(crate) fn load(&self, process: &Process) -> Result<Config, Failure> {
        let default = PathBuf::from(config::FILE_NAME);
        let present = || process.working_directory.join(&default).is_file().then(|| default.clone());
        let file = self.config.clone().or_else(present);
        Ok(Config::load(file.as_deref(), &process.environment, &process.working_directory)?)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_flags_fit_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_unknown_flag_is_a_usage_error() {
        let error = Cli::try_parse_from(["cowork", "serve", "--rolls", "web"]).unwrap_err();
        assert!(error.use_stderr());
    }
}
