//! The findings file: what drills found, who sees to it, and what became of it.
//!
//! Drills and people write it, one at a time: a change holds a lock beside the file, and the file is replaced as a whole.
//! A drill opens what it finds and notes what it does not find any more; only a person closes. What is found again after
//! it was closed is open again. A deferral ends by itself on its day.
//!
//! Not here: how ids are made (`report::follow`), what a launch needs (`gate`).

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use chrono::NaiveDate;
use clock::Timestamp;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::report::{CheckId, FollowUp, FollowUpStatus, Report, Severity, Verdict, found, plain};

/// The format of the file.
const VERSION: u32 = 1;
/// How large the file may be, in bytes.
const BYTES: u64 = 16 << 20;

/// All that is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Register {
    version: u32,
    /// In the order of their ids.
    findings: Vec<Known>,
}

/// A finding over its life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// The same in every drill that finds it.
    pub id: String,
    /// The row's id, or `drill`.
    pub check: String,
    pub code: String,
    /// As the last drill that found it put it.
    pub finding: String,
    pub severity: Severity,
    pub owner: String,
    pub due_date: Option<NaiveDate>,
    pub status: Status,
    pub first_seen: Seen,
    pub last_seen: Seen,
    /// The first drill since then in which the row passed.
    pub gone_since: Option<Seen>,
}

/// Which drill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    pub drill_id: String,
    pub at: Timestamp,
}

/// What became of a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)]
pub enum Status {
    Open,
    /// Its owner bears the risk, to the end of the day `until`.
    Deferred {
        reason: String,
        until: NaiveDate,
    },
    Closed {
        reason: String,
        by: String,
        at: Timestamp,
    },
}

/// Why the file could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum FindingsError {
    #[error("the findings file {} can't be read or written", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the findings file is not in its format, or larger than {BYTES} bytes")]
    Format(#[source] Option<serde_json::Error>),
    #[error("there is no finding {0}")]
    Unknown(String),
    #[error("{0} must not be empty")]
    Empty(&'static str),
    #[error("the day {0} is not in the future")]
    Past(NaiveDate),
    #[error("the last drill that looked still found {0}")]
    StillThere(String),
}

impl FindingsError {
    /// What the operator can do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::File { .. } => "check the path and the permissions",
            Self::Format(_) => "mend the file by hand, or take an older one from version control",
            Self::Unknown(_) => "`cowork findings list --all` shows every id",
            Self::Empty(_) => "say it in words",
            Self::Past(_) => "choose a later day",
            Self::StillThere(_) => "mend it and run a drill, or defer it with a reason, an owner and a day",
        }
    }
}

impl Default for Register {
    fn default() -> Self {
        Self { version: VERSION, findings: Vec::new() }
    }
}

