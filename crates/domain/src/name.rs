//! Names: what people call things, and others see in lists and messages.
//!
//! A name is one line and shows all that it has: it has no character that nobody sees, that breaks the line, or that
//! turns the reading direction, so that none looks like another because of one. It is kept in Unicode's composed form
//! (NFC), so that two that look alike, because the same letters are put together from other pieces, are one.
//!
//! Not promised: that two names which look alike are one. Letters of different scripts (a Cyrillic and a Latin a),
//! digits and letters (0 and O), and a joiner or a selector where no font shows it, are not told apart. And a character
//! that is for private use or that Unicode has not assigned is taken: fonts show a box for it.
//!
//! Not here: texts that may have several lines (prompts, answers), in which people write anything but NUL; names with a
//! grammar (`profile`, `tenancy`, `details`), which have fewer characters; what other systems call things, which is
//! compared as it came.

use std::fmt;

use unicode_normalization::UnicodeNormalization as _;

/// Characters from one to another, both among them.
type Range = (char, char);

/// What no name has. No range is long: programs that make data of a pattern go through each character of it.
const REFUSED: &[Range] = &[
    // Control characters: line breaks and tabs as well.
    ('\0', '\u{1f}'),
    ('\u{7f}', '\u{9f}'),
    // The soft hyphen, and what joins graphemes.
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    // The Arabic letter mark, which turns the direction.
    ('\u{61c}', '\u{61c}'),
    // Fillers of Hangul, vowels of Khmer that nobody writes, a separator of Mongolian.
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180e}', '\u{180e}'),
    // A space without width, and marks of direction.
    ('\u{200b}', '\u{200b}'),
    ('\u{200e}', '\u{200f}'),
    // Separators of lines and paragraphs; embeddings, overrides and isolates of direction; operators that nobody sees.
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    // An empty Braille cell, and a filler of Hangul.
    ('\u{2800}', '\u{2800}'),
    ('\u{3164}', '\u{3164}'),
    // What is no character.
    ('\u{fdd0}', '\u{fdef}'),
    // The byte order mark, a filler of Hangul, marks of annotations.
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{fffe}', '\u{ffff}'),
    // Controls of shorthand and of music.
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{1fffe}', '\u{1ffff}'),
    ('\u{2fffe}', '\u{2ffff}'),
    // Tags and more selectors, by which whole texts can be hidden.
    ('\u{e0000}', '\u{e0fff}'),
];

/// Spaces of one line.
const BLANK: &[Range] = &[
    (' ', ' '),
    ('\u{a0}', '\u{a0}'),
    ('\u{1680}', '\u{1680}'),
    ('\u{2000}', '\u{200a}'),
    ('\u{202f}', '\u{202f}'),
    ('\u{205f}', '\u{205f}'),
    ('\u{3000}', '\u{3000}'),
];

/// What says whether the characters around it are joined. Nobody sees it, but what it does: Persian can't be written
/// without the non-joiner, scripts of India take both, and most pictures of people and flags are put together by the
/// joiner. So it may stand between two characters, once; at an end, or next to another, it would make two names of one, and
/// is left out.
const JOINERS: &[Range] = &[('\u{200c}', '\u{200d}')];

/// What chooses a look of the character before it: letters of Mongolian take it, and signs that are shown as pictures.
const SELECTORS: &[Range] = &[('\u{180b}', '\u{180d}'), ('\u{180f}', '\u{180f}'), ('\u{fe00}', '\u{fe0f}')];

/// Why something is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Also of one that has nothing but spaces, and of one that is longer when it is composed.
    #[error("it has 1 to {0} characters")]
    Length(usize),
    #[error(
        "it has the character {0}, and a name has none that nobody sees, that breaks the line, that turns the reading \
         direction, or that is no character"
    )]
    Refused(CodePoint),
}

/// A character as the Unicode standard writes of it: `U+202E`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodePoint(char);

impl fmt::Display for CodePoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "U+{:04X}", u32::from(self.0))
    }
}

/// A name as it is kept: without the space around it, without joiners and selectors that do nothing, and composed. It has at
/// most `max` characters as it came, and as it is kept.
///
/// # Errors
/// If it is none.
pub fn read(text: &str, max: usize) -> Result<String, NameError> {
    if text.chars().count() > max {
        return Err(NameError::Length(max));
    }
    if let Some(refused) = text.chars().find(|character| Kind::of(*character) == Kind::Refused) {
        return Err(NameError::Refused(CodePoint(refused)));
    }
    let kept = composed(text.chars());
    // Some characters have no composed form, and are two or three from then on.
    if kept.is_empty() || kept.chars().count() > max { Err(NameError::Length(max)) } else { Ok(kept) }
}

