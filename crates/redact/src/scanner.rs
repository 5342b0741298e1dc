//! Finds planted values in whatever left the system.
//!
//! A stream is read in pieces, and no value hides on a seam. A result names what was found, never the value; the scanner itself
//! keeps no value, only fingerprints.

use std::fmt;
use std::io::{self, Read};

use zeroize::Zeroizing;

use crate::MIN_LENGTH;
use crate::class::CanaryClass;
use crate::engine::{Engine, Limits, Walk};
use crate::findings::{Collected, Findings, Hit, Path, Unseen, What};
use crate::layer::{Layer, PIECE};
use crate::rules;

/// A value to look for.
#[derive(Clone, PartialEq, Eq)]
pub struct Needle {
    pub class: Option<CanaryClass>,
    /// What reports call it. Must not tell the value.
    pub label: String,
    pub value: Zeroizing<Vec<u8>>,
}

/// A value too short to be told from chance.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the value of {label:?} has fewer than {MIN_LENGTH} bytes and would be found by chance")]
pub struct NeedleTooShort {
    pub label: String,
}

/// Looks for a fixed list of values. Building one costs more than a small scan: keep it.
pub struct Scanner {
    engine: Engine,
    whats: Vec<What>,
    piece: usize,
}

impl Needle {
    pub fn new(class: impl Into<Option<CanaryClass>>, label: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self { class: class.into(), label: label.into(), value: Zeroizing::new(value.into()) }
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
        out.debug_struct("Scanner").field("whats", &self.whats).finish_non_exhaustive()
    }
}

impl Scanner {
    /// A scanner for `needles`, within the usual limits.
    ///
    /// # Errors
    /// If a value has fewer than [`MIN_LENGTH`] bytes.
    #[expect(clippy::needless_pass_by_value, reason = "a caller that keeps the values has a reason to see the clone")]
    pub fn new(needles: Vec<Needle>) -> Result<Self, NeedleTooShort> {
        if let Some(short) = needles.iter().find(|needle| needle.value.len() < MIN_LENGTH) {
            return Err(NeedleTooShort { label: short.label.clone() });
        }
        let values: Vec<&[u8]> = needles.iter().map(|needle| needle.value.as_slice()).collect();
        let engine = Engine::new(&values, Limits::default());
        let what = |needle: &Needle| What::Value { class: needle.class, label: needle.label.clone() };
        Ok(Self { engine, whats: needles.iter().map(what).collect(), piece: PIECE })
    }

    /// The same scanner within other limits.
    #[must_use]
    pub fn within(mut self, limits: Limits) -> Self {
        self.engine.limits = limits;
        self
    }

    /// The same scanner, which also tells of what looks like a secret: tokens of common vendors, and values given to names that
    /// say so.
    #[must_use]
    pub fn by_pattern(mut self) -> Self {
        if !self.engine.by_pattern {
            self.engine.by_pattern = true;
            self.whats.extend(rules::ids().map(|rule| What::Pattern { rule: rule.into() }));
        }
        self
    }

    /// Everything in `bytes`.
    #[must_use]
    pub fn scan(&self, bytes: &[u8]) -> Findings {
        self.findings(&self.engine.scan(bytes), bytes.len() as u64)
    }

    /// Everything in what `reader` gives.
    ///
    /// # Errors
    /// Those of `reader`. A stream that wasn't read to its end has not been found clean.
    pub fn scan_reader(&self, mut reader: impl Read) -> io::Result<Findings> {
        let mut walk = Walk::new(&self.engine);
        let mut layer = Layer::new(Path::EMPTY, 0);
        loop {
            let read = fill(&mut reader, layer.room(self.piece))?;
            layer.unused(self.piece - read);
            walk.read(read);
            let last = read < self.piece;
            layer.advance(&mut walk, last);
            if last || walk.told.is_full() {
                let bytes = walk.bytes();
                return Ok(self.findings(&walk.told.settled(), bytes));
            }
        }
    }

    fn findings(&self, told: &Collected, bytes: u64) -> Findings {
        let hit = |hit: &crate::findings::Raw| Hit {
            what: self.whats[hit.what].clone(),
            encodings: hit.path.steps().to_vec(),
            offset: hit.outer.start,
            length: hit.outer.end - hit.outer.start,
        };
        let unseen = told.unseen.iter().map(|(range, path, reason)| Unseen::new(range, path, *reason));
        Findings { hits: told.hits.iter().map(hit).collect(), unseen: unseen.collect(), bytes }
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
