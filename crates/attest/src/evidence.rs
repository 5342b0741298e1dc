//! Evidence: what was seen, stored before it is judged.
//!
//! A piece of evidence is a file `evidence/<check>/<name>.json` or `.txt` in the drill's folder. It is written once,
//! durable when the call returns, and named in the report by path, SHA-256 and length.
//!
//! Each carries a salt from the drill's key ([`RunKey`]): its digest travels further than the file, and most files hold
//! a few small counts, which a plain digest would give away.
//!
//! Not here: deciding what may be kept. Evidence holds counts, digests and names, never rows and never secrets; whoever
//! writes it answers for that (`drill::said` has the types), and the drill scans the folder afterwards.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::run_key::RunKey;
use crate::sha256_hex;

/// A stored piece of evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// Relative to the drill's folder, with `/`.
    pub path: String,
    /// Of the file's bytes, in hex.
    pub sha256: String,
    pub bytes: u64,
}

/// Why evidence could not be stored. The check that needed it can't be verified then.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    #[error("{0:?} is not a name for evidence: use lower-case letters, digits, '-' and '_'")]
    Name(String),
    #[error("the evidence {path} is not JSON")]
    Data {
        path: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("the evidence {path} can't be written")]
    Write {
        path: String,
        #[source]
        source: std::io::Error,
    },
}

/// What is wrong with a stored piece of evidence.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceDamage {
    #[error("the evidence {path} can't be read")]
    Unreadable {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("the evidence {path} is not what was stored: {found} instead of {expected}")]
    Changed { path: String, expected: String, found: String },
}

/// Where a drill's evidence goes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EvidenceFolder {
    out: PathBuf,
    key: RunKey,
}

/// What a piece of evidence in JSON consists of.
#[derive(Serialize)]
struct Salted<'a, T> {
    salt: String,
    seen: &'a T,
}

impl EvidenceFolder {
    /// Evidence below `out`, the drill's folder, which must exist; salted under the drill's key.
    #[must_use]
    pub fn new(out: &Path, key: RunKey) -> Self {
        Self { out: out.to_owned(), key }
    }

    /// The key that the evidence is salted under.
    #[must_use]
    pub fn key(&self) -> &RunKey {
        &self.key
    }

    /// Stores `{"salt": ..., "seen": value}` as `evidence/<check>/<name>.json`, indented, because people read it.
    ///
    /// # Errors
    /// Also when that evidence is there already: what was seen is not seen anew.
    pub fn write_json(&self, check: &str, name: &str, value: &impl Serialize) -> Result<Evidence, EvidenceError> {
        let path = place(check, name, "json")?;
        let salted = Salted { salt: self.key.salt(&path), seen: value };
        let mut bytes =
            serde_json::to_vec_pretty(&salted).map_err(|source| EvidenceError::Data { path: path.clone(), source })?;
        bytes.push(b'\n');
        self.store(path, &bytes)
    }

    /// Stores text as `evidence/<check>/<name>.txt`, with a last line `salt: ...`.
    ///
    /// # Errors
    /// As [`EvidenceFolder::write_json`].
    pub fn write_text(&self, check: &str, name: &str, text: &str) -> Result<Evidence, EvidenceError> {
        let path = place(check, name, "txt")?;
        let feed = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        let salted = format!("{text}{feed}salt: {}\n", self.key.salt(&path));
        self.store(path, salted.as_bytes())
    }

    fn store(&self, path: String, bytes: &[u8]) -> Result<Evidence, EvidenceError> {
        match write_new(&self.out.join(&path), bytes) {
            Ok(()) => Ok(Evidence { path, sha256: sha256_hex(bytes), bytes: bytes.len() as u64 }),
            Err(source) => Err(EvidenceError::Write { path, source }),
        }
    }
}

