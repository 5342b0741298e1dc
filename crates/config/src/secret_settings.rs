//! The names of the secrets that configuration gives.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use secrets::{ConfiguredSecrets, NamedReference, SecretReader, SecretReference};
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use crate::{Config, Stripe};

/// The five of the restore report's third row; all or none are configured.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    pub adapter_key: KeySetting,
    pub oidc_client: SecretSetting,
    pub cookie: SecretSetting,
    pub gateway: SecretSetting,
    pub channel: SecretSetting,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretSetting {
    /// `env:NAME` or `file:PATH`.
    pub reference: SecretReference,
    #[serde(deserialize_with = "text_or_number")]
    pub version: String,
}

/// A secret whose older versions still open what they once sealed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySetting {
    pub reference: SecretReference,
    #[serde(deserialize_with = "text_or_number")]
    pub version: String,
    #[serde(default)]
    pub previous: Vec<SecretSetting>,
}

impl Config {
    /// The secrets to resolve: those configured, or those that the installation generates in
    /// [`secrets_folder`](Self::secrets_folder); and the billing provider's, if there is one.
    #[must_use]
    pub fn secret_references(&self) -> ConfiguredSecrets {
        let five = self.secrets.as_ref().map_or_else(ConfiguredSecrets::generated, Secrets::references);
        ConfiguredSecrets { others: self.billing.stripe.as_ref().map(Stripe::secrets).unwrap_or_default(), ..five }
    }

    /// Resolves [`secret_references`](Self::secret_references). Relative `file:` references start where all relative
    /// paths do; the generated ones in the data folder, wherever that is.
    #[must_use]
    pub fn secret_reader(&self, environment: BTreeMap<String, String>) -> SecretReader {
        let base = if self.secrets.is_some() { &self.base } else { &self.data_dir };
        SecretReader::new(base, environment)
    }

    /// Where to generate secrets, if none are configured.
    #[must_use]
    pub fn secrets_folder(&self) -> Option<PathBuf> {
        self.secrets.is_none().then(|| self.data_dir.join("secrets"))
    }
}

impl Secrets {
    fn references(&self) -> ConfiguredSecrets {
        let named = |name: &str, reference: &SecretReference, version: &str| NamedReference {
            name: name.to_owned(),
            reference: reference.clone(),
            version: version.to_owned(),
        };
        let setting = |name, setting: &SecretSetting| named(name, &setting.reference, &setting.version);
        let key = &self.adapter_key;
        let previous = key.previous.iter().map(|older| setting(ConfiguredSecrets::ADAPTER_KEY, older));
        ConfiguredSecrets {
            adapter_key: named(ConfiguredSecrets::ADAPTER_KEY, &key.reference, &key.version),
            previous_adapter_keys: previous.collect(),
            oidc_client: setting("oidc_client", &self.oidc_client),
            cookie: setting("cookie", &self.cookie),
            gateway: setting("gateway", &self.gateway),
            channel: setting("channel", &self.channel),
            others: Vec::new(),
        }
    }
}

/// `version = 1` means `version = "1"`, and a variable can't tell the two apart.
fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    struct Text;

    impl Visitor<'_> for Text {
        type Value = String;

        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("a version")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
            Ok(text.to_owned())
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<String, E> {
            Ok(number.to_string())
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<String, E> {
            Ok(number.to_string())
        }
    }

    deserializer.deserialize_any(Text)
}
