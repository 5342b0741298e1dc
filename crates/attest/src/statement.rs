//! The statement: an in-toto Statement v1 whose predicate tells what a drill came to. FORMAT.md has every field.
//!
//! It holds names, counts, digests, instants and codes, never a sentence that a restored system wrote and never a row.
//!
//! Not here: signing (`envelope`), comparing it with the files (`bundle`).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::Head;

/// The type of every in-toto statement of this version.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// The type of our predicate; FORMAT.md is its schema.
pub const PREDICATE_TYPE: &str = "urn:open-cowork:restore-drill:1";

/// The ids of the ten checks, in the order of the report.
pub const CHECKS: [&str; 10] = [
    "postgres-restore",
    "object-store-restore",
    "secret-references",
    "web-only-boot",
    "session-projection-parity",
    "artifact-metadata",
    "worker-recovery",
    "scheduler-recovery",
    "gateway-recovery",
    "redaction",
];

/// The program that was drilled.
pub const BUILD: &str = "build";
/// What the drill was asked to do.
pub const PLAN: &str = "plan";
/// The backup's database, its list of objects, and its list of secret references: absent if there was no backup.
pub const BACKUP: [&str; 3] = ["database-backup", "object-manifest", "secret-reference-manifest"];
/// What the subjects that are files of the bundle begin with.
pub const FILE_PREFIX: &str = "bundle/";

/// An in-toto statement about a drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Statement {
    #[serde(rename = "_type")]
    pub statement_type: String,
    pub subject: Vec<Subject>,
    pub predicate_type: String,
    pub predicate: Predicate,
}

/// Something that the statement is about, by its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    pub name: String,
    pub digest: Digest,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Digest {
    /// 64 digits of lower-case hex.
    pub sha256: String,
}

/// What a drill came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Predicate {
    pub drill_id: String,
    /// Version and commit of the program, as it names itself.
    pub build: String,
    /// The same name as on the envelope, where nothing protects it.
    pub key_id: String,
    pub verdict: Verdict,
    /// All ten of [`CHECKS`], in their order, also those that were never begun.
    pub checks: Vec<CheckResult>,
    pub timings: Timings,
    /// That the restored system reached nothing but what it was meant to.
    pub isolation: Proof,
    /// That nothing of the drill is left.
    pub clean_up: Proof,
    /// The last entry of the closed journal.
    pub journal: Head,
}

/// What a check, or a whole drill, came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Passed,
    Failed,
    CouldNotVerify,
}

impl Verdict {
    /// The word for people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::CouldNotVerify => "could not verify",
        }
    }
}

/// One of the ten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckResult {
    pub id: String,
    pub verdict: Verdict,
    /// Whether the check was begun at all.
    pub begun: bool,
    pub comparisons: u64,
    pub findings: u64,
    /// The codes of the findings that are told, each once, sorted.
    pub codes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timings {
    pub started_at: DateTime<Utc>,
    pub finished_at: DateTime<Utc>,
    /// Absent if it was not measured.
    pub rto_ms: Option<u64>,
    pub rto_objective_ms: u64,
    pub rpo_ms: Option<u64>,
    pub rpo_objective_ms: u64,
    pub stages: Vec<StageTiming>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageTiming {
    pub id: String,
    pub started_at: DateTime<Utc>,
    pub duration_ms: u64,
    /// `done`, `failed` or `skipped`.
    pub outcome: String,
}

/// Stages that prove something, and whether all of them were carried out and held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    pub held: bool,
    pub steps: Vec<ProofStep>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProofStep {
    /// The id of the stage.
    pub stage: String,
    pub held: bool,
    /// What the drill says it proves.
    pub proof: Option<String>,
}

/// Why bytes are no statement of ours.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    #[error("it is not an in-toto statement about a drill")]
    Format(#[source] serde_json::Error),
    #[error("it has the type {0:?}, and this program knows {STATEMENT_TYPE}")]
    Type(String),
    #[error("its predicate has the type {0:?}, and this program knows {PREDICATE_TYPE}")]
    PredicateType(String),
    #[error("it contradicts itself: {0}")]
    Contradiction(String),
}

/// Only the types, to say which of them is unknown.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Types {
    #[serde(rename = "_type")]
    statement_type: String,
    predicate_type: String,
}

