//! The names of secrets: where a value is found, and which version of it is meant.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a secret is found. Written `env:NAME` or `file:PATH`; a relative path starts at the reader's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SecretReference {
    Env(String),
    File(PathBuf),
}

/// A secret that configuration asks for by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedReference {
    /// What it is for, as in the configuration: `cookie`.
    pub name: String,
    pub reference: SecretReference,
    /// The operator's own label. Ciphertexts name the version of the key that wrapped them.
    pub version: String,
}

/// Why a text is no secret reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// The text is not repeated: it may be the secret itself, put where its name belongs.
    #[error("a secret reference starts with env: or file:, and this text does not")]
    UnknownScheme,
    #[error("nothing follows {scheme} in the secret reference")]
    Empty { scheme: &'static str },
    #[error("an environment variable's name has neither = nor NUL")]
    BadName,
}

impl SecretReference {
    /// The reference for diagnostics and reports, which must not tell how this host's folders are laid out: of an
    /// absolute path only the file's name is left.
    #[must_use]
    pub fn public(&self) -> String {
        match self {
            Self::File(path) if path.is_absolute() => {
                let name = path.file_name().map_or(Path::new(""), Path::new);
                format!("file:.../{}", name.display())
            }
            _ => self.to_string(),
        }
    }
}

impl FromStr for SecretReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        match text.split_once(':') {
            Some(("env", "")) => Err(ReferenceError::Empty { scheme: "env:" }),
            Some(("file", "")) => Err(ReferenceError::Empty { scheme: "file:" }),
            Some(("env", name)) if name.contains(['=', '\0']) => Err(ReferenceError::BadName),
            Some(("env", name)) => Ok(Self::Env(name.to_owned())),
            Some(("file", path)) => Ok(Self::File(path.into())),
            _ => Err(ReferenceError::UnknownScheme),
        }
    }
}

impl fmt::Display for SecretReference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(out, "env:{name}"),
            Self::File(path) => write!(out, "file:{}", path.display()),
        }
    }
}

impl TryFrom<String> for SecretReference {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, ReferenceError> {
        text.parse()
    }
}

impl From<SecretReference> for String {
    fn from(reference: SecretReference) -> Self {
        reference.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_reads_back_from_what_it_prints() {
        for text in ["env:COOKIE_KEY", "file:secrets/cookie.key", "file:/run/secrets/a:b"] {
            assert_eq!(text.parse::<SecretReference>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_secret_put_where_its_name_belongs_is_not_repeated_in_the_error() {
        let error = "c2VjcmV0".parse::<SecretReference>().unwrap_err();
        assert_eq!(error, ReferenceError::UnknownScheme);
        assert!(!error.to_string().contains("c2VjcmV0"));
    }

    #[test]
    fn an_empty_reference_is_refused() {
        assert_eq!("env:".parse::<SecretReference>(), Err(ReferenceError::Empty { scheme: "env:" }));
        assert_eq!("file:".parse::<SecretReference>(), Err(ReferenceError::Empty { scheme: "file:" }));
        assert_eq!("env:A=B".parse::<SecretReference>(), Err(ReferenceError::BadName));
    }

    #[test]
    fn the_public_form_does_not_tell_the_hosts_folders() {
        let public = |text: &str| text.parse::<SecretReference>().unwrap().public();
        assert_eq!(public("file:/etc/cowork/cookie.key"), "file:.../cookie.key");
        assert_eq!(public("file:secrets/cookie.key"), "file:secrets/cookie.key");
        assert_eq!(public("env:COOKIE"), "env:COOKIE");
    }
}
