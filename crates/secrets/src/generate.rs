//! Fresh secrets for an installation that was configured with none.
//!
//! A secret that exists is never written again, not even by two processes that start at once: each is completed under a
//! name of its own and then linked to its place, which fails if the place is taken.
//!
//! Not here: backing them up. Whoever loses these files loses what was encrypted under them.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clock::Sources;
use zeroize::Zeroizing;

use crate::configured::ConfiguredSecrets;
use crate::key::DataKey;

/// A file of the secrets folder could not be written.
#[derive(Debug, thiserror::Error)]
#[error("secret file {path} was not written; make its folder writable, or configure secrets of your own", path = path.display())]
pub struct GenerateError {
    pub path: PathBuf,
    #[source]
    source: io::Error,
}

/// Makes those of the five secrets that `folder` lacks: 32 random bytes as base64, in files only the owner can read.
/// They are what [`ConfiguredSecrets::generated`] names if `folder` is the `secrets` of the reader's folder.
///
/// # Errors
/// If the folder or a file can't be written.
pub fn generate(folder: &Path, sources: &Sources) -> Result<(), GenerateError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| GenerateError { path, source }
    };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed(folder))?;
    for name in ConfiguredSecrets::NAMES {
        let path = folder.join(ConfiguredSecrets::file_name(name));
        if !path.exists() {
            place(folder, &path, sources).map_err(failed(&path))?;
        }
    }
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder))
}

fn place(folder: &Path, path: &Path, sources: &Sources) -> io::Result<()> {
    let draft = folder.join(format!(".{}.new", hex::encode(sources.bytes::<8>())));
    let placed = write(&draft, sources).and_then(|()| std::fs::hard_link(&draft, path));
    let removed = std::fs::remove_file(&draft);
    match placed {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => removed,
        placed => placed.and(removed),
    }
}

fn write(draft: &Path, sources: &Sources) -> io::Result<()> {
    let text = Zeroizing::new(STANDARD.encode(DataKey::generate(sources).expose()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::reader::SecretReader;

    fn values(base: &Path) -> Vec<Vec<u8>> {
        let reader = SecretReader::new(base, BTreeMap::new());
        let resolved = ConfiguredSecrets::generated().resolve_all(&reader).unwrap();
        resolved.values().map(|value| value.expose().to_vec()).collect()
    }

    #[test]
    fn fresh_secrets_resolve_differ_and_are_the_owners_alone() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("secrets");
        generate(&folder, &Sources::system()).unwrap();

        let mut values = values(base.path());
        values.sort();
        values.dedup();
        assert_eq!(values.len(), 5);
        for entry in std::fs::read_dir(&folder).unwrap() {
            assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 5, "no draft is left");
    }

    #[test]
    fn a_secret_that_exists_is_never_overwritten() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("secrets");
        generate(&folder, &Sources::system()).unwrap();
        let before = values(base.path());
        generate(&folder, &Sources::system()).unwrap();
        assert_eq!(values(base.path()), before);
        place(&folder, &folder.join("cookie.key"), &Sources::system()).unwrap();
        assert_eq!(values(base.path()), before, "nor by a process that comes second");
    }
}
