//! Reading a backup, and making sure that it is whole before anybody relies on it.
//!
//! [`Archive::read`] checks the manifest against its SHA-256 and its format version; [`verify`] hashes every file and
//! every blob that the manifest names. Both only read. What is found names the file, relative to the archive.
//!
//! Not guaranteed: that somebody who can write to the archive did not replace a file together with its hash; and that
//! a file stays whole after it was looked at.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use ids::BackupId;
use serde::de::DeserializeOwned;

use crate::blobs::{self, BlobFaults};
use crate::layout::{self, Archive, ArchiveError, BLOBS, DUMP, MANIFEST, MANIFEST_SUM};
use crate::manifest::{BlobEntry, FORMAT, FileEntry, Manifest, VERSION};
use crate::progress::{Progress, Step};
use crate::reading;

/// A backup whose manifest was read and is genuine.
#[derive(Debug, Clone)]
pub struct Backup {
    pub manifest: Manifest,
    archive: Archive,
    folder: PathBuf,
}

/// A backup is not whole.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("the backup can't be used")]
    Archive(#[source] ArchiveError),
    #[error("{} of the archive's blobs are not what the backup needs: {faults}", .faults.count)]
    Blobs { faults: BlobFaults },
}

impl VerifyError {
    /// What the operator can do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Archive(error) => error.advice(),
            Self::Blobs { .. } => {
                "take another backup of this archive, or bring the blobs back from another copy of it"
            }
        }
    }
}

impl Archive {
    /// Reads a backup's manifest.
    ///
    /// # Errors
    /// If it is missing, damaged, or of a newer format.
    pub fn read(&self, id: BackupId) -> Result<Backup, ArchiveError> {
        let folder = self.backup_folder(id);
        let named = |file| format!("{}/{file}", layout::backup_path(id));
        let text = reading::small(&folder.join(MANIFEST)).map_err(missing(named(MANIFEST)))?;
        // A newer format may keep its sum elsewhere: its version is asked first.
        layout::check_header(&named(MANIFEST), &text, FORMAT, VERSION)?;
        let sum = reading::small(&folder.join(MANIFEST_SUM)).map_err(missing(named(MANIFEST_SUM)))?;
        let (_, found) = blobs::hash_through(&mut text.as_slice(), &mut io::sink()).expect("memory can be read");
        if sum != format!("{found}  {MANIFEST}\n").as_bytes() {
            let detail = format!("it does not agree with {MANIFEST_SUM}");
            return Err(ArchiveError::damaged(named(MANIFEST), detail));
        }
        let manifest: Manifest =
            serde_json::from_slice(&text).map_err(|error| ArchiveError::damaged(named(MANIFEST), error))?;
        if manifest.backup_id != id {
            return Err(ArchiveError::damaged(named(MANIFEST), "it is another backup's"));
        }
        if manifest.archive_id != self.id() {
            return Err(ArchiveError::damaged(layout::ARCHIVE, format!("{} names another archive", named(MANIFEST))));
        }
        Ok(Backup { manifest, archive: self.clone(), folder })
    }
}

impl Backup {
    #[must_use]
    pub fn id(&self) -> BackupId {
        self.manifest.backup_id
    }

    #[must_use]
    pub fn archive(&self) -> &Archive {
        &self.archive
    }

    /// The file that `pg_restore` reads.
    #[must_use]
    pub fn dump(&self) -> PathBuf {
        self.folder.join(DUMP)
    }

    /// Every object that the snapshot names, in order of key. The file is checked against the manifest.
    ///
    /// # Errors
    /// If it is missing or damaged.
    pub fn blobs(&self) -> Result<Vec<BlobEntry>, ArchiveError> {
        let blobs: Vec<BlobEntry> = self.lines(BLOBS)?;
        let known = |blob: &BlobEntry| {
            let hex = blob.sha256.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
            hex && blob.sha256.len() == 64 && blobs::object_path(&self.folder, &blob.key).is_ok()
        };
        match blobs.iter().position(|blob| !known(blob)) {
            Some(line) => Err(ArchiveError::damaged(self.named(BLOBS), format!("line {} is no object", line + 1))),
            None => Ok(blobs),
        }
    }

    /// The recorded answer of a probe, each row as a `T`; `None` if none was recorded. Checked against the manifest.
    ///
    /// # Errors
    /// If its file is missing or damaged, or its rows are no `T`s.
    pub fn probe_rows<T: DeserializeOwned>(&self, name: &str) -> Result<Option<Vec<T>>, ArchiveError> {
        let recorded = self.manifest.probe(name).and_then(|probe| probe.recorded.as_ref());
        recorded.map(|recorded| self.lines(&recorded.file)).transpose()
    }

