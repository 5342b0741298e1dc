//! What people say of a session and find it by: its tags, and the terms of its title and tags.
//!
//! Not here: the text of its messages. No index holds it, since every event would pay for that.

use std::collections::BTreeSet;

use serde::Serialize;
use unicode_normalization::UnicodeNormalization as _;

/// Tags of one session.
pub const TAGS_MAX: usize = 20;
/// Characters of a tag.
pub const TAG_CHARS_MAX: usize = 50;
/// Characters of a word that count. What follows is as if it were not there.
const WORD_CHARS_MAX: usize = 50;
/// Words of a search.
const WANTED_WORDS_MAX: usize = 10;

/// The tags of a session: in lower case, sorted, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Tags(Vec<String>);

/// Why something can't be the tags of a session, or what one is searched by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TermError {
    #[error("a session has at most {TAGS_MAX} tags")]
    TooManyTags,
    /// Letters and digits only, so that two tags that look alike to a person are hardly ever two.
    #[error(
        "the tag {0:?} has other characters than letters, digits and . _ : / - or is not 1 to {TAG_CHARS_MAX} long"
    )]
    Tag(String),
    #[error("a search has at most {WANTED_WORDS_MAX} words")]
    TooManyWords,
    #[error("{0:?} has no word to search for")]
    NoWord(String),
}

impl Tags {
    /// # Errors
    /// If they are too many, or one is out of bounds.
    pub fn new<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Result<Self, TermError> {
        let tags: BTreeSet<String> = texts.into_iter().map(|text| tag(text.as_ref())).collect::<Result<_, _>>()?;
        if tags.len() > TAGS_MAX { Err(TermError::TooManyTags) } else { Ok(Self(tags.into_iter().collect())) }
    }

    #[must_use]
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

fn tag(text: &str) -> Result<String, TermError> {
    let tag = text.trim().to_lowercase();
    let allowed = |letter: char| letter.is_alphanumeric() || "._:/-".contains(letter);
    let fits = (1..=TAG_CHARS_MAX).contains(&tag.chars().count()) && tag.chars().all(allowed);
    if fits { Ok(tag) } else { Err(TermError::Tag(text.chars().take(TAG_CHARS_MAX).collect())) }
}

/// What a session of this title and these tags is found by.
#[must_use]
pub fn terms(title: &str, tags: &[String]) -> Vec<String> {
    words(title).iter().map(|word| of_word(word)).chain(tags.iter().map(|tag| of_tag(tag))).collect()
}

/// What a session must have to be found: all of it. The first is the one that fewest sessions are likely to have.
///
/// # Errors
/// If `text` has no word or too many, or a tag could not be one.
pub fn wanted(text: Option<&str>, tags: &[&str]) -> Result<Vec<String>, TermError> {
    let mut terms: Vec<String> = Tags::new(tags)?.0.iter().map(|tag| of_tag(tag)).collect();
    if let Some(text) = text {
        let mut found: Vec<String> = words(text).into_iter().collect();
        if found.is_empty() {
            return Err(TermError::NoWord(text.chars().take(WORD_CHARS_MAX).collect()));
        }
        if found.len() > WANTED_WORDS_MAX {
            return Err(TermError::TooManyWords);
        }
        // Long words are rarer than short ones.
        found.sort_by_key(|word| std::cmp::Reverse(word.chars().count()));
        terms.extend(found.iter().map(|word| of_word(word)));
    }
    Ok(terms)
}

/// Composed, as names are kept.
fn words(text: &str) -> BTreeSet<String> {
    let lower = text.nfc().collect::<String>().to_lowercase();
    let words = lower.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(|word| word.chars().take(WORD_CHARS_MAX).collect()).collect()
}

fn of_word(word: &str) -> String {
    format!("word:{word}")
}

fn of_tag(tag: &str) -> String {
    format!("tag:{tag}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_in_lower_case_sorted_and_each_once() {
        let tags = Tags::new(["Ops", " billing ", "ops", "Größe", "team/a:1.0_x-y"]).unwrap();
        assert_eq!(tags.as_slice(), ["billing", "größe", "ops", "team/a:1.0_x-y"]);
    }

    #[test]
    fn a_tag_that_could_be_taken_for_another_is_refused() {
        for text in ["", " ", "a b", "a,b", "a\u{202e}b", "a\u{200b}", "a\0", &"x".repeat(TAG_CHARS_MAX + 1)] {
            assert!(matches!(Tags::new([text]), Err(TermError::Tag(_))), "{text:?}");
        }
        let many = (0..=TAGS_MAX).map(|n| n.to_string());
        assert_eq!(Tags::new(many), Err(TermError::TooManyTags));
    }

    #[test]
    fn a_title_is_found_by_its_words_however_they_are_written() {
        let terms = terms("Plan: the WEEK, the Größe-plan", &["ops".to_owned()]);
        assert_eq!(terms, ["word:größe", "word:plan", "word:the", "word:week", "tag:ops"]);
        assert_eq!(wanted(Some("GRO\u{308}SSE gro\u{308}ße"), &[]).unwrap(), ["word:grösse", "word:größe"]);
    }

    #[test]
    fn a_search_begins_with_what_is_likely_to_be_rare() {
        assert_eq!(wanted(Some("a WEEKLY plan"), &["Ops"]).unwrap(), ["tag:ops", "word:weekly", "word:plan", "word:a"]);
        assert_eq!(wanted(None, &[]).unwrap(), Vec::<String>::new());
        assert_eq!(wanted(Some(" ?! "), &[]), Err(TermError::NoWord(" ?! ".into())));
        assert_eq!(wanted(Some("a b c d e f g h i j k"), &[]), Err(TermError::TooManyWords));
    }
}
