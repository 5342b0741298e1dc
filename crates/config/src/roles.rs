//! What each role can be told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::Deserialize;

use crate::agents::AgentSetting;
use crate::networks;

/// Half of the connections that a process takes (`cowork::serve::connections`): a proxy in front hardly needs more, and
/// nobody takes all of them.
const CONNECTIONS_PER_ADDRESS: u32 = 8_192;

/// Ten statements a second are nothing to Postgres, and behind a proxy everybody has one address.
const WRONG_PER_MINUTE: u32 = 600;

/// The HTTP API.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Web {
    pub listen: SocketAddr,
    /// At one process. 0: as many as there are places.
    pub connections_per_address: u32,
    /// Of one token, to one process. 0: as many as it likes.
    pub requests_per_minute: u32,
    /// Streams of events that one token or browser session has open at one process. 0: as many as it likes.
    pub streams_per_caller: u32,
    /// Tokens, browser sessions and signatures of one address that are none, to one process. 0: as many as come.
    pub wrong_credentials_per_minute: u32,
    /// Networks that repositories are fetched from although they are not public; by http, too.
    #[serde(deserialize_with = "networks::read")]
    pub repository_networks: Vec<IpNet>,
}

/// Runs agents.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Worker {
    /// Health and metrics. Port 0: any free one.
    pub listen: SocketAddr,
    /// Default: `workspaces` in the data folder. Must be the same path on every worker: agents remember paths.
    pub workspace_root: PathBuf,
    /// Sessions that one process advances at the same time.
    pub concurrency: usize,
    /// How long a claim holds without a heartbeat. A killed worker's session goes on elsewhere after this.
    pub lease_ms: u64,
    /// How often an idle worker looks for work that nobody told it of.
    pub poll_ms: u64,
    /// Besides `scripted`, which every worker has.
    pub agents: Vec<AgentSetting>,
    /// Of providers, in the place of their own: something that speaks as they do and is given the orgs' keys. By name.
    pub model_addresses: BTreeMap<String, String>,
}

/// Fires what is due.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scheduler {
    /// Health and metrics. Port 0: any free one.
    pub listen: SocketAddr,
    pub poll_ms: u64,
}

/// Messages in, deliveries out.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gateway {
    /// Inbound webhooks, health and metrics.
    pub listen: SocketAddr,
    /// At one process. 0: as many as there are places.
    pub connections_per_address: u32,
    /// Of one webhook trigger, to one process. 0: as many as come.
    pub calls_per_minute: u32,
    /// Of one channel, to one process. 0: as many as come.
    pub messages_per_minute: u32,
    /// Of one address, to one process. 0: as many as come.
    pub wrong_signatures_per_minute: u32,
    pub poll_ms: u64,
    /// After so many a delivery is a dead letter.
    pub max_attempts: u32,
    /// Before the second attempt. Doubles from there.
    pub backoff_ms: u64,
    pub backoff_max_ms: u64,
    /// Of one attempt.
    pub timeout_ms: u64,
    /// Where a drill's deliveries go instead of their destinations. Refused in production.
    pub redirect_to: Option<String>,
    /// Networks that channels may lead to although they are not public. Also read by the web role, which makes channels.
    #[serde(deserialize_with = "networks::read")]
    pub allowed_networks: Vec<IpNet>,
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

impl Default for Web {
    fn default() -> Self {
        Self {
            listen: local(8080),
            connections_per_address: CONNECTIONS_PER_ADDRESS,
            requests_per_minute: 60_000,
            streams_per_caller: 200,
            wrong_credentials_per_minute: WRONG_PER_MINUTE,
            repository_networks: Vec::new(),
        }
    }
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            listen: local(0),
            workspace_root: PathBuf::new(),
            concurrency: 8,
            lease_ms: 10_000,
            poll_ms: 500,
            agents: Vec::new(),
            model_addresses: BTreeMap::new(),
        }
    }
}

impl Default for Scheduler {
    fn default() -> Self {
        Self { listen: local(0), poll_ms: 250 }
    }
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            listen: local(8081),
            connections_per_address: CONNECTIONS_PER_ADDRESS,
            calls_per_minute: 600,
            messages_per_minute: 6_000,
            wrong_signatures_per_minute: WRONG_PER_MINUTE,
            poll_ms: 200,
            max_attempts: 8,
            backoff_ms: 1_000,
            backoff_max_ms: 300_000,
            timeout_ms: 10_000,
            redirect_to: None,
            allowed_networks: Vec::new(),
        }
    }
}
