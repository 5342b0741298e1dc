//! Which escapes are worth undoing: those that may be part of a known value.
//!
//! Text is full of `\n` and `\"`, and undoing the neighbourhood of each of them would cost more than all the rest. So an escape by
//! name is of interest only if a value has its character, and only where what stands on both sides of it may be the value going
//! on: the same byte as in the value, or what another escape begins or ends with. Escapes by number are always of interest.
//!
//! Of a value only which bytes stand beside such characters is kept, of all values together.
//!
//! Not here: undoing (`escapes`), how much around an escape is undone (`layer`).

use memchr::memchr;

use crate::escapes::{Family, hex_digits, named, numbered};

/// How far into a run of backslashes is looked for what they escape.
const BACKSLASHES: usize = 64;

/// Which escapes are of interest.
#[derive(Debug, Clone)]
pub(crate) struct Interest {
    /// By what follows the backslash.
    after_backslash: Vec<Sides>,
    backslashes: bool,
    named_entities: bool,
}

/// What may stand beside a character, in any of the values that have it.
#[derive(Debug, Clone)]
struct Sides {
    /// Whether there is such a value.
    known: bool,
    before: [bool; 256],
    after: [bool; 256],
}

/// Where an escape begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Escape {
    pub(crate) at: usize,
    /// If not, it is one only when it is read backwards.
    pub(crate) forwards: bool,
}

impl Interest {
    /// In whatever any of `values` may hold.
    pub(crate) fn of<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut interest =
            Self { after_backslash: vec![Sides::UNKNOWN; 256], backslashes: false, named_entities: false };
        // Base64 may hold a slash, between whatever.
        interest.after_backslash[usize::from(b'/')] = Sides { known: true, before: [true; 256], after: [true; 256] };
        values.into_iter().for_each(|value| interest.add(value));
        interest
    }

    /// In whatever `value` may hold, too.
    pub(crate) fn add(&mut self, value: &[u8]) {
        for (at, byte) in value.iter().enumerate() {
            self.backslashes |= *byte == b'\\';
            self.named_entities |= b"&<>\"'".contains(byte);
            let escaped = match byte {
                b'\n' => b'n',
                b'\r' => b'r',
                b'\t' => b't',
                8 => b'b',
                12 => b'f',
                b'"' | b'\'' => *byte,
                _ => continue,
            };
            let before = at.checked_sub(1).map(|before| value[before]);
            self.after_backslash[usize::from(escaped)].add(before, value.get(at + 1).copied());
        }
    }

    /// The next escape of `family` from `from` on.
    pub(crate) fn next(&self, text: &[u8], from: usize, family: Family) -> Option<Escape> {
        let mut from = from;
        loop {
            let at = from + memchr(family.begin(), text.get(from..)?)?;
            let forwards = self.begins(family, text, at);
            if forwards || self.ends_backwards(family, text, at) {
                return Some(Escape { at, forwards });
            }
            from = at + 1;
        }
    }

    fn begins(&self, family: Family, text: &[u8], at: usize) -> bool {
        let rest = &text[at + 1..];
        match family {
            Family::Percent => hex_digits(rest, 2).is_some(),
            Family::Html => {
                rest.first() == Some(&b'#') && numbered(rest).is_some() || self.named_entities && named(rest).is_some()
            }
            Family::Backslash => {
                let more = rest.iter().take(BACKSLASHES).take_while(|byte| **byte == b'\\').count();
                match rest.get(more) {
                    Some(b'u') if hex_digits(&rest[more + 1..], 4).is_some() => true,
                    Some(b'x') if hex_digits(&rest[more + 1..], 2).is_some() => true,
                    Some(byte) => {
                        let before = at.checked_sub(1).map(|before| text[before]);
                        self.after_backslash[usize::from(*byte)].fit(before, rest.get(more + 1).copied())
                            || more > 0 && self.backslashes
                    }
                    None => false,
                }
            }
        }
    }

    fn ends_backwards(&self, family: Family, text: &[u8], at: usize) -> bool {
        let before = &text[..at];
        let digits = |from_end: usize, until_end: usize| {
            let first = before.len().checked_sub(from_end);
            first.is_some_and(|first| before[first..before.len() - until_end].iter().all(u8::is_ascii_hexdigit))
        };
        match (family, before.last()) {
            (Family::Percent, _) => digits(2, 0),
            (Family::Html, last) => last == Some(&b'#'),
            (Family::Backslash, Some(b'u')) => digits(5, 1),
            (Family::Backslash, Some(b'x')) => digits(3, 1),
            (Family::Backslash, Some(escaped)) => {
                let further = at.checked_sub(2).map(|further| text[further]);
                self.after_backslash[usize::from(*escaped)].fit(further, text.get(at + 1).copied())
            }
            (Family::Backslash, None) => false,
        }
    }
}

