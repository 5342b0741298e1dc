//! From a reference to its value.
//!
//! The environment comes in as a map: the binary reads it once. A file is read anew each time, so that a rotated
//! secret is found by the next reader.
//!
//! Not here: file permissions are not judged yet, and nothing is cached.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::reference::SecretReference;
use crate::value::SecretBytes;

/// A secret larger than this is a mistake: some other file was named.
const LARGEST: u64 = 64 * 1024;

/// Reads secrets from the environment it was given and from files.
#[derive(Clone)]
pub struct SecretReader {
    base: PathBuf,
    environment: BTreeMap<String, String>,
}

/// Why a reference has no value: what happened, the detail, what to do. None of the three holds a value or a folder of
/// this host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {detail}; {advice}")]
pub struct ResolveError {
    pub what: String,
    pub detail: String,
    pub advice: String,
}

impl SecretReader {
    /// `base` is where relative `file:` references start.
    pub fn new(base: impl Into<PathBuf>, environment: BTreeMap<String, String>) -> Self {
        Self { base: base.into(), environment }
    }

    /// The value that `reference` names, without the one newline that editors put at the end of a file.
    ///
    /// # Errors
    /// If it isn't there, can't be read or is empty.
    pub fn resolve(&self, reference: &SecretReference) -> Result<SecretBytes, ResolveError> {
        let bytes = match reference {
            SecretReference::Env(name) => self.variable(name),
            SecretReference::File(path) => read(&self.base.join(path)),
        };
        let value = bytes.map(without_newline).and_then(|bytes| {
            let empty = || Failure::new("it is empty", "put a value there, or correct the reference");
            (!bytes.is_empty()).then_some(bytes).ok_or_else(empty)
        });
        value.map_err(|failure| failure.about(reference))
    }

    fn variable(&self, name: &str) -> Result<SecretBytes, Failure> {
        let value = self.environment.get(name).ok_or_else(|| {
            Failure::new("the environment has no such variable", "set it for this process, or correct the reference")
        })?;
        Ok(SecretBytes::new(value.clone().into_bytes()))
    }
}

impl fmt::Debug for SecretReader {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SecretReader").field("base", &self.base).finish_non_exhaustive()
    }
}

struct Failure {
    detail: String,
    advice: &'static str,
}

impl Failure {
    fn new(detail: impl Into<String>, advice: &'static str) -> Self {
        Self { detail: detail.into(), advice }
    }

    fn about(self, reference: &SecretReference) -> ResolveError {
        let what = format!("secret {} does not resolve", reference.public());
        ResolveError { what, detail: self.detail, advice: self.advice.to_owned() }
    }
}

fn read(path: &Path) -> Result<SecretBytes, Failure> {
    let found = std::fs::metadata(path).map_err(|error| unreadable(&error))?;
    if !found.is_file() {
        return Err(Failure::new("that is not a file", "name a file that holds nothing but the secret"));
    }
    if found.len() > LARGEST {
        return Err(Failure::new(
            format!("the file has {} bytes, a secret has at most {LARGEST}", found.len()),
            "name a file that holds nothing but the secret",
        ));
    }
    std::fs::read(path).map(SecretBytes::new).map_err(|error| unreadable(&error))
}

/// Says the kind of the error only: its text may tell the path.
fn unreadable(error: &io::Error) -> Failure {
    let advice = match error.kind() {
        io::ErrorKind::NotFound => "create the file, or correct the reference",
        io::ErrorKind::PermissionDenied => "let the account that runs this process read the file",
        _ => "look at the file and the disk it is on",
    };
    Failure::new(error.kind().to_string(), advice)
}

fn without_newline(bytes: SecretBytes) -> SecretBytes {
    let value = bytes.expose();
    let Some(shorter) = value.strip_suffix(b"\n") else { return bytes };
    SecretBytes::new(shorter.strip_suffix(b"\r").unwrap_or(shorter).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(base: &Path) -> SecretReader {
        SecretReader::new(base, BTreeMap::from([("TOKEN".into(), "t0p".into()), ("BLANK".into(), String::new())]))
    }

    #[track_caller]
    fn refused(base: &Path, reference: &str) -> ResolveError {
        reader(base).resolve(&reference.parse().unwrap()).unwrap_err()
    }

    #[test]
    fn a_variable_and_a_file_resolve() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.key"), "abc\n\n").unwrap();
        let value = |text: &str| reader(folder.path()).resolve(&text.parse().unwrap()).unwrap();
        assert_eq!(value("env:TOKEN").expose(), b"t0p");
        assert_eq!(value("file:a.key").expose(), b"abc\n", "one newline is the editor's, a second is the secret's");
        assert_eq!(value(&format!("file:{}/a.key", folder.path().display())).expose(), b"abc\n");
    }

    #[test]
    fn what_does_not_resolve_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path();
        let error = refused(base, "file:missing.key");
        assert_eq!(
            error.to_string(),
            "secret file:missing.key does not resolve: entity not found; create the file, or correct the reference"
        );
        assert_eq!(refused(base, "env:NOPE").detail, "the environment has no such variable");
        assert_eq!(refused(base, "env:BLANK").detail, "it is empty");
        assert_eq!(refused(base, "file:.").detail, "that is not a file");
    }

    #[test]
    fn a_file_too_large_to_be_a_secret_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("big"), vec![b'x'; 70_000]).unwrap();
        assert!(refused(folder.path(), "file:big").detail.contains("70000 bytes"));
    }

    #[test]
    fn neither_reader_nor_error_tells_a_value_or_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let error = refused(folder.path(), &format!("file:{}/none", folder.path().display()));
        assert!(!error.to_string().contains(&folder.path().display().to_string()), "{error}");
        assert!(!format!("{:?}", reader(folder.path())).contains("t0p"));
    }
}
