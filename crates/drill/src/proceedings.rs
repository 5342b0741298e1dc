//! The proceedings of a drill: its journal, its stages, what is shown while it runs.
//!
//! A stage is announced in the journal before it begins and closed with what became of it. Checks are journalled when
//! they are judged, after their evidence is on disk.
//!
//! Not here: what the stages do (`run`).

use anyhow::Context as _;
use attest::{EvidenceFolder, Journal};
use clock::{Sources, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::checks::Inquiry;
use crate::progress::{Progress, StageHandle};
use crate::report::{Check, CheckId, Outcome, Stage};
use crate::rigging::Rigging;
use crate::said::{Factual, Name as Told, Sentence, facts, say};

/// Why a drill did not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Halt {
    /// Somebody stopped it.
    #[error("the drill was interrupted")]
    Interrupted,
    /// A stage could not be carried out.
    #[error("{stage}: {cause:#}")]
    Stage { stage: &'static str, cause: anyhow::Error },
}

impl Halt {
    /// As a report tells it.
    pub(crate) fn sentence(&self) -> Sentence {
        match self {
            Self::Interrupted => "the drill was interrupted".into(),
            Self::Stage { stage, cause } => say!("{}: {}", *stage, Sentence::about(cause)),
        }
    }
}

/// What a stage gives back: its result, and the sentence that proves the next one may begin.
#[derive(Debug)]
pub(crate) struct Done<T> {
    pub(crate) result: T,
    pub(crate) proof: Option<Sentence>,
}

impl<T> Done<T> {
    pub(crate) fn with_proof(result: T, proof: impl Into<Sentence>) -> Self {
        Self { result, proof: Some(proof.into()) }
    }

    pub(crate) fn plain(result: T) -> Self {
        Self { result, proof: None }
    }
}

impl Done<()> {
    /// For a stage that is there for what it does.
    pub(crate) fn nothing() -> Self {
        Self::plain(())
    }
}

/// A stage's name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Name {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    /// A quiet window, in which the drill waits on purpose.
    pub(crate) waiting: bool,
}

impl Name {
    pub(crate) const fn new(id: &'static str, title: &'static str) -> Self {
        Self { id, title, waiting: false }
    }

    pub(crate) const fn quiet(id: &'static str, title: &'static str) -> Self {
        Self { id, title, waiting: true }
    }
}

/// The record of a running drill.
pub(crate) struct Proceedings {
    pub(crate) sources: Sources,
    pub(crate) evidence: EvidenceFolder,
    pub(crate) progress: Progress,
    pub(crate) cancel: CancellationToken,
    pub(crate) stages: Vec<Stage>,
    pub(crate) checks: Vec<Check>,
    pub(crate) rigging: Rigging,
    journal: Journal,
}

impl Proceedings {
    pub(crate) fn new(
        sources: Sources,
        evidence: EvidenceFolder,
        journal: Journal,
        progress: Progress,
        cancel: CancellationToken,
        rigging: Rigging,
    ) -> Self {
        Self { sources, evidence, progress, cancel, stages: Vec::new(), checks: Vec::new(), rigging, journal }
    }

    /// Begins a check.
    pub(crate) fn inquire(&self, id: CheckId) -> Inquiry {
        Inquiry::begin(id, &self.sources, &self.evidence, &self.rigging)
    }

    /// Writes an entry, durably.
    pub(crate) fn note(&mut self, kind: &'static str, data: &impl Factual) -> anyhow::Result<()> {
        let head =
            self.journal.record(self.sources.now(), kind, data.fact()).context("the journal can't be written")?;
        self.rigging.die_at(head.sequence);
        Ok(())
    }

    /// Carries out one stage.
    pub(crate) async fn stage<T>(
        &mut self,
        name: Name,
        work: impl AsyncFnOnce(&StageHandle) -> anyhow::Result<Done<T>>,
    ) -> Result<T, Halt> {
        let halt = |cause| Halt::Stage { stage: name.title, cause };
        let started_at = self.sources.now();
        self.note("stage_started", &facts!({"stage": name.id})).map_err(halt)?;
        let handle = self.progress.stage(name.title);
        let cancelled = self.cancel.clone();
        let outcome = tokio::select! {
            biased;
            () = cancelled.cancelled() => Err(None),
            done = work(&handle) => done.map_err(Some),
        };
        let (result, proof, ended) = match outcome {
            Ok(done) => (Ok(done.result), done.proof, Outcome::Done),
            Err(Some(cause)) => (Err(halt(cause)), None, Outcome::Failed),
            Err(None) => (Err(Halt::Interrupted), None, Outcome::Failed),
        };
        handle.finish(ended);
        self.close(name, started_at, proof, ended).map_err(halt)?;
        result
    }

    fn close(
        &mut self,
        name: Name,
        started_at: Timestamp,
        proof: Option<Sentence>,
        outcome: Outcome,
    ) -> anyhow::Result<()> {
        let duration_ms = u64::try_from((self.sources.now() - started_at).num_milliseconds()).unwrap_or(0);
        self.note(
            "stage_finished",
            &facts!({"stage": name.id, "outcome": outcome, "duration_ms": duration_ms, "proof": proof}),
        )?;
        self.stages.push(Stage {
            id: name.id.to_owned(),
            title: name.title.to_owned(),
            started_at,
            duration_ms,
            outcome,
            proof,
            waiting: name.waiting,
        });
        Ok(())
    }

    /// Takes a check that was judged.
    pub(crate) fn judged(&mut self, check: Check) -> anyhow::Result<()> {
        let evidence: Vec<_> = check.evidence().iter().map(|evidence| Told::catalogued(&evidence.sha256)).collect();
        self.note(
            "check_judged",
            &facts!({"check": check.id(), "verdict": check.verdict(), "comparisons": check.comparisons(),
                "findings": check.findings_total(), "evidence": evidence}),
        )?;
        self.checks.push(check);
        Ok(())
    }

    /// The checks that nobody judged, because the drill ended before.
    pub(crate) fn not_run(&self, reason: &Sentence) -> Vec<Check> {
        let missing = CheckId::ALL.into_iter().filter(|id| self.checks.iter().all(|check| check.id() != *id));
        missing.map(|id| Check::not_run(id, self.sources.now(), reason.clone())).collect()
    }

    pub(crate) fn journal_head(&self) -> attest::Head {
        self.journal.head().clone()
    }

    /// Ends the journal.
    pub(crate) fn close_journal(self) -> anyhow::Result<attest::Head> {
        let head = self.journal.close(self.sources.now()).context("the journal can't be closed")?;
        self.rigging.die_at(head.sequence);
        Ok(head)
    }
}
