//! Escapes: spellings of single characters, of which a text may use any, for any of its characters.
//!
//! A value that is written with escapes has many forms, so it is not looked for as it stands: the neighbourhood of
//! each escape is unescaped, and the value is looked for in that.
//!
//! Not here: which escapes are worth it (`interest`).

use memchr::{memchr, memchr_iter, memchr2};

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

/// Whether `text` writes any character from U+0080 to U+00FF by a number in an escape of `family`, or has one as it is.
pub(crate) fn has_latin1(text: &[u8], family: Family) -> bool {
    let latin1 = |unit: u32| (0x80..0x100).contains(&unit);
    memchr2(0xc2, 0xc3, text).is_some()
        || memchr_iter(family.begin(), text).any(|at| match family {
            Family::Percent => false,
            Family::Backslash if text.get(at + 1) != Some(&b'u') => false,
            Family::Backslash => hex_digits(&text[at + 2..], 4).is_some_and(latin1),
            Family::Html => entity(&text[at..]).is_some_and(|(unit, _)| latin1(unit)),
        })
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
    // The two bytes of a character from U+0080 to U+00FF become the one that it stands for.
    let mut rest = &text[range.clone()];
    while let Some(at) = memchr2(0xc2, 0xc3, rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        rest = match rest {
            [first, second, more @ ..] if second & 0xc0 == 0x80 => {
                out.push((first << 6) | (second & 0x3f));
                more
            }
            [first, more @ ..] => {
                out.push(*first);
                more
            }
            [] => rest,
        };
    }
    out.extend_from_slice(rest);
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
pub(crate) fn numbered(rest: &[u8]) -> Option<(u32, usize)> {
    let (first, radix) = if matches!(rest.get(1), Some(b'x' | b'X')) { (2, 16) } else { (1, 10) };
    let digits = rest.get(first..)?.iter().take(7).take_while(|byte| char::from(**byte).is_digit(radix)).count();
    if digits == 0 || rest.get(first + digits) != Some(&b';') {
        return None;
    }
    let number = std::str::from_utf8(&rest[first..first + digits]).ok()?;
    Some((u32::from_str_radix(number, radix).ok()?, first + digits + 1))
}

pub(crate) fn named(rest: &[u8]) -> Option<(u8, usize)> {
    const NAMES: [(&[u8], u8); 5] =
        [(b"amp;", b'&'), (b"lt;", b'<'), (b"gt;", b'>'), (b"quot;", b'"'), (b"apos;", b'\'')];
    NAMES.into_iter().find(|(name, _)| rest.starts_with(name)).map(|(name, character)| (character, name.len()))
}

pub(crate) fn hex_digits(text: &[u8], count: usize) -> Option<u32> {
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
}
