//! Model providers behind one trait: whose keys users bring (BYOK).
//!
//! A provider is asked two things: whether it takes a key, and, through a door ([`Doors`]), what an agent asks its model. A drill
//! copy has neither ([`Providers::none`], [`Doors::none`]), so no real key leaves it.
//!
//! Not here: the keys (`store`, `secrets`), what a status says of a key (`domain::byok`), which addresses may be called
//! (`domain::egress`).

mod door;
mod http;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::byok::Validation;
use domain::egress::Egress;
use secrecy::SecretString;

pub use crate::door::{Door, Doors, Meter, describe};
use crate::http::{HttpProvider, Scheme};

/// Somebody outside who gives out keys.
#[async_trait]
pub trait Provider: Debug + Send + Sync {
    /// Asks once, within a bounded time, whether the key is taken. Costs its owner nothing.
    async fn validate(&self, key: &SecretString) -> Validation;
}

/// The HTTP client can't be set up.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct NoClient(#[from] reqwest::Error);

/// The providers that can be asked, by name. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Providers(Arc<BTreeMap<&'static str, Box<dyn Provider>>>);

impl Providers {
    /// Nobody is asked anything.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Those that this build knows, at their own addresses, as far as those may be called. `timeout` is for one question.
    ///
    /// # Errors
    /// If the HTTP client can't be set up, which is the machine's fault.
    pub fn over_http(timeout: Duration, egress: &Egress) -> Result<Self, NoClient> {
        let client = egress::guarded(timeout, egress.clone()).https_only(true).build()?;
        let provider = |address: &str, scheme| -> Box<dyn Provider> {
            let address = address.parse().expect("it is a URL");
            Box::new(HttpProvider { client: client.clone(), egress: egress.clone(), address, scheme })
        };
        Ok(Self::of([
            ("anthropic", provider("https://api.anthropic.com/v1/models?limit=1", Scheme::Anthropic)),
            ("openai", provider("https://api.openai.com/v1/models", Scheme::Bearer)),
        ]))
    }

    #[must_use]
    pub fn of(providers: impl IntoIterator<Item = (&'static str, Box<dyn Provider>)>) -> Self {
        Self(Arc::new(providers.into_iter().collect()))
    }

    /// `name` as a person wrote it beside the key.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&dyn Provider> {
        self.0.get(name.trim().to_ascii_lowercase().as_str()).map(AsRef::as_ref)
    }

    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_is_found_however_its_name_is_written() {
        let providers = Providers::over_http(Duration::from_secs(1), &Egress::default()).unwrap();
        assert_eq!(providers.names().collect::<Vec<_>>(), ["anthropic", "openai"]);
        assert!(providers.named(" OpenAI ").is_some());
        assert!(providers.named("somebody").is_none());
        assert!(Providers::none().named("openai").is_none());
    }
}
