//! Where an archive keeps what: `archive.json`, `blobs/ab/HASH`, `backups/ID/...`, and the folders of backups that are
//! still being made.
//!
//! A backup in the making lives in `backups/.incomplete-ID` and holds a lock on it. It becomes a backup by one rename.
//! What a killed one left is recognised by its lock being free, and swept by the next; blobs that it had already
//! delivered stay, they are good.
//!
//! Not here: what the files say (`manifest`), whether they are whole (`verify`). Locks don't reach across machines on
//! every network file system: there, make one backup at a time.

use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use clock::Sources;
use ids::BackupId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::reading;

/// The word at the top of `archive.json`.
pub(crate) const FORMAT: &str = "cowork-archive";
/// The archive layout that this build writes.
pub(crate) const VERSION: u32 = 1;

pub(crate) const ARCHIVE: &str = "archive.json";
pub(crate) const MANIFEST: &str = "manifest.json";
pub(crate) const MANIFEST_SUM: &str = "manifest.sha256";
pub(crate) const DUMP: &str = "database.dump";
pub(crate) const BLOBS: &str = "blobs.jsonl";
const INCOMPLETE: &str = ".incomplete-";
const INCOMING: &str = "incoming";

/// An archive can't be used as it is. Paths are relative to the archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("this folder is not an archive: {ARCHIVE} is not in it")]
    NotAnArchive,
    #[error("this folder is neither empty nor an archive")]
    Occupied,
    #[error("{file} has format version {found}; this build reads up to {ours}")]
    Newer { file: String, found: u32, ours: u32 },
    #[error("{file} is damaged: {detail}")]
    Damaged { file: String, detail: String },
    #[error("the archive holds no backup")]
    Empty,
    #[error("the archive holds no backup {0}")]
    NoSuchBackup(String),
    #[error("{file} can't be used")]
    Io {
        file: String,
        #[source]
        source: io::Error,
    },
}

impl ArchiveError {
    pub(crate) fn io(file: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let file = file.into();
        move |source| match source.kind() {
            io::ErrorKind::InvalidData => Self::Damaged { file, detail: source.to_string() },
            _ => Self::Io { file, source },
        }
    }

    pub(crate) fn damaged(file: impl Into<String>, detail: impl std::fmt::Display) -> Self {
        Self::Damaged { file: file.into(), detail: format!("{detail}") }
    }

    /// What the operator can do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::NotAnArchive => "name the folder that `cowork backup --archive` was given",
            Self::Occupied => "name an archive, or a folder that is new or empty",
            Self::Newer { .. } => "use the build that made it, or a later one",
            Self::Damaged { .. } => "take another backup of this archive, or another copy of this one",
            Self::Empty | Self::NoSuchBackup(_) => "look at `cowork archive list`",
            Self::Io { .. } => "check the path, its permissions and the space on its disk",
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ArchiveFile {
    format: String,
    version: u32,
    archive_id: Uuid,
}

/// What every file of ours begins with; read before anything else, so that a newer one is told from a damaged one.
#[derive(Debug, Deserialize)]
pub(crate) struct Header {
    pub(crate) format: String,
    pub(crate) version: u32,
}

/// Refuses what is not of `format`, or newer than `ours`.
pub(crate) fn check_header(file: &str, text: &[u8], format: &str, ours: u32) -> Result<(), ArchiveError> {
    let header: Header = serde_json::from_slice(text).map_err(|error| ArchiveError::damaged(file, error))?;
    if header.format != format {
        return Err(ArchiveError::damaged(file, format!("its format is not {format}")));
    }
    match header.version {
        0 => Err(ArchiveError::damaged(file, "its version is 0")),
        found if found > ours => Err(ArchiveError::Newer { file: file.to_owned(), found, ours }),
        _ => Ok(()),
    }
}

/// A folder of backups.
#[derive(Debug, Clone)]
pub struct Archive {
    folder: PathBuf,
    id: Uuid,
}

impl Archive {
    /// Opens an archive.
    ///
    /// # Errors
    /// If there is none, or it is of a newer format.
    pub fn open(folder: &Path) -> Result<Self, ArchiveError> {
        let text = match reading::small(&folder.join(ARCHIVE)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(ArchiveError::NotAnArchive),
            Err(error) => return Err(ArchiveError::io(ARCHIVE)(error)),
        };
        check_header(ARCHIVE, &text, FORMAT, VERSION)?;
        if !text.ends_with(b"\n") {
            return Err(ArchiveError::damaged(ARCHIVE, "it has no end"));
        }
        let file: ArchiveFile = serde_json::from_slice(&text).map_err(|error| ArchiveError::damaged(ARCHIVE, error))?;
        Ok(Self { folder: folder.to_owned(), id: file.archive_id })
    }

    /// Opens an archive; makes one of a folder that is new or empty. Two at once get the same one.
    ///
    /// # Errors
    /// If the folder holds something else, is of a newer format, or can't be written.
    pub fn open_or_create(folder: &Path, sources: &Sources) -> Result<Self, ArchiveError> {
        match Self::open(folder) {
            Err(ArchiveError::NotAnArchive) => {}
            other => return other,
        }
        make_folder(folder).map_err(ArchiveError::io("the archive"))?;
        let mut entries = std::fs::read_dir(folder).map_err(ArchiveError::io("the archive"))?.flatten();
        if entries.any(|entry| !entry.file_name().to_string_lossy().starts_with(INCOMPLETE)) {
            // Perhaps another backup has just made it one.
            return Self::open(folder).map_err(|error| match error {
                ArchiveError::NotAnArchive => ArchiveError::Occupied,
                other => other,
            });
        }
        let file = ArchiveFile { format: FORMAT.to_owned(), version: VERSION, archive_id: sources.id() };
        write_new(folder, ARCHIVE, &pretty(&file)).map_err(ArchiveError::io(ARCHIVE))?;
        Self::open(folder)
    }

