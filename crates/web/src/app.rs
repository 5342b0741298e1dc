//! What every handler is given.

use std::sync::Arc;

use effects::Effects;
use objects::Objects;
use secrets::{ConfiguredSecrets, CookieKeys, Kms, SecretBytes, SecretReader};
use store::{Generation, Store};
use tokio_util::sync::CancellationToken;

use crate::events::tails::Tails;
use crate::metrics::Exposition;
use crate::rate::RateLimits;
use crate::sign_in::SignIn;

/// The parts of the web role. Cheap to clone.
#[derive(Debug, Clone)]
pub struct App {
    pub store: Store,
    pub effects: Effects,
    pub objects: Objects,
    pub kms: Arc<dyn Kms>,
    pub secrets: Arc<AppSecrets>,
    /// The generation that this process serves; it is read once, when the process starts.
    pub generation: Generation,
    /// Version of the program, as people see it.
    pub build: &'static str,
    /// `None`: nobody signs in with a browser, and cookies count for nothing.
    pub sign_in: Option<SignIn>,
    pub rates: RateLimits,
    pub metrics: Exposition,
    /// The newest events of sessions that are followed.
    pub tails: Tails,
    /// Cancelled when the process drains: streams end, so that their clients go elsewhere.
    pub shutdown: CancellationToken,
}

/// What handlers need of the configured secrets.
#[derive(Debug)]
pub struct AppSecrets {
    /// The references, for diagnostics: whether each resolves is asked anew each time.
    pub configured: ConfiguredSecrets,
    pub reader: SecretReader,
    /// What channels' signing secrets are derived from. Its version is in `configured`.
    pub channel: SecretBytes,
    /// What browsers carry for us is sealed with them.
    pub cookie: CookieKeys,
}