/// What is left of somebody else's text as a name, for where it can't be refused: empty, or what [`read`] takes as it
/// is. Line breaks become spaces, what no name has is left out, and what is longer than `max` characters is cut.
#[must_use]
pub fn tidied(text: &str, max: usize) -> String {
    let breaks = |character: char| character.is_whitespace() && Kind::of(character) == Kind::Refused;
    let cut: String = composed(text.chars().map(|character| if breaks(character) { ' ' } else { character }))
        .chars()
        .take(max)
        .collect();
    trimmed(&cut).to_owned()
}

/// What has its place, composed.
fn composed(characters: impl Iterator<Item = char>) -> String {
    let (mut kept, mut before) = (String::new(), None);
    for character in characters {
        let kind = Kind::of(character);
        if kind.may_follow(before) {
            kept.push(character);
            before = Some(kind);
        }
    }
    trimmed(&kept).nfc().collect()
}

fn trimmed(kept: &str) -> &str {
    kept.trim_end_matches(|last| matches!(Kind::of(last), Kind::Blank | Kind::Joiner))
}

/// What [`read`] takes, but for the length, as a regular expression of ECMA-262 with its flag `u`.
#[must_use]
pub fn pattern() -> String {
    let [refused, blank, joiner, selector] = [REFUSED, BLANK, JOINERS, SELECTORS].map(class);
    format!("^[^{refused}]*[^{blank}{joiner}{selector}{refused}][^{refused}]*$")
}

fn class(ranges: &[Range]) -> String {
    let written = |(first, last): &Range| {
        let (from, to) = (escaped(*first), escaped(*last));
        if first == last { from } else { format!("{from}-{to}") }
    };
    ranges.iter().map(written).collect()
}

/// Dialects of regular expressions agree on no escape of more than four digits, so what needs more stands for itself.
fn escaped(character: char) -> String {
    let code = u32::from(character);
    if code > 0xffff { character.to_string() } else { format!("\\u{code:04x}") }
}

/// Whether nobody sees it, or it breaks a line or turns the reading direction. What [`read`] takes has some of these in
/// their place, for the sake of scripts and pictures; names of files in archives have none.
#[must_use]
pub fn unseen(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}')
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Seen,
    Blank,
    Joiner,
    Selector,
    Refused,
}

impl Kind {
    fn of(character: char) -> Self {
        let among = |ranges: &[Range]| ranges.iter().any(|(first, last)| (*first..=*last).contains(&character));
        if among(REFUSED) {
            Self::Refused
        } else if among(BLANK) {
            Self::Blank
        } else if among(JOINERS) {
            Self::Joiner
        } else if among(SELECTORS) {
            Self::Selector
        } else {
            Self::Seen
        }
    }

