//! Known values, kept as keyed fingerprints: what is in memory afterwards is hashes under a random key, never a value.
//!
//! Finding one takes two steps. A window of each form is cut into overlapping *grams*, and a text is sampled only so often
//! that at least one of them must be met wherever the window stands. A sample that is in none of the tables is
//! done with, and that is nearly every one: so most bytes are never looked at twice. What is left is compared
//! by the fingerprint of the whole form.
//!
//! Values that become known later have tables of their own, since those of before can't be made again from fingerprints: what is
//! known grows by parts, and each is sampled by itself.
//!
//! Not here: encodings that have to be undone first (`layer`).

use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::Range;
use std::sync::Arc;

use crate::encoding::{Encoding, Form, forms};

/// Forms at least this long are looked for by large grams and few samples; shorter ones by small grams and more.
const LONG: usize = 16;
const LONG_GRAM: usize = 8;
const SHORT_GRAM: usize = 4;
/// Wider windows would make for fewer samples, and for larger tables.
const WIDEST: usize = 40;

/// Finds any form of any of a list of values. A clone shares what is known.
#[derive(Clone)]
pub(crate) struct Known {
    parts: Vec<Arc<Part>>,
    keys: Arc<Keys>,
    values: usize,
    longest: usize,
}

/// Values that became known at once.
struct Part {
    shapes: Vec<Shape>,
    tables: Vec<Table>,
}

/// What is known of a form.
struct Shape {
    /// The place of its value in the list.
    value: usize,
    steps: Vec<Encoding>,
    length: usize,
    fingerprint: (u64, u64),
}

/// A form that was found.
pub(crate) struct Sighting<'a> {
    pub(crate) value: usize,
    pub(crate) steps: &'a [Encoding],
    pub(crate) range: Range<usize>,
}

#[derive(Default)]
struct Keys {
    first: RandomState,
    second: RandomState,
}

/// The grams of all forms of about one length.
struct Table {
    gram: usize,
    stride: usize,
    /// Odd and random: where a gram's bit is.
    multiplier: u64,
    shift: u32,
    bits: Vec<u64>,
    /// Sorted by the first part.
    places: Vec<Place>,
}

#[derive(Clone, Copy)]
struct Place {
    keyed_gram: u64,
    shape: u32,
    /// Of the gram in the form.
    at: u32,
}

