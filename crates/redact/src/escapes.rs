//! Escapes: spellings of single characters, of which a text may use any, for any of its characters.
//!
//! A value that is written with escapes has many forms, so it is not looked for as it stands: the neighbourhood of
//! each escape is unescaped, and the value is looked for in that. Escapes that can be part of no known value (such as
//! `\n`, mostly) are passed over.

use memchr::{memchr, memchr2_iter};

use crate::encoding::Encoding;

/// The families of escapes. Each is undone by itself, for a value may hold what looks like an escape of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// `%41`
    Percent,
    /// `\u0041`, `\x41`, `\"`
    Backslash,
    /// `&#65;`, `&amp;`
    Html,
}

/// What the characters up to U+00FF stand for when they are written by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Charset {
    Utf8,
    /// Each a byte: how bytes that are no text are put into JSON.
    Latin1,
}

/// The longest escape: two units of a character beyond the first plane.
pub(crate) const LONGEST: usize = 12;

/// How far into a run of backslashes is looked for what they escape.
const BACKSLASHES: usize = 64;

/// Which escapes are worth undoing.
#[derive(Debug, Clone)]
pub(crate) struct Interest {
    /// By what follows the backslash; those by number are all of interest.
    after_backslash: [bool; 256],
    backslashes: bool,
    named_entities: bool,
}

/// Where an escape begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Escape {
    pub(crate) at: usize,
    /// If not, it is one only when it is read backwards.
    pub(crate) forwards: bool,
}

impl Family {
    pub(crate) const ALL: [Self; 3] = [Self::Percent, Self::Backslash, Self::Html];

    pub(crate) fn begin(self) -> u8 {
        match self {
            Self::Percent => b'%',
            Self::Backslash => b'\\',
            Self::Html => b'&',
        }
    }

    /// What `source`, which was unescaped, shows of how it was written.
    pub(crate) fn step(self, source: &[u8]) -> Encoding {
        match self {
            Self::Percent => Encoding::Percent,
            Self::Html => Encoding::Html,
            Self::Backslash if memchr::memmem::find(source, b"\\u").is_some() => Encoding::UnicodeEscaped,
            Self::Backslash if memchr::memmem::find(source, b"\\x").is_some() => Encoding::UnicodeEscaped,
            Self::Backslash => Encoding::Json,
        }
    }
}

impl Interest {
    /// In whatever any of `values` may hold.
    pub(crate) fn of<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut interest = Self { after_backslash: [false; 256], backslashes: false, named_entities: false };
        // Base64 may hold a slash.
        interest.after_backslash[usize::from(b'/')] = true;
        values.into_iter().for_each(|value| interest.add(value));
        interest
    }

    /// In whatever `value` may hold, too.
    pub(crate) fn add(&mut self, value: &[u8]) {
        for byte in value {
            let escaped = match byte {
                b'\n' => b'n',
                b'\r' => b'r',
                b'\t' => b't',
                8 => b'b',
                12 => b'f',
                b'"' | b'\'' => *byte,
                _ => b'/',
            };
            self.after_backslash[usize::from(escaped)] = true;
            self.backslashes |= *byte == b'\\';
            self.named_entities |= b"&<>\"'".contains(byte);
        }
    }

    /// The next escape of `family` from `from` on.
    pub(crate) fn next(&self, text: &[u8], from: usize, family: Family) -> Option<Escape> {
        let mut from = from;
        loop {
            let at = from + memchr(family.begin(), text.get(from..)?)?;
            let forwards = self.begins(family, &text[at + 1..]);
            if forwards || self.ends_backwards(family, &text[..at]) {
                return Some(Escape { at, forwards });
            }
            from = at + 1;
        }
    }

    fn begins(&self, family: Family, rest: &[u8]) -> bool {
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
                    Some(byte) => self.after_backslash[usize::from(*byte)] || more > 0 && self.backslashes,
                    None => false,
                }
            }
        }
    }

    fn ends_backwards(&self, family: Family, before: &[u8]) -> bool {
        let digits = |from_end: usize, until_end: usize| {
            let first = before.len().checked_sub(from_end);
            first.is_some_and(|first| before[first..before.len() - until_end].iter().all(u8::is_ascii_hexdigit))
        };
        match (family, before.last()) {
            (Family::Percent, _) => digits(2, 0),
            (Family::Html, last) => last == Some(&b'#'),
            (Family::Backslash, Some(b'u')) => digits(5, 1),
            (Family::Backslash, Some(b'x')) => digits(3, 1),
            (Family::Backslash, last) => last.is_some_and(|byte| self.after_backslash[usize::from(*byte)]),
        }
    }
}

