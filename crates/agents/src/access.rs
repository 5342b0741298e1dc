//! How an agent reaches a model without having a key: through a door that the worker opens for it.
//!
//! Not here: keys, providers, HTTP (`worker`).

use std::fmt::Debug;

use async_trait::async_trait;
use ids::{OrgId, SessionId};

/// Whoever opens doors to the providers whose keys an org has.
#[async_trait]
pub trait ModelAccess: Debug + Send + Sync {
    /// Opens a door to `provider` for a session's agent.
    ///
    /// # Errors
    /// Why there is none and what to do, for people.
    async fn open(&self, org: OrgId, session: SessionId, provider: &str) -> Result<Box<dyn ModelDoor>, String>;
}

/// An address on this machine behind which a provider answers. Closed when it is dropped.
#[async_trait]
pub trait ModelDoor: Debug + Send + Sync {
    /// What an agent is given as the provider's address, without a slash at its end. Nobody else knows it.
    fn base_url(&self) -> &str;

    /// The port that it leads to.
    fn port(&self) -> u16;

    /// Whether what it was opened with is still in force.
    async fn stands(&self) -> bool;
}

/// Opens none.
#[derive(Debug, Clone, Copy)]
pub struct NoAccess;

#[async_trait]
impl ModelAccess for NoAccess {
    async fn open(&self, _: OrgId, _: SessionId, provider: &str) -> Result<Box<dyn ModelDoor>, String> {
        Err(format!("nobody here asks {provider:?}; use an agent that needs no provider"))
    }
}
