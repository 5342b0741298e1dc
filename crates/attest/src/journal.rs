//! The journal: one JSON object a line, each naming the hash of the line before.
//!
//! The chain is over the bytes of a line as they stand in the file, without the line feed, so that checking it needs no
//! canonical form of JSON: `sha256sum` will do. A last line without its line feed is a write that was cut off (a crash,
//! a full disk) and is told apart from damage.
//!
//! Not here: keeping one journal for several drills, or going on with an old one. A journal has one writer and one life.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::sha256_hex;

/// What the first entry names as the line before it.
const NOTHING_BEFORE: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// How large a journal, and one line of it, may be in bytes. Ours have about a hundred lines of a few hundred bytes.
const JOURNAL_BYTES: usize = 64 << 20;
const LINE_BYTES: usize = 1 << 20;

/// The kind of the entry that ends a journal.
const CLOSED: &str = "journal_closed";

/// One line of a journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// From 1, without holes.
    pub sequence: u64,
    pub at: DateTime<Utc>,
    /// What is announced, in snake case: `stage_started`, `check_judged`.
    pub kind: String,
    pub data: Value,
    /// SHA-256, in hex, of the line before; zeros in the first entry.
    pub previous: String,
}

/// A place in a journal, named by what stands there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// 0 for a journal without entries.
    pub sequence: u64,
    /// SHA-256, in hex, of the line with that sequence.
    pub sha256: String,
}

impl Head {
    fn start() -> Self {
        Self { sequence: 0, sha256: NOTHING_BEFORE.to_owned() }
    }
}

/// Why an entry could not be written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("a journal already exists at {}", .0.display())]
    Exists(PathBuf),
    #[error("the journal at {} can't be written", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the data of the journal entry {kind} is not JSON")]
    Data {
        kind: String,
        #[source]
        source: serde_json::Error,
    },
}

/// A journal that is being written.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    head: Head,
}

impl Journal {
    /// Begins a journal. Its folder must exist.
    ///
    /// # Errors
    /// [`JournalError::Exists`] if there is a file already: a journal is never gone on with, and never overwritten.
    pub fn open_new(path: &Path) -> Result<Self, JournalError> {
        match OpenOptions::new().append(true).create_new(true).open(path) {
            Ok(file) => {
                let journal = Self { path: path.to_owned(), file, head: Head::start() };
                crate::evidence::sync_parent(path).map_err(|source| journal.failed(source))?;
                Ok(journal)
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Err(JournalError::Exists(path.to_owned()))
            }
            Err(source) => Err(JournalError::Write { path: path.to_owned(), source }),
        }
    }

    /// Writes one entry and waits until it is durable. Call it *before* the step that it announces.
    ///
    /// # Errors
    /// When this fails the step must not be taken: nobody would know of it.
    pub fn record(&mut self, at: DateTime<Utc>, kind: &str, data: impl Serialize) -> Result<Head, JournalError> {
        let data = serde_json::to_value(data).map_err(|source| JournalError::Data { kind: kind.to_owned(), source })?;
        let entry = Entry {
            sequence: self.head.sequence + 1,
            at,
            kind: kind.to_owned(),
            data,
            previous: self.head.sha256.clone(),
        };
        let mut line =
            serde_json::to_vec(&entry).map_err(|source| JournalError::Data { kind: kind.to_owned(), source })?;
        let head = Head { sequence: entry.sequence, sha256: sha256_hex(&line) };
        line.push(b'\n');
        self.file.write_all(&line).and_then(|()| self.file.sync_data()).map_err(|source| self.failed(source))?;
        self.head = head.clone();
        Ok(head)
    }

    /// Writes the last entry, which counts the others, so that lines missing at the end are noticed.
    ///
    /// # Errors
    /// As [`Journal::record`].
    pub fn close(mut self, at: DateTime<Utc>) -> Result<Head, JournalError> {
        let entries = self.head.sequence;
        self.record(at, CLOSED, serde_json::json!({ "entries": entries }))
    }