    /// The path of a file of this backup, relative to the archive.
    fn named(&self, file: &str) -> String {
        format!("{}/{file}", layout::backup_path(self.id()))
    }

    fn entry(&self, file: &str) -> Result<&FileEntry, ArchiveError> {
        let entry = self.manifest.files.iter().find(|entry| entry.path == file);
        entry.ok_or_else(|| ArchiveError::damaged(self.named(MANIFEST), format!("it does not list {file}")))
    }

    fn lines<T: DeserializeOwned>(&self, file: &str) -> Result<Vec<T>, ArchiveError> {
        self.check_file(self.entry(file)?)?;
        let opened = reading::open(&self.folder.join(file)).map_err(missing(self.named(file)))?;
        let parse = |(line, text): (usize, io::Result<Vec<u8>>)| {
            let text = text.map_err(ArchiveError::io(self.named(file)))?;
            let bad = |error| ArchiveError::damaged(self.named(file), format!("line {}: {error}", line + 1));
            serde_json::from_slice(&text).map_err(bad)
        };
        reading::lines(opened).enumerate().map(parse).collect()
    }

    fn check_file(&self, entry: &FileEntry) -> Result<(), ArchiveError> {
        let named = self.named(&entry.path);
        if blobs::object_path(&self.folder, &entry.path).is_err() {
            return Err(ArchiveError::damaged(self.named(MANIFEST), "it lists a file outside of its folder"));
        }
        let mut file = reading::open(&self.folder.join(&entry.path)).map_err(missing(&named))?;
        let size = file.metadata().map_err(missing(&named))?.len();
        if size != entry.size {
            return Err(ArchiveError::damaged(named, format!("it has {size} bytes instead of {}", entry.size)));
        }
        let (_, sha256) = blobs::hash_through(&mut file, &mut io::sink()).map_err(missing(&named))?;
        if sha256 == entry.sha256 { Ok(()) } else { Err(ArchiveError::damaged(named, "it has another SHA-256")) }
    }

    /// The files without which there is no restore must be listed, and every listed one must be whole.
    fn check_files(&self, progress: &dyn Progress) -> Result<(), ArchiveError> {
        self.entry(DUMP)?;
        for recorded in self.manifest.probes.iter().filter_map(|probe| probe.recorded.as_ref()) {
            self.entry(&recorded.file)?;
        }
        for entry in &self.manifest.files {
            self.check_file(entry)?;
            progress.advance(Step::Verify, entry.size);
        }
        Ok(())
    }
}

/// Hashes every file and every blob of a backup, and gives the objects that it holds.
///
/// # Errors
/// At the first file that is not whole; with a list of all blobs that aren't.
pub async fn verify(backup: &Backup, progress: Arc<dyn Progress>) -> Result<Vec<BlobEntry>, VerifyError> {
    progress.begin(Step::Verify, backup.manifest.file_bytes().saturating_add(backup.manifest.blobs.bytes));
    let (reader, teller) = (backup.clone(), progress.clone());
    let check = tokio::task::spawn_blocking(move || {
        reader.check_files(teller.as_ref())?;
        let blobs = reader.blobs()?;
        let bytes = blobs.iter().try_fold(0_u64, |sum, blob| sum.checked_add(blob.size));
        if (blobs.len() as u64, bytes) == (reader.manifest.blobs.count, Some(reader.manifest.blobs.bytes)) {
            Ok(blobs)
        } else {
            Err(ArchiveError::damaged(reader.named(BLOBS), "its count or bytes are not the manifest's"))
        }
    });
    let blobs = check.await.expect("checking files does not panic").map_err(VerifyError::Archive)?;
    blobs::verify(&backup.archive, &blobs, progress.clone()).await.map_err(|faults| VerifyError::Blobs { faults })?;
    progress.end(Step::Verify, &format!("{} files, {} blobs", backup.manifest.files.len() + 2, blobs.len()));
    Ok(blobs)
}

fn missing(file: impl Into<String>) -> impl FnOnce(io::Error) -> ArchiveError {
    let file = file.into();
    move |source| match source.kind() {
        io::ErrorKind::InvalidData => ArchiveError::Damaged { file, detail: source.to_string() },
        io::ErrorKind::NotFound => ArchiveError::Damaged { file, detail: "it is missing".to_owned() },
        _ => ArchiveError::Io { file, source },
    }
}