impl Statement {
    #[must_use]
    pub fn new(subject: Vec<Subject>, predicate: Predicate) -> Self {
        let (statement_type, predicate_type) = (STATEMENT_TYPE.to_owned(), PREDICATE_TYPE.to_owned());
        Self { statement_type, subject, predicate_type, predicate }
    }

    /// Reads a statement and holds it to itself.
    ///
    /// # Errors
    /// If it is another one, or contradicts itself.
    pub fn parse(bytes: &[u8]) -> Result<Self, StatementError> {
        let short = |text: String| text.chars().take(100).collect();
        let types: Types = serde_json::from_slice(bytes).map_err(StatementError::Format)?;
        if types.statement_type != STATEMENT_TYPE {
            return Err(StatementError::Type(short(types.statement_type)));
        }
        if types.predicate_type != PREDICATE_TYPE {
            return Err(StatementError::PredicateType(short(types.predicate_type)));
        }
        let statement: Self = serde_json::from_slice(bytes).map_err(StatementError::Format)?;
        statement.holds().map_err(StatementError::Contradiction)?;
        Ok(statement)
    }

    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a statement has string keys and whole numbers only")
    }

    /// The digest of the subject with this name.
    #[must_use]
    pub fn digest_of(&self, name: &str) -> Option<&str> {
        let found = self.subject.iter().find(|subject| subject.name == name);
        found.map(|subject| subject.digest.sha256.as_str())
    }

    /// Path and digest of the subjects that are files of the bundle.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.subject
            .iter()
            .filter_map(|subject| Some((subject.name.strip_prefix(FILE_PREFIX)?, subject.digest.sha256.as_str())))
    }

    pub(crate) fn holds(&self) -> Result<(), String> {
        let mut names: Vec<&str> = self.subject.iter().map(|subject| subject.name.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("the subject {:?} stands in it twice", twice[0]));
        }
        if let Some(subject) = self.subject.iter().find(|subject| !is_sha256(&subject.digest.sha256)) {
            return Err(format!("the digest of {:?} is not a SHA-256", subject.name));
        }
        let passed = self.predicate.verdict == Verdict::Passed;
        let needed = [BUILD, PLAN].into_iter().chain(BACKUP.into_iter().filter(|_| passed));
        if let Some(missing) = needed.into_iter().find(|name| self.digest_of(name).is_none()) {
            return Err(format!("the subject {missing:?} is missing"));
        }
        self.predicate.holds()
    }
}

impl Predicate {
    /// The verdict follows from the rows, and each row's from its numbers.
    fn holds(&self) -> Result<(), String> {
        if !self.checks.iter().map(|check| check.id.as_str()).eq(CHECKS) {
            return Err("its checks are not the ten, in their order".to_owned());
        }
        if let Some(check) = self.checks.iter().find(|check| !check.holds()) {
            return Err(format!("the verdict of {} does not follow from its numbers", check.id));
        }
        let any = |verdict| self.checks.iter().any(|check| check.verdict == verdict);
        let follows = match (any(Verdict::Failed), any(Verdict::CouldNotVerify)) {
            (true, _) => Verdict::Failed,
            (false, true) => Verdict::CouldNotVerify,
            (false, false) => Verdict::Passed,
        };
        if follows != self.verdict {
            return Err("its verdict does not follow from its checks".to_owned());
        }
        Ok(())
    }
}

impl CheckResult {
    fn holds(&self) -> bool {
        match self.verdict {
            Verdict::Passed => self.begun && self.comparisons > 0 && self.findings == 0,
            Verdict::Failed => self.begun && self.findings > 0,
            Verdict::CouldNotVerify => self.findings == 0,
        }
    }
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}