    /// `before`: what a name has so far ends with. `None`: it has nothing.
    fn may_follow(self, before: Option<Self>) -> bool {
        match self {
            Self::Seen => true,
            Self::Blank => before.is_some(),
            Self::Joiner => before.is_some_and(|before| before != Self::Joiner),
            Self::Selector => before == Some(Self::Seen),
            Self::Refused => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_of_any_script_is_taken_as_it_is() {
        for text in [
            "Ada  Lovelace",
            "\u{5e9}\u{5dc}\u{5d5}\u{5dd}",
            // Persian with its non-joiner, also behind Latin letters; Hindi with its joiner; Mongolian with a selector.
            "\u{645}\u{6cc}\u{200c}\u{62e}\u{648}\u{627}\u{647}\u{645}",
            "PDF\u{200c}\u{647}\u{627}",
            "\u{915}\u{94d}\u{200d}\u{937}",
            "\u{1820}\u{180b}",
            // A family, a heart on fire, a rainbow flag, a key cap.
            "\u{1f469}\u{200d}\u{1f469}\u{200d}\u{1f467}",
            "\u{2764}\u{fe0f}\u{200d}\u{1f525}",
            "\u{1f3f3}\u{fe0f}\u{200d}\u{1f308}",
            "1\u{fe0f}\u{20e3}",
        ] {
            assert_eq!(read(text, 100), Ok(text.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn a_name_is_kept_trimmed_and_composed() {
        for (text, kept) in [
            (" \u{3000}Ada\u{a0}", "Ada"),
            ("cafe\u{301}", "caf\u{e9}"),
            ("\u{212b}", "\u{c5}"),
            ("\u{1112}\u{1161}\u{11ab}", "\u{d55c}"),
        ] {
            assert_eq!(read(text, 100), Ok(kept.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn each_class_that_no_name_has_is_refused_by_its_code_point() {
        for (character, code) in [
            ('\0', "U+0000"),
            ('\t', "U+0009"),
            ('\n', "U+000A"),
            ('\u{85}', "U+0085"),
            ('\u{ad}', "U+00AD"),
            ('\u{61c}', "U+061C"),
            ('\u{200b}', "U+200B"),
            ('\u{200e}', "U+200E"),
            ('\u{200f}', "U+200F"),
            ('\u{2028}', "U+2028"),
            ('\u{202a}', "U+202A"),
            ('\u{202e}', "U+202E"),
            ('\u{2060}', "U+2060"),
            ('\u{2066}', "U+2066"),
            ('\u{2069}', "U+2069"),
            ('\u{2800}', "U+2800"),
            ('\u{3164}', "U+3164"),
            ('\u{feff}', "U+FEFF"),
            ('\u{ffff}', "U+FFFF"),
            ('\u{e0041}', "U+E0041"),
            ('\u{e0100}', "U+E0100"),
        ] {
            for text in [format!("a{character}b"), format!("ab{character}"), character.to_string()] {
                let refused = read(&text, 100).unwrap_err();
                assert_eq!(refused, NameError::Refused(CodePoint(character)), "{text:?}");
                assert!(refused.to_string().contains(code), "{refused}");
            }
        }
    }

    #[test]
    fn joiners_and_selectors_have_their_place_and_are_left_out_elsewhere() {
        for (text, kept) in [
            ("\u{200c}a", "a"),
            ("a\u{200d}", "a"),
            (" a\u{200d} ", "a"),
            ("a\u{200d}\u{200c}b", "a\u{200d}b"),
            ("a \u{fe0f}b", "a b"),
            ("a\u{fe0f}\u{fe0f}", "a\u{fe0f}"),
        ] {
            assert_eq!(read(text, 100), Ok(kept.to_owned()), "{text:?}");
        }
        for text in ["\u{200d}", "\u{fe0f}", " \u{200c} "] {
            assert_eq!(read(text, 100), Err(NameError::Length(100)), "{text:?}");
        }
    }

    #[test]
    fn something_is_to_be_seen_and_it_fits_as_it_came_and_as_it_is_kept() {
        for text in ["", " ", "\u{a0}\u{3000}", "abcd", " ab ", "\u{958}\u{958}"] {
            assert_eq!(read(text, 3), Err(NameError::Length(3)), "{text:?}");
        }
        // Four characters that are three when they are composed are still four that came.
        assert_eq!(read("abe\u{301}", 3), Err(NameError::Length(3)));
        assert_eq!(read("\u{958}b", 3), Ok("\u{915}\u{93c}b".to_owned()));
    }

    #[test]
    fn what_nobody_sees_has_a_place_of_its_own_in_a_name_or_none() {
        let assigned = ('\0'..='\u{3ffff}').chain('\u{e0000}'..='\u{e0fff}');
        for character in assigned {
            let kind = Kind::of(character);
            assert!(!unseen(character) || !matches!(kind, Kind::Seen | Kind::Blank), "{character:?}");
            assert_eq!(character.is_whitespace(), kind == Kind::Blank || breaks(character), "{character:?}");
        }
    }

    fn breaks(character: char) -> bool {
        matches!(character, '\t'..='\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
    }

    #[test]
    fn what_comes_from_elsewhere_keeps_what_can_be_seen_of_it() {
        for (text, max, kept) in [
            ("Ada", 10, "Ada"),
            ("  Ada\r\nLovelace\t", 20, "Ada  Lovelace"),
            ("invoice\u{202e}fdp.exe", 20, "invoicefdp.exe"),
            ("\u{200f}\u{5e9}\u{5dc}\u{200f}", 20, "\u{5e9}\u{5dc}"),
            ("a\u{200d}\u{200d}\u{200d}b\u{200d}", 20, "a\u{200d}b"),
            ("cafe\u{301} noir", 5, "caf\u{e9}"),
            ("\u{3164}\u{200b}\u{200d}\u{fe0f}", 20, ""),
        ] {
            assert_eq!(tidied(text, max), kept, "{text:?}");
        }
    }

    /// Letters that compose and that fall apart, spaces, and all that has its place or none.
    const HARD: &str = concat!(
        "[aeu\u{301}\u{308}\u{323}\u{958}\u{212a}\u{1100}\u{1161}\u{11a8}\u{ac00}\u{1f469}",
        " \u{2000}\u{3000}\u{200c}\u{200d}\u{fe0f}]{0,9}"
    );

    proptest! {
        #[test]
        fn a_name_that_was_taken_is_the_same_when_it_is_read_again(text in HARD) {
            if let Ok(kept) = read(&text, 100) {
                prop_assert_eq!(read(&kept, 100), Ok(kept));
            }
        }

        #[test]
        fn names_that_are_the_same_letters_in_other_pieces_are_one(text in HARD) {
            let pieces: String = text.nfd().collect();
            prop_assert_eq!(read(&text, 100), read(&pieces, 100));
        }

        #[test]
        fn what_is_left_of_any_text_is_a_name_or_nothing(text in any::<String>(), hard in HARD, max in 1..30_usize) {
            for text in [format!("{text}{hard}"), format!("{hard}\u{202e}{text}\n")] {
                let left = tidied(&text, max);
                prop_assert!(left.is_empty() || read(&left, max) == Ok(left.clone()), "{text:?}: {left:?}");
            }
        }
    }
}