    #[must_use]
    pub fn id(&self) -> Uuid {
        self.id
    }

    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Every backup, oldest first, whether or not it is whole.
    ///
    /// # Errors
    /// If the folder can't be read.
    pub fn backups(&self) -> Result<Vec<BackupId>, ArchiveError> {
        let entries = match std::fs::read_dir(self.folder.join("backups")) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(ArchiveError::io("backups")(error)),
        };
        let mut ids: Vec<BackupId> =
            entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// The backup that `name` means: an id, or `latest`. The latest is the one that began last; a damaged one is not
    /// passed over, for its predecessor would be a surprise.
    ///
    /// # Errors
    /// If there is no such backup.
    pub fn resolve(&self, name: &str) -> Result<BackupId, ArchiveError> {
        let backups = self.backups()?;
        if name == "latest" {
            return backups.last().copied().ok_or(ArchiveError::Empty);
        }
        let wanted = name.parse::<BackupId>().ok().filter(|id| backups.contains(id));
        wanted.ok_or_else(|| ArchiveError::NoSuchBackup(name.to_owned()))
    }

    pub(crate) fn backup_folder(&self, id: BackupId) -> PathBuf {
        self.folder.join(backup_path(id))
    }

    /// Where the blob with this hash is.
    #[must_use]
    pub fn blob(&self, sha256: &str) -> PathBuf {
        self.folder.join(blob_path(sha256))
    }
}

/// The path of a backup's folder in the archive.
pub(crate) fn backup_path(id: BackupId) -> String {
    format!("backups/{id}")
}

/// The path of a blob in the archive.
pub(crate) fn blob_path(sha256: &str) -> String {
    format!("blobs/{}/{sha256}", &sha256[..2])
}

/// A backup in the making. Dropped before [`Incomplete::finish`], it disappears.
#[derive(Debug)]
pub(crate) struct Incomplete {
    folder: PathBuf,
    target: PathBuf,
    backups: PathBuf,
    finished: bool,
    _lock: File,
}

impl Incomplete {
    /// Begins one, and sweeps what killed ones left behind.
    pub(crate) fn begin(archive: &Archive, id: BackupId) -> Result<Self, ArchiveError> {
        let backups = archive.folder.join("backups");
        let folder = backups.join(format!("{INCOMPLETE}{id}"));
        let io = || ArchiveError::io("backups");
        make_folder(&backups).map_err(io())?;
        // Held while folders come, go and are locked, so that a fresh one is never taken for an abandoned one.
        let door = File::open(&backups).map_err(io())?;
        door.lock().map_err(io())?;
        sweep(&backups).map_err(io())?;
        make_folder(&folder).map_err(io())?;
        let lock = File::open(&folder).map_err(io())?;
        lock.lock().map_err(io())?;
        make_folder(&folder.join(INCOMING)).map_err(io())?;
        make_folder(&folder.join("probes")).map_err(io())?;
        Ok(Self { folder, target: archive.backup_folder(id), backups, finished: false, _lock: lock })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where blobs are written before they are moved into place.
    pub(crate) fn incoming(&self) -> PathBuf {
        self.folder.join(INCOMING)
    }

    /// Makes everything durable, then makes it a backup, unless it was given up meanwhile.
    pub(crate) fn finish(mut self, manifest: &[u8], manifest_sum: &str, given_up: &AtomicBool) -> io::Result<()> {
        std::fs::remove_dir_all(self.incoming())?;
        std::fs::write(self.folder.join(MANIFEST_SUM), manifest_sum)?;
        // One flush of the file system instead of one per blob: ten thousand of those take minutes.
        nix::unistd::syncfs(File::open(&self.folder)?)?;
        write_new(&self.folder, MANIFEST, manifest)?;
        if given_up.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        std::fs::rename(&self.folder, &self.target)?;
        self.finished = true;
        File::open(&self.backups)?.sync_all()
    }
}

impl Drop for Incomplete {
    fn drop(&mut self) {
        if !self.finished
            && let Err(error) = std::fs::remove_dir_all(&self.folder)
        {
            tracing::warn!(%error, "an incomplete backup could not be removed; the next backup sweeps it");
        }
    }
}

fn sweep(backups: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(backups)?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(INCOMPLETE) && File::open(entry.path())?.try_lock().is_ok() {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Makes a folder that only its owner can read: an archive holds everything that the system knows.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes a file durably and all at once, unless it exists already.
fn write_new(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut file = tempfile::Builder::new().prefix(INCOMPLETE).tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(folder.join(name)) {
        Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => return Err(error.error),
        _ => {}
    }
    File::open(folder)?.sync_all()
}

/// JSON as our files hold it: indented, one line end at the end.
pub(crate) fn pretty<T: Serialize>(value: &T) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("our own types can be written as JSON");
    text.push(b'\n');
    text
}
