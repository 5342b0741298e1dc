//! A folder of a test's own, gone with it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// When it goes, clusters below it whose owner is dead are stopped first, and processes of drills are ended.
#[derive(Debug)]
pub struct Folder(TempDir);

impl Folder {
    /// # Panics
    /// If the system's folder for temporary files can't be written.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it makes a folder")]
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("e2e-").tempdir().expect("a temporary folder can be made");
        // Postgres runs as somebody else if the test is root, and has to get in.
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).expect("one's own folder can be opened");
        Self(folder)
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A folder below, made now.
    ///
    /// # Panics
    /// If it can't be made.
    #[must_use]
    pub fn make(&self, name: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(&path).expect("a folder can be made below one's own");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        crate::processes::end_all_below(self.path());
    }
}