/// Whether `text` writes any character by a number from U+0080 to U+00FF.
pub(crate) fn has_latin1(text: &[u8]) -> bool {
    memchr2_iter(b'u', b'#', text).any(|at| match text[at] {
        b'u' => hex_digits(&text[at + 1..], 4).is_some_and(|unit| (0x80..0x100).contains(&unit)),
        _ => entity(&text[at - at.min(1)..]).is_some_and(|(unit, _)| (0x80..0x100).contains(&unit)),
    }) || text.iter().any(|byte| matches!(byte, 0xc2 | 0xc3))
}

/// Undoes all escapes of one family, and appends to `out`. `places`, if it is asked for, receives for each byte of `out` where in
/// `text` it began.
pub(crate) fn unescape(
    text: &[u8],
    family: Family,
    charset: Charset,
    out: &mut Vec<u8>,
    mut places: Option<&mut Vec<usize>>,
) {
    let mut at = 0;
    while let Some(found) = memchr(family.begin(), &text[at..]) {
        plain(text, at..at + found, charset, out, places.as_deref_mut());
        at += found;
        let before = out.len();
        let length = one(&text[at..], family, charset, out);
        if let Some(places) = places.as_deref_mut() {
            places.resize(places.len() + out.len() - before, at);
        }
        at += length;
    }
    plain(text, at..text.len(), charset, out, places);
}

fn plain(
    text: &[u8],
    range: std::ops::Range<usize>,
    charset: Charset,
    out: &mut Vec<u8>,
    places: Option<&mut Vec<usize>>,
) {
    let before = out.len();
    if charset == Charset::Utf8 {
        out.extend_from_slice(&text[range.clone()]);
        if let Some(places) = places {
            places.extend(range);
        }
        return;
    }
    let mut at = range.start;
    while at < range.end {
        // The two bytes of a character from U+0080 to U+00FF become the one that it stands for.
        match text[at..range.end] {
            [first @ (0xc2 | 0xc3), second, ..] if second & 0xc0 == 0x80 => {
                out.push((first << 6) | (second & 0x3f));
                at += 2;
            }
            _ => {
                out.push(text[at]);
                at += 1;
            }
        }
    }
    if let Some(places) = places {
        places.resize(places.len() + out.len() - before, range.start);
    }
}

/// Undoes the escape that `text` begins with, if it does, and says how long it is. What is none is copied.
fn one(text: &[u8], family: Family, charset: Charset, out: &mut Vec<u8>) -> usize {
    let undone = match family {
        Family::Percent => hex_digits(&text[1..], 2).map(|byte| (Unescaped::byte(byte), 3)),
        Family::Backslash => backslash(text),
        Family::Html => entity(text).map(|(unit, length)| (Unescaped::Character(unit), length)),
    };
    let Some((unescaped, length)) = undone else {
        out.push(text[0]);
        return 1;
    };
    match unescaped {
        Unescaped::Byte(byte) => out.push(byte),
        Unescaped::Character(unit) => match u8::try_from(unit) {
            Ok(byte) if charset == Charset::Latin1 || byte < 0x80 => out.push(byte),
            _ => {
                let character = char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER);
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
        },
    }
    length
}

enum Unescaped {
    Byte(u8),
    Character(u32),
}

impl Unescaped {
    fn byte(value: u32) -> Self {
        Self::Byte(u8::try_from(value).unwrap_or_default())
    }
}

