//! Finding the machine's Postgres programs.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Where Debian and its kin keep one folder of server programs per major version.
const VERSIONED: &str = "/usr/lib/postgresql";

/// What a folder must have to count: the server, and the tools that we or our callers run.
const PROGRAMS: [&str; 7] = ["initdb", "postgres", "createdb", "dropdb", "psql", "pg_dump", "pg_restore"];

/// A folder that holds a Postgres server and its tools, all of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    folder: PathBuf,
}

/// No Postgres server is installed here.
#[derive(Debug, thiserror::Error)]
#[error(
    "find a Postgres server on this machine; `initdb`, `postgres` and their kin are neither on PATH nor in \
     /usr/lib/postgresql/*/bin; install it, on Debian with `apt-get install postgresql-15`, or name a server of your \
     own in the configuration"
)]
pub struct MissingBinaries;

impl Binaries {
    /// Looks on `path` (the value of `PATH`), then for the newest version where Debian keeps them.
    ///
    /// # Errors
    /// If there is neither.
    pub fn find(path: Option<&OsStr>) -> Result<Self, MissingBinaries> {
        let on_path = path.into_iter().flat_map(std::env::split_paths).find_map(|folder| installation(&folder));
        on_path.or_else(|| newest_version(Path::new(VERSIONED))).map(|folder| Self { folder }).ok_or(MissingBinaries)
    }

    /// The path of one program: `tool("pg_dump")`.
    #[must_use]
    pub fn tool(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The folder that all of them are in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// The folder that really holds what `folder` offers. `PATH` often has the client's programs alone, or links to a few of
/// the server's; all that we use must come from one place, or versions get mixed.
fn installation(folder: &Path) -> Option<PathBuf> {
    let server = folder.join("initdb").canonicalize().ok()?;
    let home = server.parent()?;
    PROGRAMS.iter().all(|program| home.join(program).is_file()).then(|| home.to_path_buf())
}

fn newest_version(root: &Path) -> Option<PathBuf> {
    let versions = std::fs::read_dir(root).ok()?.flatten().filter_map(|entry| {
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        Some((version, installation(&entry.path().join("bin"))?))
    });
    versions.max().map(|(_, folder)| folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install(root: &Path, version: &str) {
        let folder = root.join(version).join("bin");
        std::fs::create_dir_all(&folder).unwrap();
        for program in PROGRAMS {
            std::fs::write(folder.join(program), "").unwrap();
        }
    }

    #[test]
    fn the_newest_version_is_taken_by_number() {
        let root = tempfile::tempdir().unwrap();
        for version in ["9", "15", "16", "common"] {
            install(root.path(), version);
        }
        std::fs::create_dir_all(root.path().join("17/bin")).unwrap();
        assert_eq!(newest_version(root.path()), Some(root.path().canonicalize().unwrap().join("16/bin")));
    }

    #[test]
    fn a_server_on_the_path_comes_first() {
        let root = tempfile::tempdir().unwrap();
        install(root.path(), "15");
        let own = root.path().canonicalize().unwrap().join("15/bin");
        let path = std::env::join_paths([root.path(), &own]).unwrap();
        assert_eq!(Binaries::find(Some(&path)).unwrap().tool("psql"), own.join("psql"));
    }

    #[test]
    fn a_link_on_the_path_leads_to_all_programs() {
        let root = tempfile::tempdir().unwrap();
        install(root.path(), "15");
        let own = root.path().canonicalize().unwrap().join("15/bin");
        let links = root.path().join("links");
        std::fs::create_dir(&links).unwrap();
        std::os::unix::fs::symlink(own.join("initdb"), links.join("initdb")).unwrap();
        assert_eq!(Binaries::find(Some(links.as_os_str())).unwrap().folder(), own);
    }

    #[test]
    fn an_empty_machine_has_no_server() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(newest_version(root.path()), None);
        assert_eq!(newest_version(&root.path().join("nowhere")), None);
    }

    #[test]
    fn the_error_says_what_to_install() {
        let text = MissingBinaries.to_string();
        assert!(text.contains("neither on PATH") && text.contains("apt-get install postgresql-15"), "{text}");
    }
}
