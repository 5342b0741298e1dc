//! The bundle: a drill's folder, sealed. [`seal`] signs the digests of all that lies in it; [`verify`] checks, without
//! a network and without trusting whoever ran the drill, that all of it is there, unchanged, and nothing else.
//!
//! What is verified is that the holder of the key said this, not that it is true: the drill's program and machine are
//! trusted by whoever trusts the key. The folder `earlier/` holds other drills, and is no part of the bundle.
//!
//! Not here: which key is trusted, and whether the drill passed is good enough (`gate` of the binary).

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::envelope::{ENVELOPE_BYTES, Envelope};
use crate::folder::{self, FolderError, shown};
use crate::journal::{self, Damage, Summary};
use crate::key::{PublicKey, SigningKey};
use crate::statement::{BUILD, CheckResult, Digest, FILE_PREFIX, Predicate, Statement, Subject, Verdict};

/// The envelope's file.
pub const ENVELOPE: &str = "attestation.dsse.json";
/// The journal's file.
pub const JOURNAL: &str = "journal.jsonl";
/// The report for programs.
pub const REPORT: &str = "report.json";
/// Where earlier drills lie that reported to the same folder.
pub const EARLIER: &str = "earlier";
/// There while a drill writes to the folder.
const LOCK: &str = ".lock";
/// How large the journal and the report may be, in bytes.
const TEXT_BYTES: usize = 64 << 20;
/// How many problems are told. All are counted.
const PROBLEMS_TOLD: usize = 50;

/// A bundle that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    pub statement: Statement,
    pub key_id: String,
    /// Of the public key that it was verified with.
    pub fingerprint: String,
    pub files: usize,
    pub bytes: u64,
}

/// One reason to refuse a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// For programs; FORMAT.md lists them.
    pub code: &'static str,
    pub sentence: String,
}

/// Why a bundle is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Refusal {
    pub problems: Vec<Problem>,
    /// All of them; at most 50 are told.
    pub total: usize,
}

/// Why there is no answer, or a bad one.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The bundle was looked at.
    #[error("{0}")]
    Refused(Refusal),
    /// It could not be looked at.
    #[error("the folder can't be read")]
    Unreadable(#[source] FolderError),
    #[error("this is no drill's folder: it has neither {JOURNAL} nor {ENVELOPE}")]
    NoDrill,
}

