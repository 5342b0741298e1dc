//! Whether the segments that were read are all that their writers wrote. Takes them in any order.
//!
//! Not seen: that the newest segments of a writer are missing, or all of them; nothing that is left names them.

use std::collections::{BTreeMap, HashMap};

use clock::Timestamp;
use ids::WriterId;

use crate::finding::{Finding, Findings};
use crate::segment::Link;

/// Links of all writers, as runs without holes: memory grows with damage, not with history.
#[derive(Debug, Default)]
pub(crate) struct Chains {
    /// By writer, then by the first sequence of the run.
    runs: HashMap<WriterId, BTreeMap<u64, Run>>,
    torn: Vec<(WriterId, u64, String)>,
}

#[derive(Debug, Clone)]
struct Run {
    last: u64,
    last_checksum: [u8; 32],
    /// What the first of the run says of the one before it.
    previous: [u8; 32],
    previous_at: Timestamp,
}

impl Chains {
    /// `false`: its place is taken by another segment, or it does not continue its neighbours.
    pub(crate) fn add(&mut self, link: &Link, checksum: [u8; 32]) -> bool {
        let runs = self.runs.entry(link.writer).or_default();
        let Link { sequence, previous, previous_at, .. } = *link;
        let before = runs.range(..=sequence).next_back().map(|(first, run)| (*first, run.clone()));
        let after = sequence.checked_add(1).and_then(|next| runs.get(&next).cloned());
        if before.as_ref().is_some_and(|(_, run)| run.last >= sequence) {
            return false;
        }
        let before = before.filter(|(_, run)| run.last + 1 == sequence);
        let genuine = if sequence == 1 { previous == [0; 32] } else { sequence > 0 };
        let continues = before.as_ref().is_none_or(|(_, run)| run.last_checksum == previous);
        let continued = after.as_ref().is_none_or(|run| run.previous == checksum);
        let mut run = Run { last: sequence, last_checksum: checksum, previous, previous_at };
        let mut first = sequence;
        if let Some((begin, before)) = before {
            (first, run.previous, run.previous_at) = (begin, before.previous, before.previous_at);
        }
        if let Some(after) = after {
            runs.remove(&(sequence + 1));
            (run.last, run.last_checksum) = (after.last, after.last_checksum);
        }
        runs.insert(first, run);
        genuine && continues && continued
    }

    pub(crate) fn torn(&mut self, writer: WriterId, sequence: u64, key: String) {
        self.torn.push((writer, sequence, key));
    }

    /// What is missing, of what was closed at `from` or later.
    pub(crate) fn finish(&mut self, from: Timestamp, findings: &mut Findings) {
        for (writer, sequence, key) in self.torn.drain(..) {
            let last = self.runs.get(&writer).and_then(|runs| runs.values().next_back());
            findings.add(if last.is_some_and(|run| run.last > sequence) {
                Finding::Damaged { key, why: "it ends early".to_owned() }
            } else {
                Finding::Torn { writer, sequence }
            });
        }
        for (writer, runs) in &self.runs {
            let mut before = None;
            for (first, run) in runs {
                // A run's predecessor may lie before the range; its successor says when it was closed.
                if *first > 1 && run.previous_at >= from {
                    let missing = before.map_or(first - 1, |last| last + 1);
                    findings.add(Finding::Hole { writer: *writer, first: missing, last: first - 1 });
                }
                before = Some(run.last);
            }
        }
    }
}