    /// Where the journal stands now.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    fn failed(&self, source: std::io::Error) -> JournalError {
        JournalError::Write { path: self.path.clone(), source }
    }
}

/// What a whole journal says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The closing entry included.
    pub entries: u64,
    /// The last line. Compare it, or sign it, to hold the end of the journal in place.
    pub head: Head,
    /// Whether the closing entry is there. Without it, lines may be missing at the end.
    pub closed: bool,
}

/// What is wrong with a journal. Lines count from 1.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    #[error("the journal at {} can't be read", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("it is larger than {JOURNAL_BYTES} bytes, or its line {line} is larger than {LINE_BYTES}")]
    TooLarge { line: u64 },
    #[error("line {line} is not a journal entry")]
    NotAnEntry {
        line: u64,
        #[source]
        source: serde_json::Error,
    },
    #[error("line {line} has sequence {found}: a line was removed, inserted or moved")]
    OutOfSequence { line: u64, found: u64 },
    #[error("line {line} does not follow from the line before it: one of the two was edited or replaced")]
    BrokenChain { line: u64 },
    #[error("line {line} closes the journal, but the count or the place is wrong")]
    WrongEnd { line: u64 },
    #[error("the last line was cut off while it was written; the {} before it are whole", whole.entries)]
    Torn { whole: Summary },
}

/// Checks the journal in a file.
///
/// # Errors
/// The first damage from the top. [`Damage::Torn`] carries what is whole before the torn line.
pub fn verify(path: &Path) -> Result<Summary, Damage> {
    let unreadable = |source| Damage::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    // One byte more than is allowed is enough to know that it is too much.
    file.take(JOURNAL_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    check(&bytes)
}

/// Checks a journal line by line.
///
/// # Errors
/// As [`verify`].
pub fn check(bytes: &[u8]) -> Result<Summary, Damage> {
    if bytes.len() > JOURNAL_BYTES {
        return Err(Damage::TooLarge { line: 0 });
    }
    let mut whole = Summary { entries: 0, head: Head::start(), closed: false };
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        if line.len() > LINE_BYTES {
            return Err(Damage::TooLarge { line: whole.entries + 1 });
        }
        let Some(line) = line.strip_suffix(b"\n") else {
            return Err(Damage::Torn { whole });
        };
        whole = follow(&whole, line)?;
    }
    Ok(whole)
}

