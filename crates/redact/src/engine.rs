//! The engine that both the scanner and the redactor drive: what is looked for, and how much work may be done for it.
//!
//! Not here: taking texts apart (`layer`).

use std::ops::Range;

use crate::encoding::Encoding;
use crate::findings::{Collected, Path};
use crate::interest::Interest;
use crate::known::Known;
use crate::layer::Layer;
use crate::rules;
use crate::runs::Alphabet;

/// How far something is unpacked. A limit that is hit is told in [`Findings::unseen`](crate::Findings::unseen).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many encodings in one another are undone.
    pub depth: usize,
    /// How many times its own size a compressed member may unpack to.
    pub ratio: u64,
    /// Up to this many bytes the ratio does not matter.
    pub ratio_from: u64,
    /// How many bytes may be unpacked and decoded in all, whatever was read...
    pub work: u64,
    /// ... and how many more for each byte that was read.
    pub work_per_byte: u64,
}

impl Default for Limits {
    fn default() -> Self {
        // gzip can make a thousandth of what has no content; zstd a millionth.
        Self { depth: 6, ratio: 1_100, ratio_from: 16 << 20, work: 512 << 20, work_per_byte: 64 }
    }
}

impl Limits {
    pub(crate) fn exceeds(&self, read: u64, unpacked: u64) -> bool {
        unpacked > self.ratio_from && unpacked / self.ratio > read
    }
}

/// What is looked for.
#[derive(Clone)]
pub(crate) struct Engine {
    pub(crate) known: Known,
    pub(crate) interest: Interest,
    pub(crate) limits: Limits,
    /// Whether what looks like a secret is looked for, too. Rules are numbered after the values.
    pub(crate) by_pattern: bool,
    values: usize,
    shortest: usize,
}

/// A scan under way.
pub(crate) struct Walk<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) told: Collected,
    read: u64,
    spent: u64,
    /// To be used again.
    buffers: Vec<Vec<u8>>,
}

impl Engine {
    pub(crate) fn new(values: &[&[u8]], limits: Limits) -> Self {
        let shortest = values.iter().map(|value| value.len()).min().unwrap_or(16);
        let known = Known::new(values.iter().copied());
        Self {
            known,
            interest: Interest::of(values.iter().copied()),
            limits,
            by_pattern: false,
            values: values.len(),
            shortest,
        }
    }

    /// The same engine, which looks for `value`, too.
    pub(crate) fn with(&self, value: &[u8]) -> Self {
        let mut more = self.clone();
        more.known.learn([value]);
        more.interest.add(value);
        more.values += 1;
        more.shortest = self.shortest.min(value.len());
        more
    }

    /// How far back it must be seen again what was seen, lest something stands across.
    pub(crate) fn reach(&self) -> usize {
        let rules = if self.by_pattern { rules::LONGEST } else { 0 };
        self.known.longest().max(self.neighbourhood()).max(rules)
    }

    /// How much of the text around an escape belongs to it.
    pub(crate) fn neighbourhood(&self) -> usize {
        self.known.longest().max(512)
    }

    /// The shortest run that can hold anything that isn't found without decoding it.
    pub(crate) fn shortest_run(&self, alphabet: Alphabet) -> usize {
        match alphabet {
            Alphabet::Base64 => (self.shortest * 4 / 3).max(16),
            Alphabet::Hex => (self.shortest * 2).max(16),
        }
    }

    pub(crate) fn find(&self, view: &[u8], seen: usize, tell: &mut impl FnMut(usize, &[Encoding], Range<usize>)) {
        self.known.find(view, seen, &mut |sighting| tell(sighting.value, sighting.steps, sighting.range));
        if self.by_pattern {
            rules::find(view, seen, &mut |rule, range| tell(self.values + rule, &[Encoding::Raw], range));
        }
    }

    /// All that is in `text`.
    pub(crate) fn scan(&self, text: &[u8]) -> Collected {
        let mut walk = Walk::new(self);
        walk.read(text.len());
        Layer::new(Path::EMPTY, 0).whole(&mut walk, text);
        walk.told.settled()
    }
}

impl<'a> Walk<'a> {
    pub(crate) fn new(engine: &'a Engine) -> Self {
        Self { engine, told: Collected::default(), read: 0, spent: 0, buffers: Vec::new() }
    }

    /// So much of the input was read.
    pub(crate) fn read(&mut self, bytes: usize) {
        self.read += bytes as u64;
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.read
    }

    /// So much was unpacked or decoded.
    pub(crate) fn spend(&mut self, bytes: usize) {
        self.spent += bytes as u64;
    }

    pub(crate) fn is_spent(&self) -> bool {
        let limits = &self.engine.limits;
        self.spent > limits.work.saturating_add(self.read.saturating_mul(limits.work_per_byte))
    }

    pub(crate) fn buffer(&mut self) -> Vec<u8> {
        self.buffers.pop().unwrap_or_default()
    }

    pub(crate) fn give_back(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        self.buffers.push(buffer);
    }
}
