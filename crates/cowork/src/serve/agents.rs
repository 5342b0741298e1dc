//! The agents of a worker: `scripted`, and those that the configuration names.
//!
//! Not here: running them (`agents`), where a worker announces them (`serve`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use agents::{Acp, AcpLimits, AcpSettings, Agent, Confinement, ModelAccess, Scripted};
use config::{AgentSetting, Config, NetworkSetting, SandboxSetting};
use domain::spend::TurnLimits;
use providers::{Doors, NoClient};
use store::Environment;
use worker::Models;

use super::roles::{Parts, egress};
use crate::agent_sandbox::launcher;

/// Runs what a worker can run.
pub(super) fn agents(parts: &Parts, config: &Config) -> Vec<Arc<dyn Agent>> {
    let access: Arc<dyn ModelAccess> = Arc::new(Models {
        store: parts.store.clone(),
        kms: parts.kms.clone(),
        doors: parts.doors.clone(),
        redactor: telemetry::redactor(),
    });
    let acp = |setting| -> Arc<dyn Agent> { Arc::new(Acp::new(settings(setting), access.clone())) };
    let scripted: Arc<dyn Agent> = Arc::new(Scripted);
    std::iter::once(scripted).chain(config.worker.agents.iter().map(acp)).collect()
}

/// By name.
pub(crate) fn agents_offered(config: &Config) -> Vec<String> {
    let own = Scripted.name().to_owned();
    std::iter::once(own).chain(config.worker.agents.iter().map(|agent| agent.name.clone())).collect()
}

/// A drill copy has real keys, and asks nobody with them. Where no agent asks a provider there are none: their clients take memory.
pub(crate) fn doors(environment: Environment, config: &Config) -> Result<Doors, NoClient> {
    let wanted = config.worker.agents.iter().any(|agent| agent.provider.is_some());
    match environment {
        Environment::Production if wanted => Doors::over_http(&egress(config), &config.worker.model_addresses),
        Environment::Production | Environment::Drill => Ok(Doors::none()),
    }
}

/// Gives agents the variables of this process that they are to have, unless they have their own.
pub(crate) fn pass(config: &mut Config, environment: &BTreeMap<String, String>) {
    for agent in &mut config.worker.agents {
        for name in &agent.pass {
            if let (None, Some(value)) = (agent.env.get(name), environment.get(name)) {
                agent.env.insert(name.clone(), value.clone());
            }
        }
    }
}

fn settings(setting: &AgentSetting) -> AcpSettings {
    let bytes = |mb: u64| mb.saturating_mul(1 << 20);
    AcpSettings {
        name: setting.name.clone(),
        command: setting.command.clone(),
        args: setting.args.clone(),
        env: setting.env.clone(),
        provider: setting.provider.clone(),
        confinement: Confinement {
            files: setting.sandbox == SandboxSetting::Landlock,
            open_network: setting.network == NetworkSetting::Open,
            readable: setting.readable.clone(),
            processes: setting.processes,
            file_bytes: bytes(setting.file_mb),
            memory_bytes: setting.memory_mb.map(bytes),
        },
        launcher: launcher(),
        limits: AcpLimits {
            start: Duration::from_secs(setting.start_s),
            silence: Duration::from_secs(setting.silence_s),
            turn: Duration::from_secs(setting.turn_s),
            idle: Duration::from_secs(setting.idle_s),
            kept: setting.kept,
            spend: TurnLimits {
                tokens: setting.turn_tokens.map(i64::from),
                requests: setting.turn_requests.map(i64::from),
            },
            ..AcpLimits::default()
        },
    }
}