impl Known {
    pub(crate) fn new<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut known = Self { parts: Vec::new(), keys: Arc::default(), values: 0, longest: 0 };
        known.learn(values);
        known
    }

    /// Adds values; they are numbered after those of before.
    pub(crate) fn learn<'a>(&mut self, values: impl IntoIterator<Item = &'a [u8]>) {
        let mut listed = Vec::new();
        for bytes in values {
            listed.extend(forms(bytes).into_iter().map(|form| (self.values, form)));
            self.values += 1;
        }
        self.longest = listed.iter().map(|(_, form)| form.text.len()).max().unwrap_or(0).max(self.longest);
        self.parts.push(Arc::new(Part::new(&listed, &self.keys)));
    }

    /// Whether this very value is among them.
    pub(crate) fn has(&self, value: &[u8]) -> bool {
        let fingerprint = self.keys.fingerprint(value);
        let same = |shape: &Shape| {
            shape.steps == [Encoding::Raw] && shape.length == value.len() && shape.fingerprint == fingerprint
        };
        self.parts.iter().flat_map(|part| &part.shapes).any(same)
    }

    /// The length of the longest form.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }

    /// Tells of every form in `text` that ends after `seen`.
    pub(crate) fn find(&self, text: &[u8], seen: usize, tell: &mut impl FnMut(Sighting<'_>)) {
        for part in &self.parts {
            for table in &part.tables {
                table.samples(text, &mut |at, gram| {
                    for place in table.places_of(self.keys.gram(gram)) {
                        self.verify(&part.shapes[place.shape as usize], text, seen, (at, place), tell);
                    }
                });
            }
        }
    }

    fn verify(
        &self,
        shape: &Shape,
        text: &[u8],
        seen: usize,
        (at, place): (usize, &Place),
        tell: &mut impl FnMut(Sighting<'_>),
    ) {
        let Some(start) = at.checked_sub(place.at as usize) else { return };
        let range = start..start + shape.length;
        let found = text.get(range.clone()).is_some_and(|form| self.keys.fingerprint(form) == shape.fingerprint);
        if found && range.end > seen {
            tell(Sighting { value: shape.value, steps: &shape.steps, range });
        }
    }
}

impl Part {
    fn new(listed: &[(usize, Form)], keys: &Keys) -> Self {
        let fits = |range: Range<usize>| -> Vec<(u32, &Form)> {
            let numbered = (0_u32..).zip(listed).map(|(shape, (_, form))| (shape, form));
            numbered.filter(|(_, form)| range.contains(&form.text.len())).collect()
        };
        let groups = [(SHORT_GRAM, fits(0..LONG)), (LONG_GRAM, fits(LONG..usize::MAX))];
        let full = groups.into_iter().filter(|(_, forms)| !forms.is_empty());
        let tables = full.map(|(gram, forms)| Table::new(gram, &forms, keys)).collect();
        Self { shapes: listed.iter().map(|(value, form)| Shape::new(*value, form, keys)).collect(), tables }
    }
}

impl Shape {
    fn new(value: usize, form: &Form, keys: &Keys) -> Self {
        let fingerprint = keys.fingerprint(&form.text);
        Self { value, steps: form.steps.clone(), length: form.text.len(), fingerprint }
    }
}

impl Keys {
    fn gram(&self, gram: u64) -> u64 {
        self.first.hash_one(gram)
    }

    fn fingerprint(&self, form: &[u8]) -> (u64, u64) {
        let under = |key: &RandomState| {
            let mut hasher = key.build_hasher();
            hasher.write(form);
            hasher.finish()
        };
        (under(&self.first), under(&self.second))
    }
}

impl Table {
    fn new(gram: usize, forms: &[(u32, &Form)], keys: &Keys) -> Self {
        let shortest = forms.iter().map(|(_, form)| form.text.len()).min().unwrap_or(gram);
        let window = shortest.min(WIDEST);
        let stride = window + 1 - gram;
        let multiplier = keys.second.hash_one(gram) | 1;
        // One bit in 64 or fewer is set.
        let size = (forms.len() * stride * 64).next_power_of_two().clamp(1 << 12, 1 << 23);
        let shift = 64 - size.trailing_zeros();
        let mut table = Self { gram, stride, multiplier, shift, bits: vec![0; size / 64], places: Vec::new() };
        for (shape, form) in forms {
            let first = rarest_window(&form.text, window);
            for at in first..first + stride {
                table.insert(keys, *shape, at, table.gram_at(&form.text, at));
            }
        }
        table.places.sort_unstable_by_key(|place| place.keyed_gram);
        table
    }

    fn insert(&mut self, keys: &Keys, shape: u32, at: usize, gram: u64) {
        let bit = self.bit(gram);
        self.bits[bit / 64] |= 1 << (bit % 64);
        let at = u32::try_from(at).expect("a form is far shorter than 4 GB");
        self.places.push(Place { keyed_gram: keys.gram(gram), shape, at });
    }

    fn gram_at(&self, text: &[u8], at: usize) -> u64 {
        if self.gram == LONG_GRAM { long_gram(&text[at..]) } else { short_gram(&text[at..]) }
    }

    fn bit(&self, gram: u64) -> usize {
        usize::try_from(gram.wrapping_mul(self.multiplier) >> self.shift).expect("below 2^23")
    }

    /// Tells of every sampled place whose gram may be one of the table's.
    fn samples(&self, text: &[u8], tell: &mut impl FnMut(usize, u64)) {
        if self.gram == LONG_GRAM {
            self.sample_by(text, long_gram, tell);
        } else {
            self.sample_by(text, short_gram, tell);
        }
    }

    fn sample_by(&self, text: &[u8], gram: impl Fn(&[u8]) -> u64, tell: &mut impl FnMut(usize, u64)) {
        let Some(last) = text.len().checked_sub(self.gram) else { return };
        for at in (0..=last).step_by(self.stride) {
            let gram = gram(&text[at..]);
            let bit = self.bit(gram);
            if self.bits[bit / 64] >> (bit % 64) & 1 == 1 {
                tell(at, gram);
            }
        }
    }

    fn places_of(&self, keyed_gram: u64) -> &[Place] {
        let first = self.places.partition_point(|place| place.keyed_gram < keyed_gram);
        let rest = &self.places[first..];
        &rest[..rest.partition_point(|place| place.keyed_gram == keyed_gram)]
    }
}

fn long_gram(text: &[u8]) -> u64 {
    text.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn short_gram(text: &[u8]) -> u64 {
    text.first_chunk().map_or(0, |bytes| u64::from(u32::from_le_bytes(*bytes)))
}

/// Where the window begins that ordinary text is least likely to hold: what all keys of a vendor begin with, or the
/// domain of an email, would make for many samples that come to nothing.
fn rarest_window(form: &[u8], window: usize) -> usize {
    let weight = |byte: &u8| match byte {
        b' ' | b'e' | b't' | b'a' | b'o' | b'i' | b'n' | b's' | b'r' | b'l' | 0 => 0,
        b'a'..=b'z' | b'.' | b'/' | b'-' | b'_' => 1,
        _ => 3_u32,
    };
    let weighed = form.windows(window).enumerate().map(|(at, bytes)| (bytes.iter().map(weight).sum::<u32>(), at));
    weighed.max_by_key(|(weight, at)| (*weight, std::cmp::Reverse(*at))).map_or(0, |(_, at)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_holds_no_value() {
        let known = Known::new([&b"hunter2hunter2hunter2"[..]]);
        let tables = known.parts.iter().flat_map(|part| &part.tables);
        let grams = tables.flat_map(|table| &table.places).map(|place| place.keyed_gram.to_le_bytes());
        for gram in grams {
            assert!(!b"hunter2hunter2hunter2".windows(4).any(|part| gram.windows(4).any(|kept| kept == part)));
        }
    }

    #[test]
    fn a_value_that_becomes_known_later_is_found_beside_those_of_before() {
        let mut known = Known::new([&b"the first of them"[..]]);
        let before = known.clone();
        known.learn([&b"second"[..], &b"a third, longer than the others"[..]]);
        let found = |known: &Known, text: &str| {
            let mut found = Vec::new();
            known.find(text.as_bytes(), 0, &mut |sighting| found.push(sighting.value));
            found.sort_unstable();
            found
        };
        let text = "... a third, longer than the others; second; the first of them";
        assert_eq!(found(&known, text), [0, 1, 2]);
        assert_eq!(found(&before, text), [0]);
        assert!(known.has(b"second") && !before.has(b"second") && !known.has(b"secon"));
    }

    #[test]
    fn a_form_is_found_wherever_the_samples_fall() {
        for value in ["sixsix", "a value of some length", "a considerably longer value, longer than any window is"] {
            let known = Known::new([value.as_bytes()]);
            for before in 0..100 {
                let text = format!("{}{value}{}", ".".repeat(before), ".".repeat(before % 7));
                let mut found = Vec::new();
                known.find(text.as_bytes(), 0, &mut |sighting| found.push(sighting.range));
                assert_eq!(found, std::slice::from_ref(&(before..before + value.len())));
            }
        }
    }
}