impl Sides {
    const UNKNOWN: Self = Self { known: false, before: [false; 256], after: [false; 256] };

    /// In a value, the character stands between these. At its ends, anything may.
    fn add(&mut self, before: Option<u8>, after: Option<u8>) {
        self.known = true;
        // Bytes that are no text may be written as characters up to U+00FF.
        let as_latin1 = |byte: u8| if byte < 0x80 { [byte; 3] } else { [byte, 0xc2, 0xc3] };
        let ends_latin1 = |byte: u8| if byte < 0x80 { [byte; 3] } else { [byte, byte, byte & 0x3f | 0x80] };
        for (side, bytes) in [(&mut self.before, before.map(ends_latin1)), (&mut self.after, after.map(as_latin1))] {
            match bytes {
                Some(bytes) => bytes.iter().for_each(|byte| side[usize::from(*byte)] = true),
                None => side.fill(true),
            }
        }
    }

    /// Whether a value may go on on both sides, read in either direction. What is not known may be anything.
    fn fit(&self, before: Option<u8>, after: Option<u8>) -> bool {
        let precedes = |byte: Option<u8>| byte.is_none_or(|byte| self.before[usize::from(byte)] || ends_escape(byte));
        let follows = |byte: Option<u8>| byte.is_none_or(|byte| self.after[usize::from(byte)] || begins_escape(byte));
        self.known && (precedes(before) && follows(after) || follows(before) && precedes(after))
    }
}

/// Whether what is beside a character may be the beginning of another one, encoded by whatever else.
fn begins_escape(byte: u8) -> bool {
    // A space in a form; half of a unit of UTF-16.
    Family::ALL.iter().any(|family| family.begin() == byte) || matches!(byte, b'+' | 0)
}

fn ends_escape(byte: u8) -> bool {
    byte.is_ascii_hexdigit() || b";ntr\"'/\\\0".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_that_no_value_can_hold_are_passed_over() {
        let (plain, quoted) = (Interest::of([&b"abc"[..]]), Interest::of([&b"a\"c"[..]]));
        for family in Family::ALL {
            assert_eq!(plain.next(br#"a\n\"b\\n %zz &amp; &# 100 %"#, 0, family), None);
        }
        let (forwards, backwards) =
            (|at| Some(Escape { at, forwards: true }), |at| Some(Escape { at, forwards: false }));
        assert_eq!(plain.next(br"a\u0041", 0, Family::Backslash), forwards(1));
        assert_eq!(plain.next(br"a\\\\u0041", 0, Family::Backslash), forwards(1));
        assert_eq!(plain.next(b"a14%", 0, Family::Percent), backwards(3));
        assert_eq!(quoted.next(br#"a\"c"#, 0, Family::Backslash), forwards(1));
        assert_eq!(quoted.next(br#"c"\a"#, 0, Family::Backslash), backwards(2));
    }

    #[test]
    fn an_escape_is_passed_over_where_no_value_goes_on_beside_it() {
        let interest = Interest::of([&b"pass\"word"[..]]);
        let is_met = |text: &str| interest.next(text.as_bytes(), 0, Family::Backslash).is_some();
        for text in [r#"select \"id\", \"size\" \n"#, r#" \"word"#, r#"pass\" "#, r#"w"\ "#] {
            assert!(!is_met(text), "{text}");
        }
        // Also where another encoding goes on, and where it is not known what does.
        for text in
            [r#"pass\"word"#, r#"pass\\\"word"#, r#"pass\"%77ord"#, r#"pas%73\"word"#, r#"&#115;\"&#119;"#, r#"\""#]
        {
            assert!(is_met(text), "{text}");
        }
        for text in [r#"drow"\ssap"#, r#"77%"\ssap"#, r#"drow"\37%sap"#] {
            assert!(is_met(text), "{text}");
        }
    }
}
