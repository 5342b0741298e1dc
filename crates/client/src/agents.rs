//! Agents: what sessions can be begun with.

use serde::Deserialize;

use crate::{Client, Error};

/// An agent that workers offer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Agent {
    pub name: String,
    /// Workers that are alive and can run it.
    pub workers: i64,
}

/// What workers offer at this moment.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Agents {
    /// By name.
    pub items: Vec<Agent>,
    /// Whether an agent that is not among them is refused.
    pub complete: bool,
}

impl Client {
    pub async fn agent_list(&self) -> Result<Agents, Error> {
        self.get("/api/agents").await
    }
}