impl Register {
    /// Reads the file. One that is not there yet is empty.
    ///
    /// # Errors
    /// If it can't be read, or is something else.
    pub fn read(path: &Path) -> Result<Self, FindingsError> {
        let failed = |source| FindingsError::File { path: path.to_owned(), source };
        match std::fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(failed(error)),
            Ok(found) if found.len() > BYTES => return Err(FindingsError::Format(None)),
            Ok(_) => {}
        }
        Self::parse(&std::fs::read(path).map_err(failed)?)
    }

    /// Reads the file's content.
    ///
    /// # Errors
    /// If it is something else.
    pub fn parse(bytes: &[u8]) -> Result<Self, FindingsError> {
        let register: Self = serde_json::from_slice(bytes).map_err(|error| FindingsError::Format(Some(error)))?;
        if register.version == VERSION { Ok(register) } else { Err(FindingsError::Format(None)) }
    }

    /// Changes the file while nobody else does.
    ///
    /// # Errors
    /// As [`Register::read`], and what `change` says; then the file stays as it was.
    pub fn change<T>(
        path: &Path,
        change: impl FnOnce(&mut Self) -> Result<T, FindingsError>,
    ) -> Result<T, FindingsError> {
        let failed = |source| FindingsError::File { path: path.to_owned(), source };
        let beside = |ending: &str| path.with_added_extension(ending);
        let options = || OpenOptions::new().write(true).create(true).truncate(false).clone();
        let lock = options().open(beside("lock")).map_err(failed)?;
        let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, errno)| failed(errno.into()))?;
        let mut register = Self::read(path)?;
        let result = change(&mut register)?;
        register.findings.sort_by(|one, other| one.id.cmp(&other.id));
        let write = || {
            let mut file = File::create(beside("partial"))?;
            file.write_all(&serde_json::to_vec_pretty(&register)?)?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            std::fs::rename(beside("partial"), path)
        };
        write().map_err(failed)?;
        Ok(result)
    }

    /// All findings, in the order of their ids.
    #[must_use]
    pub fn findings(&self) -> &[Known] {
        &self.findings
    }

    /// Takes what a drill found, and what it did not find any more. The same drill twice changes nothing more.
    pub fn record(&mut self, report: &Report) {
        let seen = Seen { drill_id: report.drill_id().to_string(), at: report.finished_at() };
        let found = found(report.checks());
        for finding in &found {
            match self.findings.iter_mut().find(|known| known.id == finding.id) {
                Some(known) => known.see(&finding.sentence, &seen),
                None => self.findings.push(Known {
                    id: finding.id.clone(),
                    check: finding.check.clone(),
                    code: finding.code.clone(),
                    finding: finding.sentence.clone(),
                    severity: finding.severity,
                    owner: report.owner().to_owned(),
                    due_date: None,
                    status: Status::Open,
                    first_seen: seen.clone(),
                    last_seen: seen.clone(),
                    gone_since: None,
                }),
            }
        }
        for known in &mut self.findings {
            let gone = known.gone_since.is_none() && found.iter().all(|finding| finding.id != known.id);
            if gone && known.last_seen.at < seen.at && row_passed(report, &known.check) {
                known.gone_since = Some(seen.clone());
            }
        }
    }

    /// Gives a finding to somebody.
    ///
    /// # Errors
    /// If there is no such finding, or `owner` is nobody.
    pub fn assign(&mut self, id: &str, owner: &str, due: Option<NaiveDate>) -> Result<(), FindingsError> {
        let owner = words("the owner", owner)?;
        let known = self.known(id)?;
        known.owner = owner;
        known.due_date = due.or(known.due_date);
        Ok(())
    }

    /// Puts a finding off: `owner` bears the risk to the end of `until`.
    ///
    /// # Errors
    /// If one of them is missing, or the day has come.
    pub fn defer(
        &mut self,
        id: &str,
        owner: &str,
        reason: &str,
        until: NaiveDate,
        today: NaiveDate,
    ) -> Result<(), FindingsError> {
        let (owner, reason) = (words("the owner", owner)?, words("the reason", reason)?);
        if until <= today {
            return Err(FindingsError::Past(until));
        }
        let known = self.known(id)?;
        known.owner = owner;
        known.due_date = Some(until);
        known.status = Status::Deferred { reason, until };
        Ok(())
    }

    /// Closes a finding that a drill has not found any more.
    ///
    /// # Errors
    /// If no drill since has seen its row pass.
    pub fn close(&mut self, id: &str, by: &str, reason: &str, at: Timestamp) -> Result<(), FindingsError> {
        let (by, reason) = (words("the name of whoever closes it", by)?, words("the reason", reason)?);
        let known = self.known(id)?;
        // What concerns the whole drill has no row that could pass.
        if known.gone_since.is_none() {
            return Err(FindingsError::StillThere(id.to_owned()));
        }
        known.status = Status::Closed { reason, by, at };
        Ok(())
    }

    /// The Follow-Up table: what is not closed, the worst first.
    #[must_use]
    pub fn follow_ups(&self, today: NaiveDate) -> Vec<FollowUp> {
        let mut open: Vec<&Known> = self.findings.iter().filter(|known| !known.is_closed()).collect();
        open.sort_by_key(|known| (known.severity.rank(), known.first_seen.at, known.id.clone()));
        open.into_iter().map(|known| known.follow_up(today)).collect()
    }

    fn known(&mut self, id: &str) -> Result<&mut Known, FindingsError> {
        let found = self.findings.iter_mut().find(|known| known.id == id);
        found.ok_or_else(|| FindingsError::Unknown(plain(id)))
    }
}

impl Known {
    /// Whether it stands against a launch: open, or deferred to a day that has passed.
    #[must_use]
    pub fn is_open(&self, today: NaiveDate) -> bool {
        match &self.status {
            Status::Open => true,
            Status::Deferred { until, .. } => *until < today,
            Status::Closed { .. } => false,
        }
    }

    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.status, Status::Closed { .. })
    }

    /// The word for people.
    #[must_use]
    pub fn word(&self, today: NaiveDate) -> &'static str {
        match &self.status {
            Status::Deferred { until, .. } if *until < today => "open: deferral ended",
            Status::Deferred { .. } => "deferred",
            Status::Open => "open",
            Status::Closed { .. } => "closed",
        }
    }

    fn see(&mut self, sentence: &str, seen: &Seen) {
        if self.last_seen.at > seen.at {
            return;
        }
        self.finding = sentence.to_owned();
        self.last_seen = seen.clone();
        self.gone_since = None;
        if self.is_closed() {
            self.status = Status::Open;
        }
    }

    fn follow_up(&self, today: NaiveDate) -> FollowUp {
        let gone = if self.gone_since.is_some() { " (not found any more; somebody has to close it)" } else { "" };
        FollowUp {
            id: Some(self.id.clone()),
            finding: format!("{}{gone}", self.finding),
            owner: self.owner.clone(),
            severity: self.severity,
            due_date: self.due_date,
            status: if self.is_open(today) { FollowUpStatus::Open } else { FollowUpStatus::Deferred },
        }
    }
}

impl Severity {
    /// 0 is the worst.
    fn rank(self) -> u8 {
        match self {
            Self::High => 0,
            Self::Medium => 1,
            Self::Low => 2,
        }
    }
}

