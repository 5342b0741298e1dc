//! The agents that a worker runs besides its own, as an operator names them.
//!
//! Not here: running them (`agents`), what the texts in braces stand for (`docs/reference/agents.md`).

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use crate::ConfigError;
use crate::validate::{at_least, unusable};

/// The longest name.
const NAME_MAX: usize = 64;
/// What every worker has already.
const OWN: &str = "scripted";
/// Whose models an agent can be given a door to.
pub const PROVIDERS: [&str; 2] = ["anthropic", "openai"];

/// An agent that speaks ACP.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentSetting {
    /// What sessions call it.
    pub name: String,
    /// The program, by an absolute path.
    pub command: String,
    #[serde(default)]
    pub args: Vec<String>,
    /// Its environment. What is neither here nor in `pass` it does not have.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Names of variables of the worker's own environment that it has, too.
    #[serde(default)]
    pub pass: Vec<String>,
    /// Whose models it asks, with the org's own key. `None`: it has another way, or needs none.
    #[serde(default)]
    pub provider: Option<String>,
    #[serde(default)]
    pub sandbox: SandboxSetting,
    #[serde(default)]
    pub network: NetworkSetting,
    /// What it may read and execute besides the system's programs and libraries.
    #[serde(default)]
    pub readable: Vec<PathBuf>,
    /// Of the worker's user. `None`: no limit.
    #[serde(default)]
    pub processes: Option<u64>,
    /// The largest file that it may write.
    #[serde(default = "file_mb")]
    pub file_mb: u64,
    /// Of data of each of its processes. `None`: no limit.
    #[serde(default)]
    pub memory_mb: Option<u64>,
    /// Until it has its session.
    #[serde(default = "start_s")]
    pub start_s: u64,
    /// Of a turn, without a word from it.
    #[serde(default = "silence_s")]
    pub silence_s: u64,
    #[serde(default = "turn_s")]
    pub turn_s: u64,
    /// Of its provider, input and output together, in a turn. `None`: no limit but the org's quotas.
    #[serde(default)]
    pub turn_tokens: Option<u32>,
    /// To its provider, in a turn. `None`: no limit.
    #[serde(default)]
    pub turn_requests: Option<u32>,
    /// How long its process is kept for the next turn. 0: it is not.
    #[serde(default = "idle_s")]
    pub idle_s: u64,
    /// So many processes are kept at the same time.
    #[serde(default = "kept")]
    pub kept: usize,
}

/// What its files are limited by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SandboxSetting {
    #[default]
    Landlock,
    /// By nothing but the rights of the worker's user.
    None,
}

/// Where it may connect to by TCP.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkSetting {
    /// To its provider's door, and to itself at `{port}`.
    #[default]
    Provider,
    Open,
}

fn file_mb() -> u64 {
    256
}

fn start_s() -> u64 {
    60
}

fn silence_s() -> u64 {
    600
}

fn turn_s() -> u64 {
    3_600
}

fn idle_s() -> u64 {
    60
}

fn kept() -> usize {
    8
}

fn validate_spending(agent: &AgentSetting, place: usize) -> Result<(), ConfigError> {
    for (field, limit) in [("turn_tokens", agent.turn_tokens), ("turn_requests", agent.turn_requests)] {
        let Some(limit) = limit else { continue };
        let key = format!("worker.agents[{place}].{field}");
        if agent.provider.is_none() {
            return Err(unusable(&key, "nothing is counted without a provider", "name the provider, or leave it out"));
        }
        at_least(&key, limit.into(), 1)?;
    }
    Ok(())
}

pub(crate) fn validate(agents: &[AgentSetting], addresses: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    for (place, agent) in agents.iter().enumerate() {
        let wrong = |field: &str, detail: &str, advice: &str| {
            Err(unusable(&format!("worker.agents[{place}].{field}"), detail, advice))
        };
        let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-_.".contains(letter);
        if agent.name.is_empty() || agent.name.len() > NAME_MAX || !agent.name.chars().all(plain) {
            return wrong("name", "it is no name", "use small letters, digits, - _ and ., and up to 64 of them");
        }
        if agent.name == OWN || agents[..place].iter().any(|other| other.name == agent.name) {
            return wrong("name", "another agent has it", "give each agent a name of its own");
        }
        if !agent.command.starts_with('/') {
            return wrong("command", "it is no absolute path", "give it the program's path from / on");
        }
        if agent.provider.as_ref().is_some_and(|name| !PROVIDERS.contains(&name.as_str())) {
            return wrong("provider", "there is no such provider", "use one of anthropic, openai");
        }
        let texts = agent.args.iter().chain(agent.env.values());
        if agent.provider.is_none() && texts.into_iter().any(|text| text.contains("{base_url}")) {
            return wrong("env", "{base_url} stands for a provider's address, and there is none", "name the provider");
        }
        validate_spending(agent, place)?;
        for (field, value) in [("start_s", agent.start_s), ("silence_s", agent.silence_s), ("turn_s", agent.turn_s)] {
            at_least(&format!("worker.agents[{place}].{field}"), value, 1)?;
        }
    }
    for (name, address) in addresses {
        let key = format!("worker.model_addresses.{name}");
        if !PROVIDERS.contains(&name.as_str()) {
            return Err(unusable(&key, "there is no such provider", "use one of anthropic, openai"));
        }
        let bare = |url: &url::Url| matches!(url.scheme(), "http" | "https") && url.username().is_empty();
        if !url::Url::parse(address).is_ok_and(|url| bare(&url) && url.query().is_none() && url.fragment().is_none()) {
            return Err(unusable(&key, "it is no plain web address", "give it a URL without user, query and fragment"));
        }
    }
    Ok(())
}
