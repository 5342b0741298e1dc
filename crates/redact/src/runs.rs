//! Runs of base64 and hex: stretches of text that may be the encoding of something else.
//!
//! Every stretch of the alphabet that is long enough counts, for nothing in it says where an encoding begins. So it is decoded
//! from each of its first four (two) characters on. Lines of an encoding that was wrapped are joined.

use std::ops::Range;

use crate::encoding::Encoding;

/// A line at least this long may go on in the next.
const WRAPPED: usize = 32;
/// How far the next line may be indented.
const INDENT: usize = 16;

const SEXTET: [u8; 256] = sextets();
const NIBBLE: [u8; 256] = nibbles();
/// Of no alphabet.
const NONE: u8 = 0xff;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alphabet {
    /// Of both kinds, for their only difference is in two characters.
    Base64,
    Hex,
}

const fn sextets() -> [u8; 256] {
    let mut table = [NONE; 256];
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut value = 0;
    while value < 64 {
        table[alphabet[value as usize] as usize] = value;
        value += 1;
    }
    table[b'-' as usize] = 62;
    table[b'_' as usize] = 63;
    table
}

const fn nibbles() -> [u8; 256] {
    let mut table = [NONE; 256];
    let mut value = 0;
    while value < 16 {
        table[b"0123456789abcdef"[value as usize] as usize] = value;
        table[b"0123456789ABCDEF"[value as usize] as usize] = value;
        value += 1;
    }
    table
}

impl Alphabet {
    fn table(self) -> &'static [u8; 256] {
        match self {
            Self::Base64 => &SEXTET,
            Self::Hex => &NIBBLE,
        }
    }

    /// From how many places a decoding may begin.
    pub(crate) fn phases(self) -> usize {
        match self {
            Self::Base64 => 4,
            Self::Hex => 2,
        }
    }

    pub(crate) fn has(self, byte: u8) -> bool {
        self.table()[usize::from(byte)] != NONE
    }

    pub(crate) fn step(self, run: &[u8]) -> Encoding {
        match self {
            Self::Hex => Encoding::Hex,
            Self::Base64 if run.iter().any(|byte| matches!(byte, b'-' | b'_')) => Encoding::Base64Url,
            Self::Base64 => Encoding::Base64,
        }
    }

    /// Whether `run` can be what an encoder made. Names, paths and ids are in these alphabets, too.
    pub(crate) fn is_likely(self, run: &[u8]) -> bool {
        match self {
            Self::Hex => true,
            Self::Base64 => {
                run.iter().any(u8::is_ascii_uppercase)
                    && run.iter().any(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
                    && !run.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b'-')
            }
        }
    }

    /// The values of the characters of `run`; what is of no alphabet (line breaks, padding) is left out.
    pub(crate) fn values(self, run: &[u8], values: &mut Vec<u8>) {
        let table = self.table();
        values.extend(run.iter().map(|byte| table[usize::from(*byte)]).filter(|value| *value != NONE));
    }

    /// Decodes whole groups of `values`, appends to `out`, and says how many values are left over.
    pub(crate) fn decode(self, values: &[u8], out: &mut Vec<u8>) -> usize {
        match self {
            Self::Hex => {
                let (pairs, rest) = values.as_chunks::<2>();
                out.extend(pairs.iter().map(|[high, low]| high << 4 | low));
                rest.len()
            }
            Self::Base64 => {
                let (groups, rest) = values.as_chunks::<4>();
                out.extend(groups.iter().flat_map(|[a, b, c, d]| [a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d]));
                rest.len()
            }
        }
    }

    /// What the last, incomplete group of an encoding says.
    pub(crate) fn decode_rest(self, values: &[u8], out: &mut Vec<u8>) {
        if self == Self::Base64 && values.len() >= 2 {
            out.push(values[0] << 2 | values[1] >> 4);
        }
        if let (Self::Base64, [_, b, c]) = (self, values) {
            out.push(b << 4 | c >> 2);
        }
    }
}

/// A run: stretches of one alphabet, with line breaks between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) pieces: Vec<Range<usize>>,
    /// Whether it may go on after the end of what is known of the text.
    pub(crate) open: bool,
}

impl Run {
    pub(crate) fn range(&self) -> Range<usize> {
        self.pieces[0].start..self.pieces[self.pieces.len() - 1].end
    }
}

