//! Judges that leave one comparison out, one judge for each comparison: a fault has to go uncaught then, or nothing
//! depends on the comparison.
//!
//! A blind judge is given one fault that needs the comparison, and is heard until its row is judged: what the rows
//! after it say is another judge's question.
//!
//! Not here: how a comparison is left out (`checks::Inquiry`).

use super::fault::{Fault, Told};
use super::trial::{self, How, World};
use super::{Ground, MutationTried, catalogue};
use crate::report::{CheckId, Code, Comparison};

/// Those that stand for the rest: of rows that are judged early.
const QUICK: [(CheckId, Code); 4] = [
    (CheckId::PostgresRestore, Code::TableDigest),
    (CheckId::ObjectStoreRestore, Code::BlobContent),
    (CheckId::SecretReferences, Code::CiphertextUnopened),
    (CheckId::WebOnlyBoot, Code::SystemId),
];

/// Every comparison that a rehearsal makes, with the fault that is tried: the one that least else has to notice.
pub(crate) fn choose(quick: bool) -> Vec<(Comparison, &'static Fault)> {
    let made = Comparison::all().filter(|it| !Code::OF_PLANS.contains(&it.code));
    let made = made.filter(|it| !quick || QUICK.contains(&(it.row, it.code)));
    let simplest =
        |it: Comparison| catalogue::all().filter(|fault| fault.needs(it)).min_by_key(|one| one.expected.len());
    made.filter_map(|it| Some((it, simplest(it)?))).collect()
}

/// The stage after which a row is judged.
fn last_stage(row: CheckId) -> Option<&'static str> {
    match row {
        CheckId::PostgresRestore | CheckId::ObjectStoreRestore | CheckId::SecretReferences => Some("data"),
        CheckId::WebOnlyBoot => Some("quiet"),
        CheckId::SessionProjectionParity | CheckId::ArtifactMetadata => Some("web"),
        CheckId::WorkerRecovery => Some("worker"),
        CheckId::SchedulerRecovery => Some("scheduler"),
        CheckId::GatewayRecovery => Some("gateway"),
        CheckId::Redaction => None,
    }
}

pub(crate) async fn try_blind(ground: &Ground, blind: Comparison, fault: &'static Fault) -> MutationTried {
    let start = ground.tools.sources.now();
    let how = How { blind: Some(blind), until: last_stage(blind.row) };
    let id = format!("blind-{}-{}", blind.row.as_str(), blind.code.as_str());
    let tried = trial::carry_out(ground, &id, World::Shared, fault.steps, how).await;
    let seen = tried.as_ref().is_ok_and(|tried| tried.told.contains(&Told::Found(blind)));
    let took = (ground.tools.sources.now() - start).to_std().unwrap_or_default();
    // A trial that could not be made shows nothing.
    let noticed = tried.is_ok() && !seen;
    MutationTried { blind: blind.to_string(), fault: fault.id, noticed, said: super::said(&tried), took }
}

impl MutationTried {
    pub(super) fn line(&self) -> String {
        let (verdict, seconds) = (if self.noticed { "noticed" } else { "SURVIVED" }, self.took.as_secs_f64());
        let mut line = format!("{verdict}  {:<50} {seconds:>5.1} s  {}", self.blind, self.fault);
        if !self.noticed {
            line += &self.said.iter().map(|said| format!("\n        {said}")).collect::<String>();
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_comparison_of_a_rehearsal_has_a_fault_that_needs_it() {
        let without = super::super::idle_comparisons();
        assert_eq!(without.iter().map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new());
    }

    #[test]
    fn a_fault_is_chosen_for_every_comparison() {
        assert_eq!(choose(true).len(), QUICK.len());
        assert!(choose(false).len() > 70);
    }
}
