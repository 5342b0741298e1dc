//! The ten checks of the seed's report, a file each, and what they have in common: an [`Inquiry`] collects what was
//! compared, what was wrong and what could not be learned, and only then is a verdict formed.
//!
//! Three rules hold for every check. What is expected comes from the manifest or from the drill's own records, never
//! from the restored database. A check goes on after the first fault and names all of them, bounded. A check that
//! compared nothing, or could not finish, does not pass.
//!
//! Not here: when a check runs (`run`), how it is shown (`report`).

pub(crate) mod artifacts;
pub(crate) mod audit;
pub(crate) mod calls;
pub(crate) mod cursors;
pub(crate) mod expectations;
pub(crate) mod gateway;
pub(crate) mod kept;
pub(crate) mod objects;
pub(crate) mod oracle;
pub(crate) mod parity;
pub(crate) mod people;
pub(crate) mod postgres;
pub(crate) mod read_only;
pub(crate) mod reading;
pub(crate) mod redaction;
pub(crate) mod scheduler;
pub(crate) mod secrets;
pub(crate) mod standing;
pub(crate) mod web_only;
pub(crate) mod worker;

use std::future::Future;

use attest::EvidenceFolder;
use clock::Sources;
use redact::Needle;

use crate::processes::StartError;
use crate::report::{Check, CheckId, Code, Comparison, OpenCheck};
use crate::rigging::{Pace, Rigging};
use crate::said::{Factual, Keyed, Sentence, Transcript, say};

/// One check in the making: an [`OpenCheck`] with the clock and the folder that its evidence goes to.
#[derive(Debug)]
pub(crate) struct Inquiry {
    check: OpenCheck,
    sources: Sources,
    folder: EvidenceFolder,
    rigging: Rigging,
}

impl Inquiry {
    pub(crate) fn begin(id: CheckId, sources: &Sources, folder: &EvidenceFolder, rigging: &Rigging) -> Self {
        let check = OpenCheck::new(id, sources.now());
        Self { check, sources: sources.clone(), folder: folder.clone(), rigging: rigging.clone() }
    }

    /// How long this drill waits for what.
    pub(crate) fn pace(&self) -> Pace {
        self.rigging.pace
    }

    /// What the scanner is told to look for.
    pub(crate) fn sought<'a>(&self, needles: &'a [Needle]) -> &'a [Needle] {
        if self.rigging.deaf { &[] } else { needles }
    }

    /// Counts one comparison; if it did not hold, `sentence` says what is wrong.
    pub(crate) fn expect(&mut self, holds: bool, code: Code, sentence: impl FnOnce() -> Sentence) -> bool {
        self.held(1);
        let holds = holds || self.blind_to(code);
        if !holds {
            self.fault(code, sentence());
        }
        holds
    }

    /// Counts comparisons that held.
    pub(crate) fn held(&mut self, comparisons: usize) {
        self.check.compared(comparisons as u64);
    }

    /// Something is wrong.
    pub(crate) fn fault(&mut self, code: Code, sentence: impl Into<Sentence>) {
        debug_assert!(code.rows().contains(&self.check.id()), "{code:?} is no code of this row");
        if !self.blind_to(code) {
            self.check.find(code.as_str(), sentence.into().redacted());
        }
    }

    /// Whether this comparison was left out.
    fn blind_to(&self, code: Code) -> bool {
        self.rigging.blind == Some(Comparison { row: self.check.id(), code })
    }

    /// Something could not be learned: the check can't pass, whatever else held.
    pub(crate) fn could_not(&mut self, what: impl Into<Sentence>, cause: impl Into<Sentence>) {
        self.check.doubt(say!("{}: {}", what.into(), cause.into()).redacted());
    }

    /// As [`Self::could_not`], for a cause that somebody else told.
    pub(crate) fn missed(&mut self, what: impl Into<Sentence>, error: &anyhow::Error) {
        self.could_not(what, Sentence::about(error));
    }

    /// The name of a value that the report does not tell.
    pub(crate) fn keyed(&self, value: &str) -> Keyed {
        Keyed::of(self.folder.key(), value)
    }

    /// Keeps what was seen, before it is judged. A check whose evidence can't be written can't pass.
    pub(crate) fn record(&mut self, name: &'static str, seen: &impl Factual) {
        match self.folder.write_json(self.check.id().as_str(), name, &seen.fact()) {
            Ok(evidence) => self.check.evidence(evidence),
            Err(error) => self.missed("the evidence could not be written", &error.into()),
        }
    }

    /// As [`Self::record`], for text.
    pub(crate) fn record_text(&mut self, name: &'static str, seen: &Transcript) {
        match self.folder.write_text(self.check.id().as_str(), name, seen.as_str()) {
            Ok(evidence) => self.check.evidence(evidence),
            Err(error) => self.missed("the evidence could not be written", &error.into()),
        }
    }

    /// Takes what an attempt gave, or notes that `what` happened instead.
    pub(crate) fn learn<T>(
        &mut self,
        what: impl Into<Sentence>,
        attempt: Result<T, impl Into<anyhow::Error>>,
    ) -> Option<T> {
        attempt.map_err(|error| self.missed(what, &error.into())).ok()
    }

    /// Whether a role came up; one that did not is a fault of the restored system.
    pub(crate) fn started(&mut self, started: Result<(), StartError>) -> bool {
        let up = started.is_ok();
        self.held(usize::from(up));
        if let Err(error) = started {
            self.fault(Code::RoleDidNotStart, error.sentence());
        }
        up
    }

    /// Forms the verdict. `summary` says what was compared, for a check that passes.
    pub(crate) fn conclude(self, summary: &'static str) -> Check {
        self.check.close(self.sources.now(), summary)
    }
}

/// Waits until `condition` gives something, at most for `patience`.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    patience: std::time::Duration,
    mut condition: impl FnMut() -> F,
) -> Option<T> {
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        if let Some(found) = condition().await {
            return Some(found);
        }
        if tokio::time::Instant::now() >= deadline {
            return None;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
