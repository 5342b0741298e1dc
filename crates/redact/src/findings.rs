//! What a scan tells: what it found, and where it could not look. Neither ever holds a value.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::class::CanaryClass;
use crate::encoding::Encoding;

/// A scan stops at so many hits: the input leaks, and more of them tell nothing new.
pub const MAX_HITS: usize = 10_000;
/// Of so many places that could not be looked into, the rest is only counted.
const MAX_UNSEEN: usize = 1_000;

/// The result of a scan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// In order of their places, at most [`MAX_HITS`].
    pub hits: Vec<Hit>,
    /// Where something may be that was not looked into. Unless this is empty, no hits don't mean that the input is clean.
    pub unseen: Vec<Unseen>,
    /// How many bytes of input were read.
    pub bytes: u64,
}

/// A known value, or what looks like a secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// By its label.
    Value { class: Option<CanaryClass>, label: String },
    /// By the pattern that it has.
    Pattern { rule: Cow<'static, str> },
}

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hit {
    pub what: What,
    /// How it was written, from the outermost step to the innermost.
    pub encodings: Vec<Encoding>,
    /// Of the first byte of what holds it, from the start of the input.
    pub offset: u64,
    /// How many bytes of the input hold it, as far as they had been read.
    pub length: u64,
}

/// A place that was not looked into, although something may be in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unseen {
    pub offset: u64,
    pub encodings: Vec<Encoding>,
    pub reason: Reason,
}

/// Why a place was not looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Encodings in encodings, deeper than the limit.
    TooDeep,
    /// It unpacks to far more than it is.
    TooLarge,
    /// All that was unpacked is too much beside what was read.
    TooMuchWork,
    /// Compressed, and broken off or damaged.
    Damaged,
    /// Compressed or encrypted in a way that isn't read.
    Unreadable,
}

impl What {
    /// What reports call it.
    #[must_use]
    pub fn label(&self) -> &str {
        match self {
            Self::Value { label, .. } => label,
            Self::Pattern { rule } => rule,
        }
    }
}

impl Findings {
    /// Nothing was found, and nothing was left out.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.hits.is_empty() && self.unseen.is_empty()
    }
}

impl Hit {
    /// How it was written, in words: `base64 > gzip > raw`.
    #[must_use]
    pub fn written(&self) -> String {
        self.encodings.iter().map(|step| step.as_str()).collect::<Vec<_>>().join(" > ")
    }
}

impl Reason {
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::TooDeep => "more encodings in one another than are undone",
            Self::TooLarge => "unpacks to far more than it is",
            Self::TooMuchWork => "unpacking everything would take too much work",
            Self::Damaged => "compressed, and damaged or cut off",
            Self::Unreadable => "compressed or encrypted in a way that can't be read",
        }
    }
}

/// A scan's path into its input; short enough to be copied about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Path {
    steps: [Encoding; Self::MOST],
    length: usize,
}

impl Path {
    const MOST: usize = 24;
    pub(crate) const EMPTY: Self = Self { steps: [Encoding::Raw; Self::MOST], length: 0 };

    #[must_use]
    pub(crate) fn then(mut self, steps: &[Encoding]) -> Self {
        for step in steps.iter().take(Self::MOST - self.length) {
            self.steps[self.length] = *step;
            self.length += 1;
        }
        self
    }

    pub(crate) fn steps(&self) -> &[Encoding] {
        &self.steps[..self.length]
    }
}

/// A hit in the making.
#[derive(Debug, Clone)]
pub(crate) struct Raw {
    /// A known value's place in the list, or a rule's after those.
    pub(crate) what: usize,
    pub(crate) path: Path,
    /// In the layer that is being looked at; in the input, at the end.
    pub(crate) outer: Range<u64>,
    /// In the layer in which it was found.
    pub(crate) inner: Range<u64>,
}

#[derive(Debug, Default)]
pub(crate) struct Collected {
    pub(crate) hits: Vec<Raw>,
    pub(crate) unseen: Vec<(Range<u64>, Path, Reason)>,
}

impl Collected {
    pub(crate) fn is_full(&self) -> bool {
        self.hits.len() >= MAX_HITS
    }

    pub(crate) fn hit(&mut self, hit: Raw) {
        if !self.is_full() {
            self.hits.push(hit);
        }
    }

    pub(crate) fn unseen(&mut self, range: Range<u64>, path: Path, reason: Reason) {
        let known = |(other, _, why): &(Range<u64>, Path, Reason)| *other == range && *why == reason;
        // Once is enough: from there on nothing more is unpacked.
        let spent = reason == Reason::TooMuchWork && self.unseen.iter().any(|(_, _, why)| *why == reason);
        if self.unseen.len() < MAX_UNSEEN && !spent && !self.unseen.last().is_some_and(known) {
            self.unseen.push((range, path, reason));
        }
    }

    pub(crate) fn mark(&self) -> (usize, usize) {
        (self.hits.len(), self.unseen.len())
    }

    /// What was told since `mark` speaks of a place in a layer; from now on, of one in the layer around it.
    pub(crate) fn outwards(&mut self, mark: (usize, usize), place: impl Fn(&Range<u64>) -> Range<u64>) {
        self.hits[mark.0..].iter_mut().for_each(|hit| hit.outer = place(&hit.outer));
        self.unseen[mark.1..].iter_mut().for_each(|(range, ..)| *range = place(range));
    }

    /// Each once: what a decoding shows again, of what was seen without it, is left out.
    pub(crate) fn settled(mut self) -> Self {
        self.hits.sort_by_key(|hit| (hit.what, hit.path.length, hit.outer.start, hit.outer.end, hit.inner.start));
        self.hits.dedup_by(|a, b| a.what == b.what && a.path == b.path && a.outer == b.outer && a.inner == b.inner);
        let mut kept: Vec<Raw> = Vec::new();
        let mut shorter = Places::default();
        let mut group = (usize::MAX, 0);
        let mut of_group: Vec<Range<u64>> = Vec::new();
        for hit in self.hits {
            if group != (hit.what, hit.path.length) {
                if group.0 != hit.what {
                    (shorter, of_group) = (Places::default(), Vec::new());
                }
                of_group.drain(..).for_each(|range| shorter.add(&range));
                group = (hit.what, hit.path.length);
            }
            if !shorter.touches(&hit.outer) {
                of_group.push(hit.outer.clone());
                kept.push(hit);
            }
        }
        kept.sort_by_key(|hit| (hit.outer.end, hit.outer.start, hit.what));
        self.unseen.sort_by_key(|(range, path, reason)| (range.start, *reason, path.length));
        self.unseen.dedup_by_key(|(range, _, reason)| (range.start, *reason));
        Self { hits: kept, unseen: self.unseen }
    }
}

/// Ranges, by their starts; joined where they touch.
#[derive(Debug, Default)]
struct Places(BTreeMap<u64, u64>);

impl Places {
    fn add(&mut self, range: &Range<u64>) {
        let end = self.0.entry(range.start).or_insert(range.end);
        *end = range.end.max(*end);
    }

    fn touches(&self, range: &Range<u64>) -> bool {
        let before = self.0.range(..range.end).next_back();
        before.is_some_and(|(start, end)| *end > range.start || *start >= range.start)
    }
}

impl Unseen {
    pub(crate) fn new(range: &Range<u64>, path: &Path, reason: Reason) -> Self {
        Self { offset: range.start, encodings: path.steps().to_vec(), reason }
    }
}
