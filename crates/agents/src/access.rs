//! How an agent reaches a model without having a key: through a door that the worker opens for it.
//!
//! What goes through a door is counted and bounded there, turn by turn, and told here.
//!
//! Not here: keys, providers, HTTP, quotas (`worker`).

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use domain::spend::{Exceeded, ModelSpend, Spent, TurnLimits};
use ids::{OrgId, SessionId};

/// Whoever opens doors to the providers whose keys an org has.
#[async_trait]
pub trait ModelAccess: Debug + Send + Sync {
    /// Opens a door to `provider` for a session's agent.
    ///
    /// # Errors
    /// Why there is none and what to do, for people.
    async fn open(&self, org: OrgId, session: SessionId, provider: &str) -> Result<Arc<dyn ModelDoor>, String>;
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

    /// A turn begins, which may spend so much, and no more than is left of the org's quotas now. Without a turn nobody is answered.
    /// `before` is what earlier attempts at the turn spent.
    ///
    /// # Errors
    /// Why none can begin and what to do, for people.
    async fn begin(&self, limits: TurnLimits, before: Spent) -> Result<(), String>;

    /// Returns when something was spent or refused since it returned last.
    async fn changed(&self);

    /// What was spent since the last time, by model.
    fn take(&self) -> Vec<ModelSpend>;

    /// Why the turn may ask no more, once a request of it was refused for that.
    fn exceeded(&self) -> Option<Exceeded>;

    /// Returns when nothing is under way any more, or soon.
    async fn settle(&self);

    /// The turn is over.
    fn end(&self);
}

/// Opens none.
#[derive(Debug, Clone, Copy)]
pub struct NoAccess;

#[async_trait]
impl ModelAccess for NoAccess {
    async fn open(&self, _: OrgId, _: SessionId, provider: &str) -> Result<Arc<dyn ModelDoor>, String> {
        Err(format!("nobody here asks {provider:?}; use an agent that needs no provider"))
    }
}
