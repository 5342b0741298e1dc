//! The secrets that an installation is configured with: the five groups of the restore report's third row.
//!
//! Every role resolves all of them when it starts, whether it uses them or not: a system that was restored without one
//! says so at once, not at the first request that needs it.
//!
//! Beside them stand those that only some installations have, such as a billing provider's. They are asked for wherever the five are
//! (diagnostics, backups, `admin verify`), and resolved by whoever uses them.

use std::fmt;

use clock::Sources;
use serde::{Deserialize, Serialize};

use crate::local_kms::{LocalKms, LocalKmsError};
use crate::reader::{ResolveError, SecretReader};
use crate::reference::{NamedReference, SecretReference};
use crate::value::SecretBytes;

/// The references, each under its configuration key as name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfiguredSecrets {
    /// The cloud secret adapter's key, under which BYOK keys and org keys are wrapped.
    pub adapter_key: NamedReference,
    /// Older versions of it, for reading only. They carry the same name.
    pub previous_adapter_keys: Vec<NamedReference>,
    pub oidc_client: NamedReference,
    pub cookie: NamedReference,
    pub gateway: NamedReference,
    pub channel: NamedReference,
    /// Those that an installation may do without. Nothing of ours is sealed with them.
    pub others: Vec<NamedReference>,
}

/// The values.
#[derive(Debug, Clone)]
pub struct ResolvedSecrets {
    /// With its version.
    pub adapter_key: (String, SecretBytes),
    pub previous_adapter_keys: Vec<(String, SecretBytes)>,
    pub oidc_client: SecretBytes,
    pub cookie: SecretBytes,
    pub gateway: SecretBytes,
    pub channel: SecretBytes,
}

/// How one reference fares. Fit for diagnostics: no value, no folder of this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReferenceStatus {
    pub name: String,
    pub reference: String,
    pub version: String,
    pub resolved: bool,
    /// Why not, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The references that have no value, all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnresolvedSecrets(pub Vec<(NamedReference, ResolveError)>);

impl ConfiguredSecrets {
    pub const ADAPTER_KEY: &str = "adapter_key";
    /// The five names, in the order of the report.
    pub const NAMES: [&str; 5] = [Self::ADAPTER_KEY, "oidc_client", "cookie", "gateway", "channel"];

    /// The references of an installation that [`generate`](crate::generate)d its secrets: `file:secrets/cookie.key` and
    /// so on, relative to its data folder.
    #[must_use]
    pub fn generated() -> Self {
        let [adapter_key, oidc_client, cookie, gateway, channel] = Self::NAMES.map(|name| NamedReference {
            name: name.to_owned(),
            reference: SecretReference::File(format!("secrets/{}", Self::file_name(name)).into()),
            version: "1".to_owned(),
        });
        let (previous_adapter_keys, others) = (Vec::new(), Vec::new());
        Self { adapter_key, previous_adapter_keys, oidc_client, cookie, gateway, channel, others }
    }

    pub(crate) fn file_name(name: &str) -> String {
        format!("{name}.key")
    }

    /// Versions of the adapter key, the current one first.
    #[must_use]
    pub fn adapter_key_versions(&self) -> Vec<String> {
        let all = std::iter::once(&self.adapter_key).chain(&self.previous_adapter_keys);
        all.map(|named| named.version.clone()).collect()
    }

    /// Every reference, older versions of the adapter key last.
    #[must_use]
    pub fn references(&self) -> Vec<NamedReference> {
        self.each().cloned().collect()
    }

    /// How each reference fares, now.
    #[must_use]
    pub fn statuses(&self, reader: &SecretReader) -> Vec<ReferenceStatus> {
        self.each().map(|named| status(named, reader.resolve(&named.reference).err().as_ref())).collect()
    }