/// The next run of at least `shortest` characters from `from` on; or a shorter one, if it is `open`.
pub(crate) fn next_run(text: &[u8], from: usize, shortest: usize, alphabet: Alphabet) -> Option<Run> {
    let table = alphabet.table();
    let is = |at: usize| table[usize::from(text[at])] != NONE;
    let mut start = from;
    // Looked at from the far end of the shortest run that could begin here: most stretches of text are passed over in few looks.
    while start + shortest <= text.len() {
        match (start..start + shortest).rev().find(|at| !is(*at)) {
            Some(stranger) => start = stranger + 1,
            None => return Some(grow(text, start..start + shortest, alphabet)),
        }
    }
    let tail = (start.min(text.len())..text.len()).rev().take_while(|at| is(*at)).last()?;
    Some(Run { pieces: std::iter::once(tail..text.len()).collect(), open: true })
}

/// The rest of a run that was open at `from`, where the line so far is long enough to go on in the next.
pub(crate) fn continued(text: &[u8], from: usize, alphabet: Alphabet) -> Run {
    grow(text, from..from, alphabet)
}

/// The line before the one that begins at `at`, if it is short and all of the alphabet: the last of an encoding that was wrapped
/// and then reversed.
pub(crate) fn line_before(text: &[u8], at: usize, alphabet: Alphabet) -> Range<usize> {
    let breaks = text[..at].iter().rev().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let end = at - breaks;
    let length = text[..end].iter().rev().take(2 * WRAPPED + INDENT).take_while(|byte| alphabet.has(**byte)).count();
    if breaks == 0 { at..at } else { end - length..end }
}

fn grow(text: &[u8], begun: Range<usize>, alphabet: Alphabet) -> Run {
    let more = |from: usize| text[from..].iter().take_while(|byte| alphabet.has(**byte)).count();
    let continues = begun.is_empty();
    let first = begun.start..begun.end + more(begun.end);
    let mut long = continues || first.len() >= WRAPPED;
    let mut end = first.end;
    let mut pieces = vec![first];
    while let Some(next) = long.then(|| after_break(text, end)).flatten() {
        let line = next..next + more(next);
        if line.is_empty() {
            // The break may be all that is known of yet.
            return Run { pieces, open: next == text.len() };
        }
        long = line.len() >= WRAPPED;
        end = line.end;
        pieces.push(line);
    }
    Run { pieces, open: end == text.len() }
}

/// Where the line after the break at `at` begins; `None`: there is no break. A break may also stand there escaped, as in JSON.
fn after_break(text: &[u8], at: usize) -> Option<usize> {
    const BREAKS: [&[u8]; 5] = [b"\r\n", b"\n", b"\\r\\n", b"\\n", b"\\\\n"];
    let rest = &text[at..];
    let cut_short =
        |line_break: &&[u8]| !rest.is_empty() && rest.len() < line_break.len() && line_break.starts_with(rest);
    let length = match BREAKS.into_iter().find(|line_break| rest.starts_with(line_break)) {
        Some(found) => found.len(),
        None => return BREAKS.iter().any(cut_short).then_some(text.len()),
    };
    let indent = rest[length..].iter().take(INDENT).take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    Some(at + length + indent)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn runs(text: &str, shortest: usize, alphabet: Alphabet) -> Vec<String> {
        let (mut from, mut found) = (0, Vec::new());
        while let Some(run) = next_run(text.as_bytes(), from, shortest, alphabet) {
            from = run.range().end;
            if !run.open || run.range().len() >= shortest {
                found.push(run.pieces.iter().map(|piece| &text[piece.clone()]).collect());
            }
        }
        found
    }

    #[test]
    fn runs_are_found_whole_and_short_words_are_not() {
        assert_eq!(runs("some words, then abcdefgh and hijklmno", 8, Alphabet::Base64), ["abcdefgh", "hijklmno"]);
        assert_eq!(runs("xyz 0123456789abcdefg", 8, Alphabet::Hex), ["0123456789abcdef"]);
        assert_eq!(runs("", 8, Alphabet::Hex), [""; 0]);
    }

    #[test]
    fn wrapped_lines_are_joined() {
        let long = "A".repeat(40);
        for line_break in ["\n", "\r\n", "\\n", "\n    "] {
            let text = format!("x: {long}{line_break}{long}{line_break}abc= y");
            assert_eq!(runs(&text, 16, Alphabet::Base64), [format!("{long}{long}abc")]);
        }
        assert_eq!(runs("short\nlines", 5, Alphabet::Base64), ["short", "lines"]);
    }

    #[test]
    fn a_decoding_is_what_was_encoded() {
        for text in ["", "a", "ab", "abc", "any text at all"] {
            let (mut values, mut out) = (Vec::new(), Vec::new());
            Alphabet::Base64.values(STANDARD.encode(text).as_bytes(), &mut values);
            let left = Alphabet::Base64.decode(&values, &mut out);
            Alphabet::Base64.decode_rest(&values[values.len() - left..], &mut out);
            assert_eq!(out, text.as_bytes());
        }
    }
}