/// Adds one line to what was checked so far.
fn follow(before: &Summary, bytes: &[u8]) -> Result<Summary, Damage> {
    let line = before.entries + 1;
    let entry: Entry = serde_json::from_slice(bytes).map_err(|source| Damage::NotAnEntry { line, source })?;
    if entry.sequence != line {
        return Err(Damage::OutOfSequence { line, found: entry.sequence });
    }
    if entry.previous != before.head.sha256 {
        return Err(Damage::BrokenChain { line });
    }
    let closed = entry.kind == CLOSED;
    let counted = entry.data.get("entries").and_then(Value::as_u64);
    if before.closed || (closed && counted != Some(before.entries)) {
        return Err(Damage::WrongEnd { line });
    }
    Ok(Summary { entries: line, head: Head { sequence: line, sha256: sha256_hex(bytes) }, closed })
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;
    use serde_json::json;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::seconds(second)
    }

    /// A closed journal of five lines.
    fn journal(folder: &Path) -> PathBuf {
        let path = folder.join("journal.jsonl");
        let mut journal = Journal::open_new(&path).unwrap();
        for step in 1..=4 {
            journal.record(at(step), "stage_started", json!({ "stage": format!("stage {step}") })).unwrap();
        }
        journal.close(at(5)).unwrap();
        path
    }

    /// What `verify` says after `change` was done to the lines.
    fn after(change: impl FnOnce(&mut Vec<String>)) -> Result<Summary, Damage> {
        let folder = tempfile::tempdir().unwrap();
        let path = journal(folder.path());
        let mut lines: Vec<String> = std::fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
        change(&mut lines);
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
        verify(&path)
    }

    #[test]
    fn an_untouched_journal_is_whole() {
        let summary = after(|_| {}).unwrap();
        assert_eq!((summary.entries, summary.head.sequence, summary.closed), (5, 5, true));
    }

    #[test]
    fn an_edited_line_is_found_by_the_next() {
        let damage = after(|lines| lines[1] = lines[1].replace("stage 2", "stage 7"));
        assert!(matches!(damage, Err(Damage::BrokenChain { line: 3 })), "{damage:?}");
    }

    #[test]
    fn an_edit_of_the_last_step_is_found_by_the_closing_line() {
        let damage = after(|lines| lines[3] = lines[3].replace("stage 4", "stage 7"));
        assert!(matches!(damage, Err(Damage::BrokenChain { line: 5 })), "{damage:?}");
    }

    #[test]
    fn a_removed_line_is_found() {
        let damage = after(|lines| drop(lines.remove(2)));
        assert!(matches!(damage, Err(Damage::OutOfSequence { line: 3, found: 4 })), "{damage:?}");
    }

    #[test]
    fn an_inserted_line_is_found() {
        let damage = after(|lines| lines.insert(2, lines[1].replace("\"sequence\":2", "\"sequence\":3")));
        assert!(matches!(damage, Err(Damage::BrokenChain { line: 3 })), "{damage:?}");
    }

    #[test]
    fn a_doubled_line_is_found() {
        let damage = after(|lines| lines.insert(2, lines[1].clone()));
        assert!(matches!(damage, Err(Damage::OutOfSequence { line: 3, found: 2 })), "{damage:?}");
    }

    #[test]
    fn two_lines_that_changed_places_are_found() {
        let damage = after(|lines| lines.swap(1, 2));
        assert!(matches!(damage, Err(Damage::OutOfSequence { line: 2, found: 3 })), "{damage:?}");
    }

    #[test]
    fn a_line_that_is_no_entry_is_found() {
        let damage = after(|lines| lines[0] = "{}".to_owned());
        assert!(matches!(damage, Err(Damage::NotAnEntry { line: 1, .. })), "{damage:?}");
    }

    #[test]
    fn lines_missing_at_the_end_leave_a_journal_that_is_not_closed() {
        assert!(!after(|lines| lines.truncate(3)).unwrap().closed);
    }

    #[test]
    fn nothing_follows_the_closing_line() {
        let damage = after(|lines| {
            let previous = sha256_hex(lines[4].as_bytes());
            let late = Entry { sequence: 6, at: at(6), kind: "late".into(), data: Value::Null, previous };
            lines.push(serde_json::to_string(&late).unwrap());
        });
        assert!(matches!(damage, Err(Damage::WrongEnd { line: 6 })), "{damage:?}");
    }

    #[test]
    fn a_torn_last_line_is_told_apart_from_damage() {
        let folder = tempfile::tempdir().unwrap();
        let path = journal(folder.path());
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 20]).unwrap();
        let Err(Damage::Torn { whole }) = verify(&path) else { panic!("a torn line was not noticed") };
        assert_eq!((whole.entries, whole.closed), (4, false));
    }

    #[test]
    fn a_line_without_end_is_not_parsed() {
        let endless = [b"{\"data\":".as_slice(), &b"[".repeat(LINE_BYTES)].concat();
        assert!(matches!(check(&endless), Err(Damage::TooLarge { line: 1 })));
        let deep = [b"{\"data\":".as_slice(), &b"[".repeat(1_000), b"\n"].concat();
        assert!(matches!(check(&deep), Err(Damage::NotAnEntry { line: 1, .. })));
    }

    #[test]
    fn a_journal_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = journal(folder.path());
        assert!(matches!(Journal::open_new(&path), Err(JournalError::Exists(_))));
        assert_eq!(verify(&path).unwrap().entries, 5);
    }

    #[test]
    fn the_head_of_the_writer_is_the_head_of_the_reader() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let mut journal = Journal::open_new(&path).unwrap();
        let head = journal.record(at(1), "drill_started", json!({})).unwrap();
        assert_eq!((&head, &verify(&path).unwrap().head), (journal.head(), &head));
    }
}
