//! Finds planted values in whatever left the system.
//!
//! One pass over the input finds every form of every value, overlapping ones too. A stream is read in pieces, each with
//! the end of the one before, so that no value hides on a seam. A result names what was found, never the value.

use std::fmt;
use std::io::{self, Read};

use aho_corasick::MatchKind;
use serde::{Deserialize, Serialize};

use crate::MIN_LENGTH;
use crate::class::CanaryClass;
use crate::encoding::Encoding;
use crate::known::Known;

/// A scan stops at so many hits: the input leaks, and more of them tell nothing new.
pub const MAX_HITS: usize = 10_000;

/// How much of a stream is looked at in one go.
const PIECE: usize = 512 * 1024;

/// A value to look for.
#[derive(Clone, PartialEq, Eq)]
pub struct Needle {
    pub class: CanaryClass,
    /// What reports call it. Must not tell the value.
    pub label: String,
    pub value: Vec<u8>,
}

/// A value that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hit {
    pub class: CanaryClass,
    pub label: String,
    pub encoding: Encoding,
    /// Of the first byte, from the start of the input.
    pub offset: u64,
}

/// A value too short to be told from chance.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the value of {label:?} has fewer than {MIN_LENGTH} bytes and would be found by chance")]
pub struct NeedleTooShort {
    pub label: String,
}

/// Looks for a fixed list of values. Building one costs more than a small scan: keep it.
pub struct Scanner {
    known: Known,
    labels: Vec<(CanaryClass, String)>,
    piece: usize,
}

impl Needle {
    pub fn new(class: CanaryClass, label: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self { class, label: label.into(), value: value.into() }
    }
}

impl fmt::Debug for Needle {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { class, label, value: _ } = self;
        out.debug_struct("Needle").field("class", class).field("label", label).finish_non_exhaustive()
    }
}

impl fmt::Debug for Scanner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Scanner").field("labels", &self.labels).finish_non_exhaustive()
    }
}

impl Scanner {
    /// A scanner for `needles`.
    ///
    /// # Errors
    /// If a value has fewer than [`MIN_LENGTH`] bytes.
    #[expect(clippy::needless_pass_by_value, reason = "a caller that keeps the values has a reason to see the clone")]
    pub fn new(needles: Vec<Needle>) -> Result<Self, NeedleTooShort> {
        if let Some(short) = needles.iter().find(|needle| needle.value.len() < MIN_LENGTH) {
            return Err(NeedleTooShort { label: short.label.clone() });
        }
        let known = Known::new(needles.iter().map(|needle| needle.value.as_slice()), MatchKind::Standard);
        let labels = needles.iter().map(|needle| (needle.class, needle.label.clone())).collect();
        Ok(Self { known, labels, piece: PIECE })
    }

    /// Every hit in `bytes`, up to [`MAX_HITS`], in order of their ends.
    #[must_use]
    pub fn scan(&self, bytes: &[u8]) -> Vec<Hit> {
        let mut hits = Vec::new();
        self.look(bytes, 0, 0, &mut hits);
        hits
    }

    /// Every hit in what `reader` gives, up to [`MAX_HITS`], in order of their ends.
    ///
    /// # Errors
    /// Those of `reader`. A stream that wasn't read to its end has not been found clean.
    pub fn scan_reader(&self, mut reader: impl Read) -> io::Result<Vec<Hit>> {
        let longest = self.known.automaton.max_pattern_len();
        let mut buffer = vec![0; self.piece + longest];
        let (mut hits, mut kept, mut offset) = (Vec::new(), 0, 0_u64);
        loop {
            let read = fill(&mut reader, &mut buffer[kept..])?;
            let end = kept + read;
            self.look(&buffer[..end], kept, offset, &mut hits);
            if read == 0 || hits.len() >= MAX_HITS {
                return Ok(hits);
            }
            let start = end - end.min(longest.saturating_sub(1));
            buffer.copy_within(start..end, 0);
            offset += start as u64;
            kept = end - start;
        }
    }

    /// Adds the hits that end after `seen`; those before were found in the last piece.
    fn look(&self, piece: &[u8], seen: usize, offset: u64, hits: &mut Vec<Hit>) {
        for found in self.known.automaton.find_overlapping_iter(piece) {
            if found.end() <= seen {
                continue;
            }
            if hits.len() >= MAX_HITS {
                return;
            }
            let (index, encoding) = self.known.origin[found.pattern().as_usize()];
            let (class, label) = self.labels[index].clone();
            hits.push(Hit { class, label, encoding, offset: offset + found.start() as u64 });
        }
    }
}

/// Reads until `buffer` is full or the stream has ended.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests;
