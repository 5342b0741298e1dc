//! Known values as one automaton.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use crate::encoding::{Encoding, forms};

/// Up to this much of forms, in bytes, the automaton is a full table: the fastest, and the largest in memory (some
/// hundred bytes for each byte of a form).
const TABLE_LIMIT: usize = 256 * 1024;

/// Finds any form of any of a list of values.
pub(crate) struct Known {
    pub(crate) automaton: AhoCorasick,
    /// For each pattern of the automaton: the place of its value in the list, and the form.
    pub(crate) origin: Vec<(usize, Encoding)>,
}

impl Known {
    pub(crate) fn new<'a>(values: impl IntoIterator<Item = &'a [u8]>, kind: MatchKind) -> Self {
        let mut origin = Vec::new();
        let mut patterns = Vec::new();
        for (index, value) in values.into_iter().enumerate() {
            for (encoding, form) in forms(value) {
                origin.push((index, encoding));
                patterns.push(form);
            }
        }
        let bytes: usize = patterns.iter().map(Vec::len).sum();
        let table = (bytes <= TABLE_LIMIT).then_some(AhoCorasickKind::DFA);
        let automaton = AhoCorasick::builder().match_kind(kind).kind(table).build(patterns);
        Self { automaton: automaton.expect("far below the automaton's two billion states"), origin }
    }
}