impl Evidence {
    /// Reads the file below `out` again and compares its hash.
    ///
    /// # Errors
    /// If it is gone or changed.
    pub fn verify(&self, out: &Path) -> Result<(), EvidenceDamage> {
        let bytes = std::fs::read(out.join(&self.path))
            .map_err(|source| EvidenceDamage::Unreadable { path: self.path.clone(), source })?;
        let found = sha256_hex(&bytes);
        if found == self.sha256 && bytes.len() as u64 == self.bytes {
            return Ok(());
        }
        Err(EvidenceDamage::Changed { path: self.path.clone(), expected: self.sha256.clone(), found })
    }
}

/// The path of a piece of evidence. Names are plain, so that none can climb out of the folder.
fn place(check: &str, name: &str, ending: &str) -> Result<String, EvidenceError> {
    for part in [check, name] {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if part.is_empty() || !part.chars().all(plain) {
            return Err(EvidenceError::Name(part.to_owned()));
        }
    }
    Ok(format!("evidence/{check}/{name}.{ending}"))
}

/// Writes a file that must not exist yet, with its folders, and makes it durable. The folders' own entries are synced
/// one level up only: what matters is that a verdict never outlives its evidence, and the journal's `fsync` comes after.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    sync_parent(path)
}

/// Makes a new name in a folder durable.
pub(crate) fn sync_parent(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn folder(out: &Path, key: u8) -> EvidenceFolder {
        EvidenceFolder::new(out, RunKey::unknown([key; 32]))
    }

    #[test]
    fn evidence_reads_back_as_it_was_stored() {
        let out = tempfile::tempdir().unwrap();
        let into = folder(out.path(), 7);
        let counts = into.write_json("postgres-restore", "table_counts", &json!({ "sessions": 200 })).unwrap();
        let output = into.write_text("postgres-restore", "pg_restore", "done\n").unwrap();
        assert_eq!(counts.path, "evidence/postgres-restore/table_counts.json");
        assert_eq!((output.path.as_str(), output.bytes), ("evidence/postgres-restore/pg_restore.txt", 44));
        counts.verify(out.path()).unwrap();
        output.verify(out.path()).unwrap();
    }

    #[test]
    fn the_digest_of_evidence_does_not_tell_what_small_count_stands_in_it() {
        let [one, two] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let store = |out: &Path, key| {
            folder(out, key).write_json("postgres-restore", "counts", &json!({ "sessions": 3 })).unwrap()
        };
        let (ours, theirs) = (store(one.path(), 7), store(two.path(), 8));
        assert_ne!(ours.sha256, theirs.sha256);
        // Whoever has the key can check a guess; whoever has the file needs none.
        let salt = RunKey::unknown([7; 32]).salt(&ours.path);
        let guess = serde_json::to_string_pretty(&json!({"salt": salt, "seen": {"sessions": 3}})).unwrap();
        assert_eq!(sha256_hex(format!("{guess}\n").as_bytes()), ours.sha256);
        ours.verify(one.path()).unwrap();
    }

    #[test]
    fn changed_evidence_is_found() {
        let out = tempfile::tempdir().unwrap();
        let stored = folder(out.path(), 7).write_text("redaction", "scan", "0 found").unwrap();
        std::fs::write(out.path().join(&stored.path), "1 found").unwrap();
        assert!(matches!(stored.verify(out.path()), Err(EvidenceDamage::Changed { .. })));
        std::fs::remove_file(out.path().join(&stored.path)).unwrap();
        assert!(matches!(stored.verify(out.path()), Err(EvidenceDamage::Unreadable { .. })));
    }

    #[test]
    fn evidence_is_written_once() {
        let out = tempfile::tempdir().unwrap();
        let into = folder(out.path(), 7);
        into.write_text("redaction", "scan", "first").unwrap();
        assert!(matches!(into.write_text("redaction", "scan", "second"), Err(EvidenceError::Write { .. })));
    }

    #[test]
    fn a_name_can_not_climb_out_of_the_folder() {
        let into = folder(Path::new("unused"), 7);
        for name in ["", "..", "a/b", "A", "a.b", "a b"] {
            assert!(matches!(into.write_text("redaction", name, ""), Err(EvidenceError::Name(_))), "{name:?}");
        }
    }
}