fn backslash(text: &[u8]) -> Option<(Unescaped, usize)> {
    let byte = match text.get(1)? {
        b'u' => return unicode(text),
        b'x' => return hex_digits(&text[2..], 2).map(|byte| (Unescaped::byte(byte), 4)),
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'f' => 12,
        byte @ (b'"' | b'\'' | b'/' | b'\\') => *byte,
        _ => return None,
    };
    Some((Unescaped::Byte(byte), 2))
}

fn unicode(text: &[u8]) -> Option<(Unescaped, usize)> {
    let unit = hex_digits(&text[2..], 4)?;
    if (0xd800..0xdc00).contains(&unit) && text.get(6..8) == Some(b"\\u") {
        let second = hex_digits(&text[8..], 4).filter(|second| (0xdc00..0xe000).contains(second));
        if let Some(second) = second {
            return Some((Unescaped::Character(0x1_0000 + ((unit - 0xd800) << 10) + (second - 0xdc00)), 12));
        }
    }
    Some((Unescaped::Character(unit), 6))
}

/// The character of the entity that `text` begins with, and the entity's length.
fn entity(text: &[u8]) -> Option<(u32, usize)> {
    let rest = text.get(1..)?;
    let (character, length) = match rest.first()? {
        b'#' => numbered(rest)?,
        _ => named(rest).map(|(character, length)| (u32::from(character), length))?,
    };
    Some((character, length + 1))
}

/// What comes after the ampersand of an entity by number.
fn numbered(rest: &[u8]) -> Option<(u32, usize)> {
    let (first, radix) = if matches!(rest.get(1), Some(b'x' | b'X')) { (2, 16) } else { (1, 10) };
    let digits = rest.get(first..)?.iter().take(7).take_while(|byte| char::from(**byte).is_digit(radix)).count();
    if digits == 0 || rest.get(first + digits) != Some(&b';') {
        return None;
    }
    let number = std::str::from_utf8(&rest[first..first + digits]).ok()?;
    Some((u32::from_str_radix(number, radix).ok()?, first + digits + 1))
}

fn named(rest: &[u8]) -> Option<(u8, usize)> {
    const NAMES: [(&[u8], u8); 5] =
        [(b"amp;", b'&'), (b"lt;", b'<'), (b"gt;", b'>'), (b"quot;", b'"'), (b"apos;", b'\'')];
    NAMES.into_iter().find(|(name, _)| rest.starts_with(name)).map(|(name, character)| (character, name.len()))
}

fn hex_digits(text: &[u8], count: usize) -> Option<u32> {
    let digits = text.get(..count)?;
    digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn becomes(text: &str, family: Family, expect: &str) {
        let (mut out, mut places) = (Vec::new(), Vec::new());
        unescape(text.as_bytes(), family, Charset::Utf8, &mut out, Some(&mut places));
        assert_eq!(String::from_utf8_lossy(&out), expect);
        assert_eq!(places.len(), out.len());
        assert!(places.is_sorted());
    }

    #[test]
    fn what_is_an_escape_is_undone_and_nothing_else() {
        becomes("a%2Fb%2fc%4", Family::Percent, "a/b/c%4");
        becomes("100% of", Family::Percent, "100% of");
        becomes(r#"a\"b\/c\\n\n\u00e9\ud83d\ude00\x41\q"#, Family::Backslash, "a\"b/c\\n\né😀A\\q");
        becomes(r"\ud83d", Family::Backslash, "\u{fffd}");
        becomes("&#65;&#x42;&amp;&lt;&#;&nothing;&#99999999;", Family::Html, "AB&<&#;&nothing;&#99999999;");
    }

    #[test]
    fn bytes_that_are_no_text_come_back_from_json() {
        let bytes: Vec<u8> = (0..=255).collect();
        let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
        let ascii: String = bytes.iter().map(|byte| format!("\\u{byte:04X}")).collect();
        for written in [serde_json::to_string(&text).unwrap(), ascii] {
            let mut out = Vec::new();
            unescape(written.as_bytes(), Family::Backslash, Charset::Latin1, &mut out, None);
            assert!(out.windows(256).any(|part| part == bytes), "{written}");
        }
    }

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
        assert_eq!(quoted.next(br#"a\"b"#, 0, Family::Backslash), forwards(1));
    }
}