/// Why a bundle was not sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("the files can't be read")]
    Folder(#[from] FolderError),
    #[error("the statement would contradict itself: {0}")]
    Contradiction(String),
    #[error("{ENVELOPE} can't be written")]
    Write(#[source] std::io::Error),
}

/// What a drill's folder says of its end, before anybody trusts it.
#[derive(Debug)]
pub enum Conclusion {
    /// The journal is whole and closed, and the report is there.
    Concluded(Summary),
    /// The drill never came to its end, whatever else lies in the folder.
    Interrupted,
    /// The journal is not what a drill wrote.
    Damaged(Damage),
}

impl Refusal {
    fn one(code: &'static str, sentence: impl Into<String>) -> VerifyError {
        let mut refusal = Self::default();
        refusal.add(code, sentence);
        VerifyError::Refused(refusal)
    }

    fn add(&mut self, code: &'static str, sentence: impl Into<String>) {
        self.total += 1;
        if self.problems.len() < PROBLEMS_TOLD {
            self.problems.push(Problem { code, sentence: sentence.into() });
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let told: Vec<&str> = self.problems.iter().map(|problem| problem.sentence.as_str()).collect();
        out.write_str(&told.join("; "))?;
        match self.total - self.problems.len() {
            0 => Ok(()),
            more => write!(out, "; and {more} more"),
        }
    }
}

/// Signs what lies in a drill's folder. `named` are the subjects that are no files: the build, the plan, the backup.
///
/// # Errors
/// If a file can't be read, the statement would not verify, or there is an envelope already.
pub fn seal(
    folder: &Path,
    named: Vec<Subject>,
    predicate: Predicate,
    key: &SigningKey,
) -> Result<Statement, SealError> {
    let mut subjects = named;
    let mut room = folder::BYTES;
    for path in folder::files(folder, &[ENVELOPE, EARLIER, LOCK])? {
        let (sha256, bytes) = folder::digest(folder, &path, room)?;
        room -= bytes;
        subjects.push(Subject { name: format!("{FILE_PREFIX}{path}"), digest: Digest { sha256 } });
    }
    let statement = Statement::new(subjects, predicate);
    statement.holds().map_err(SealError::Contradiction)?;
    let envelope = Envelope::sign(statement.render(), key);
    crate::evidence::write_new(&folder.join(ENVELOPE), &envelope.render()).map_err(SealError::Write)?;
    Ok(statement)
}

/// Verifies a drill's folder against a public key that the caller trusts.
///
/// # Errors
/// [`VerifyError::Refused`] if it is not what was signed; the others if there is nothing to judge.
pub fn verify(folder: &Path, key: &PublicKey) -> Result<Verified, VerifyError> {
    let (statement, key_id) = open(folder, key)?;
    let mut refusal = Refusal::default();
    let (files, bytes) = compare_files(folder, &statement, &mut refusal);
    // A file that is not the one that was signed has been named already.
    if refusal.total == 0 {
        compare_journal(folder, &statement.predicate, &mut refusal);
        compare_report(folder, &statement, &mut refusal);
    }
    if refusal.total > 0 {
        return Err(VerifyError::Refused(refusal));
    }
    Ok(Verified { statement, key_id, fingerprint: key.fingerprint(), files, bytes })
}

/// Whether the drill of a folder came to its end.
///
/// # Errors
/// If the folder can't be read or is no drill's.
pub fn conclusion(folder: &Path) -> Result<Conclusion, VerifyError> {
    let journal = folder::small_file(folder, JOURNAL, TEXT_BYTES).map_err(VerifyError::Unreadable)?;
    let Some(journal) = journal else { return Err(VerifyError::NoDrill) };
    let reported = std::fs::symlink_metadata(folder.join(REPORT)).is_ok_and(|found| found.is_file());
    Ok(match journal::check(&journal) {
        Ok(summary) if summary.closed && reported => Conclusion::Concluded(summary),
        Ok(_) | Err(Damage::Torn { .. }) => Conclusion::Interrupted,
        Err(damage) => Conclusion::Damaged(damage),
    })
}

/// The signed statement, once the signature was found good.
fn open(folder: &Path, key: &PublicKey) -> Result<(Statement, String), VerifyError> {
    let envelope = folder::small_file(folder, ENVELOPE, ENVELOPE_BYTES).map_err(VerifyError::Unreadable)?;
    let Some(envelope) = envelope else { return Err(without_envelope(folder)?) };
    let refused = |error: &dyn std::error::Error, what: &str| format!("{what}: {}", chain(error));
    let envelope = Envelope::parse(&envelope)
        .map_err(|error| Refusal::one("envelope", refused(&error, &format!("{ENVELOPE} is no envelope of ours"))))?;
    if !envelope.signed_by(key) {
        let (named, ours) = (shown(&envelope.key_id), key.fingerprint());
        let sentence =
            format!("the signature is not good for the key {ours}; the envelope names the key {named}, unprotected");
        return Err(Refusal::one("signature", sentence));
    }
    let statement = Statement::parse(&envelope.payload)
        .map_err(|error| Refusal::one("statement", refused(&error, "the signed statement can't be used")))?;
    if statement.predicate.key_id != envelope.key_id {
        return Err(Refusal::one("key_id", "the envelope names another key than the statement that was signed"));
    }
    Ok((statement, envelope.key_id))
}

fn without_envelope(folder: &Path) -> Result<VerifyError, VerifyError> {
    Ok(match conclusion(folder)? {
        Conclusion::Interrupted => {
            Refusal::one("interrupted", "the drill was interrupted: its journal has no end, or it left no report")
        }
        Conclusion::Damaged(damage) => Refusal::one("journal", format!("the journal is damaged: {damage}")),
        Conclusion::Concluded(_) => Refusal::one("unsigned", format!("it is not signed: there is no {ENVELOPE}")),
    })
}

/// Every signed file is there with its digest, and no other. Gives back how many there are, and their bytes.
fn compare_files(folder: &Path, statement: &Statement, refusal: &mut Refusal) -> (usize, u64) {
    let signed: BTreeMap<&str, &str> = statement.files().collect();
    let present = match folder::files(folder, &[ENVELOPE, EARLIER]) {
        Ok(present) => present,
        Err(error) => {
            refusal.add("folder", format!("the folder is no bundle: {}", chain(&error)));
            return (0, 0);
        }
    };
    for missing in signed.keys().filter(|path| !present.contains(**path)) {
        refusal.add("file_missing", format!("{} was signed and is not there", shown(missing)));
    }
    let mut bytes = 0;
    for path in &present {
        let Some(expected) = signed.get(path.as_str()) else {
            refusal.add("file_extra", format!("{} is there and was not signed", shown(path)));
            continue;
        };
        match folder::digest(folder, path, folder::BYTES - bytes) {
            Ok((found, length)) => {
                bytes += length;
                if found != **expected {
                    refusal.add("file_changed", format!("{} is not the file that was signed", shown(path)));
                }
            }
            Err(error) => refusal.add("folder", chain(&error)),
        }
    }
    (present.len(), bytes)
}

/// The journal's chain holds, it is closed, and it ends where the statement says.
fn compare_journal(folder: &Path, predicate: &Predicate, refusal: &mut Refusal) {
    match conclusion(folder) {
        Ok(Conclusion::Concluded(summary)) if summary.head == predicate.journal => {}
        Ok(Conclusion::Concluded(_)) => refusal.add("journal", "the journal ends elsewhere than the statement says"),
        Ok(Conclusion::Interrupted) => refusal.add("interrupted", "the journal has no end"),
        Ok(Conclusion::Damaged(damage)) => refusal.add("journal", format!("the journal is damaged: {damage}")),
        Err(error) => refusal.add("journal", chain(&error)),
    }
}

/// What `report.json` has in common with the statement. The rest of it is `drill`'s business.
#[derive(Deserialize)]
struct ReportParts {
    verdict: Verdict,
    drill_id: String,
    build: String,
    build_sha256: Option<String>,
    checks: Vec<RowParts>,
}

#[derive(Deserialize)]
struct RowParts {
    id: String,
    verdict: Verdict,
    comparisons: u64,
    findings_total: u64,
}

/// The report that people read says what the statement says.
fn compare_report(folder: &Path, statement: &Statement, refusal: &mut Refusal) {
    let predicate = &statement.predicate;
    let report = match folder::small_file(folder, REPORT, TEXT_BYTES) {
        Ok(Some(report)) => report,
        Ok(None) => return refusal.add("report", format!("there is no {REPORT}")),
        Err(error) => return refusal.add("report", chain(&error)),
    };
    let report: ReportParts = match serde_json::from_slice(&report) {
        Ok(report) => report,
        Err(error) => return refusal.add("report", format!("{REPORT} can't be understood: {error}")),
    };
    let same_row = |(row, check): (&RowParts, &CheckResult)| {
        (row.id.as_str(), row.verdict, row.comparisons, row.findings_total)
            == (check.id.as_str(), check.verdict, check.comparisons, check.findings)
    };
    let same = report.verdict == predicate.verdict
        && report.drill_id == predicate.drill_id
        && report.build == predicate.build
        && report.build_sha256.as_deref() == statement.digest_of(BUILD)
        && report.checks.len() == predicate.checks.len()
        && report.checks.iter().zip(&predicate.checks).all(same_row);
    if !same {
        refusal.add("report", format!("{REPORT} says something else than the statement"));
    }
}

/// An error with its sources, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}