    /// The values of the five, and of the adapter key's older versions.
    ///
    /// # Errors
    /// If any has none; the error names every one, so that an operator mends them in one go.
    pub fn resolve_all(&self, reader: &SecretReader) -> Result<ResolvedSecrets, UnresolvedSecrets> {
        let mut missing = Vec::new();
        let mut value = |named: &NamedReference| {
            reader.resolve(&named.reference).unwrap_or_else(|error| {
                missing.push((named.clone(), error));
                SecretBytes::new(Vec::new())
            })
        };
        let resolved = ResolvedSecrets {
            adapter_key: (self.adapter_key.version.clone(), value(&self.adapter_key)),
            oidc_client: value(&self.oidc_client),
            cookie: value(&self.cookie),
            gateway: value(&self.gateway),
            channel: value(&self.channel),
            previous_adapter_keys: self
                .previous_adapter_keys
                .iter()
                .map(|named| (named.version.clone(), value(named)))
                .collect(),
        };
        if missing.is_empty() { Ok(resolved) } else { Err(UnresolvedSecrets(missing)) }
    }

    fn each(&self) -> impl Iterator<Item = &NamedReference> {
        [&self.adapter_key, &self.oidc_client, &self.cookie, &self.gateway, &self.channel]
            .into_iter()
            .chain(&self.others)
            .chain(&self.previous_adapter_keys)
    }
}

impl ResolvedSecrets {
    /// The KMS that the adapter key makes.
    ///
    /// # Errors
    /// If a value is no key, or a version is named twice.
    pub fn kms(&self, sources: Sources) -> Result<LocalKms, LocalKmsError> {
        LocalKms::new(self.adapter_key.clone(), self.previous_adapter_keys.clone(), sources)
    }

    /// Every value, for the redacting sink to know.
    pub fn values(&self) -> impl Iterator<Item = &SecretBytes> {
        let previous = self.previous_adapter_keys.iter().map(|(_, value)| value);
        [&self.adapter_key.1, &self.oidc_client, &self.cookie, &self.gateway, &self.channel].into_iter().chain(previous)
    }
}

impl fmt::Display for UnresolvedSecrets {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (named, error)) in self.0.iter().enumerate() {
            if index > 0 {
                out.write_str("\n")?;
            }
            write!(out, "secrets.{} (version {}): {error}", named.name, named.version)?;
        }
        Ok(())
    }
}

impl std::error::Error for UnresolvedSecrets {}

fn status(named: &NamedReference, error: Option<&ResolveError>) -> ReferenceStatus {
    ReferenceStatus {
        name: named.name.clone(),
        reference: named.reference.public(),
        version: named.version.clone(),
        resolved: error.is_none(),
        error: error.map(|error| format!("{}; {}", error.detail, error.advice)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_reference_that_has_no_value_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let reader = SecretReader::new(folder.path(), BTreeMap::new());
        crate::generate(&folder.path().join("secrets"), &Sources::system()).unwrap();
        std::fs::remove_file(folder.path().join("secrets/cookie.key")).unwrap();
        std::fs::write(folder.path().join("secrets/gateway.key"), "").unwrap();

        let secrets = ConfiguredSecrets::generated();
        let UnresolvedSecrets(missing) = secrets.resolve_all(&reader).unwrap_err();
        assert_eq!(missing.iter().map(|(named, _)| named.name.as_str()).collect::<Vec<_>>(), ["cookie", "gateway"]);

        let bad: Vec<_> = secrets.statuses(&reader).into_iter().filter(|status| !status.resolved).collect();
        assert_eq!(bad.len(), 2);
        assert_eq!(bad[0].reference, "file:secrets/cookie.key");
        assert_eq!(bad[0].error.as_deref(), Some("entity not found; create the file, or correct the reference"));
    }

    #[test]
    fn the_older_versions_of_the_adapter_key_are_among_the_references() {
        let folder = tempfile::tempdir().unwrap();
        crate::generate(&folder.path().join("secrets"), &Sources::system()).unwrap();
        let old = hex::encode([3; 32]);
        let reader = SecretReader::new(folder.path(), BTreeMap::from([("OLD".into(), old.clone())]));
        let mut secrets = ConfiguredSecrets::generated();
        secrets.previous_adapter_keys = vec![NamedReference {
            name: "adapter_key".into(),
            reference: "env:OLD".parse().unwrap(),
            version: "0".into(),
        }];

        assert_eq!(secrets.references().len(), 6);
        let resolved = secrets.resolve_all(&reader).unwrap();
        assert_eq!(resolved.values().count(), 6);
        assert_eq!(resolved.values().last().unwrap().expose_str(), Some(old.as_str()));
        assert!(resolved.kms(Sources::system()).is_ok());
    }
}