/// Whether the row has passed, or for what concerns the whole drill, whether all were begun.
fn row_passed(report: &Report, check: &str) -> bool {
    match report.checks().iter().find(|row| row.id().as_str() == check) {
        Some(row) => row.verdict() == Verdict::Passed,
        None => report.checks().len() == CheckId::ALL.len() && report.checks().iter().all(crate::report::Check::begun),
    }
}

fn words(what: &'static str, text: &str) -> Result<String, FindingsError> {
    match plain(text) {
        text if text.is_empty() => Err(FindingsError::Empty(what)),
        text => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use chrono::TimeDelta;

    fn day(day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(2030, 1, day).unwrap()
    }

    fn after(mut report: Report, days: i64) -> Report {
        report.shift(TimeDelta::days(days));
        report
    }

    fn found_once() -> Register {
        let mut register = Register::default();
        register.record(&sample::failing());
        register
    }

    #[test]
    fn a_drill_opens_what_it_finds_and_the_same_drill_changes_nothing_more() {
        let mut register = found_once();
        assert_eq!(register.findings.len(), 6);
        assert!(register.findings.iter().all(|known| known.is_open(day(1))));
        let before = register.clone();
        register.record(&sample::failing());
        assert_eq!(register, before);
    }

    #[test]
    fn what_is_not_found_any_more_waits_for_a_person() {
        let mut register = found_once();
        let id = register.findings[0].id.clone();
        let close = |register: &mut Register| register.close(&id, "Ada", "mended", sample::passing().finished_at());
        assert!(matches!(close(&mut register), Err(FindingsError::StillThere(_))));
        register.record(&after(sample::passing(), 1));
        assert!(register.findings[0].is_open(day(1)) && register.findings[0].gone_since.is_some());
        close(&mut register).unwrap();
        assert!(register.findings[0].is_closed());
        assert_eq!(register.follow_ups(day(1)).len(), 5);
    }

    #[test]
    fn what_is_found_again_is_open_again() {
        let mut register = found_once();
        register.record(&after(sample::passing(), 1));
        let id = register.findings[0].id.clone();
        register.close(&id, "Ada", "mended", sample::passing().finished_at()).unwrap();
        register.record(&after(sample::failing(), 2));
        assert!(register.findings[0].is_open(day(1)) && register.findings[0].gone_since.is_none());
        assert!(register.findings[0].first_seen.at < register.findings[0].last_seen.at);
    }

    #[test]
    fn a_row_that_nobody_could_judge_clears_nothing() {
        let mut register = found_once();
        register.record(&after(sample::ended_early(), 1));
        assert!(register.findings.iter().all(|known| known.gone_since.is_none()));
    }

    #[test]
    fn a_deferral_needs_a_reason_an_owner_and_a_day_and_ends_by_itself() {
        let mut register = found_once();
        let id = register.findings[0].id.clone();
        let mut defer = |owner, reason, until| register.defer(&id, owner, reason, until, day(5));
        assert!(matches!(defer("", "later", day(9)), Err(FindingsError::Empty(_))));
        assert!(matches!(defer("Ada", " ", day(9)), Err(FindingsError::Empty(_))));
        assert!(matches!(defer("Ada", "later", day(5)), Err(FindingsError::Past(_))));
        defer("Ada", "later", day(9)).unwrap();
        let known = &register.findings[0];
        assert!(!known.is_open(day(9)) && known.is_open(day(10)));
        assert_eq!(known.word(day(10)), "open: deferral ended");
    }

    #[test]
    fn the_file_reads_back_and_a_change_that_fails_leaves_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("findings.json");
        Register::change(&path, |register| {
            register.record(&sample::failing());
            Ok(())
        })
        .unwrap();
        let before = Register::read(&path).unwrap();
        assert_eq!(before.findings.len(), 6);
        let refused = Register::change(&path, |register| {
            register.findings.clear();
            register.assign("F-0000000000", "Ada", None)
        });
        assert!(matches!(refused, Err(FindingsError::Unknown(_))));
        assert_eq!(Register::read(&path).unwrap(), before);
    }

    #[test]
    fn another_file_is_refused() {
        for text in ["", "[]", "{\"version\":2,\"findings\":[]}", "{\"version\":1,\"findings\":[],\"more\":1}"] {
            assert!(matches!(Register::parse(text.as_bytes()), Err(FindingsError::Format(_))), "{text}");
        }
    }

    #[test]
    fn changes_at_the_same_time_are_all_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("findings.json");
        let record = |register: &mut Register| {
            register.record(&sample::failing());
            Ok(())
        };
        Register::change(&path, record).unwrap();
        let ids: Vec<String> = Register::read(&path).unwrap().findings.iter().map(|known| known.id.clone()).collect();
        std::thread::scope(|scope| {
            for id in &ids {
                scope.spawn(|| Register::change(&path, |register| register.assign(id, "Ada", None)).unwrap());
            }
        });
        assert!(Register::read(&path).unwrap().findings.iter().all(|known| known.owner == "Ada"));
    }
}
