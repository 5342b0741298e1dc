//! What others say, as far as it can be repeated: the errors of tools, servers and roles, in the words of a closed
//! vocabulary.
//!
//! An error message is somebody else's text. Postgres quotes the value that it could not read and the row that violates a
//! constraint; a role's last line may be anything. So of a message only those words are repeated that stand in
//! `heard/vocabulary.txt`, with ids and small numbers; whatever it quotes, and each word that is not in the vocabulary, is
//! told as `…`. What a person needs beyond that is in the log of whoever said it.
//!
//! Not guaranteed: that a message makes sense without the words that are left out.
//!
//! Not here: what a tool prints when all is well (`transcript`).

use std::collections::HashSet;
use std::fmt;
use std::sync::LazyLock;

use serde_json::Value;
use uuid::Uuid;

/// How many words of a message are repeated.
const WORDS_MAX: usize = 60;
/// Numbers of more digits may be somebody's.
const DIGITS_MAX: usize = 7;
/// What stands in the place of everything else.
pub(super) const WITHHELD: &str = "…";
/// Where a message begins to tell what it is about, and not what is wrong.
const ASIDES: [&str; 6] = ["DETAIL:", "CONTEXT:", "STATEMENT:", "QUERY:", "HINT:", "LOCATION:"];

/// Fields of a program's own words, in entries of logs and in answers.
const TELLING: [&str; 5] = ["message", "error", "what", "detail", "fields"];

static VOCABULARY: LazyLock<HashSet<&str>> =
    LazyLock::new(|| include_str!("heard/vocabulary.txt").split_whitespace().collect());

/// What somebody said, in words that can be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heard(String);

impl Heard {
    pub(crate) fn of(said: impl fmt::Display) -> Self {
        let said = said.to_string();
        let entry = of_log(&said);
        let text = entry.as_deref().unwrap_or(&said);
        let text = ASIDES.iter().filter_map(|aside| text.find(aside)).min().map_or(text, |end| &text[..end]);
        let unquoted = ['"', '\u{ab}', '\u{201c}'].into_iter().fold(text.to_owned(), unquote);
        let mut words: Vec<String> = Vec::new();
        for word in unquote(unquoted, '\'').split_whitespace() {
            let word = repeatable(word);
            if word != WITHHELD || words.last().is_none_or(|last| last != WITHHELD) {
                words.push(word);
            }
        }
        words.truncate(WORDS_MAX);
        Self(if words.is_empty() { "it said nothing".to_owned() } else { words.join(" ") })
    }

    /// An error with all its causes.
    pub(crate) fn error(error: &anyhow::Error) -> Self {
        Self::of(format!("{error:#}"))
    }
}

impl fmt::Display for Heard {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// What an entry of a log, or an answer in JSON, has to say.
fn of_log(line: &str) -> Option<String> {
    fn told<'a>(value: &'a Value, parts: &mut Vec<&'a str>) {
        match value {
            Value::String(text) => parts.push(text),
            Value::Object(fields) => TELLING.iter().filter_map(|name| fields.get(*name)).for_each(|it| told(it, parts)),
            _ => {}
        }
    }
    let entry: Value = serde_json::from_str(line).ok().filter(Value::is_object)?;
    let mut parts = Vec::new();
    told(&entry, &mut parts);
    Some(parts.iter().map(|part| part.trim_end_matches('.')).collect::<Vec<_>>().join(": "))
}

/// Leaves out everything from the first `mark` that begins a quotation to the last: what is quoted may hold marks itself.
fn unquote(text: String, mark: char) -> String {
    let closing = match mark {
        '\u{ab}' => '\u{bb}',
        '\u{201c}' => '\u{201d}',
        mark => mark,
    };
    let begins = |at: usize| !text[..at].ends_with(|c: char| c.is_alphanumeric());
    let Some(first) = text.match_indices(mark).map(|(at, _)| at).find(|at| begins(*at)) else { return text };
    let after = text.rfind(closing).filter(|last| *last > first).map_or(text.len(), |last| last + closing.len_utf8());
    format!("{}{WITHHELD}{}", &text[..first], &text[after..])
}

/// The word as it stands, with its punctuation, or the mark of what is withheld.
pub(super) fn repeatable(word: &str) -> String {
    let core = word.trim_matches(|c: char| ".,:;!?()[]`".contains(c));
    let plain = core.is_empty() || Uuid::try_parse(core).is_ok() || core.split(['-', '/', '_']).all(known);
    if plain { word.to_owned() } else { WITHHELD.to_owned() }
}

fn known(word: &str) -> bool {
    let number = !word.is_empty() && word.len() <= DIGITS_MAX && word.bytes().all(|byte| byte.is_ascii_digit());
    number || VOCABULARY.contains(word.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        assert_eq!(Heard::of(text).to_string(), expect);
    }

    #[test]
    fn what_went_wrong_is_repeated_and_what_it_is_about_is_not() {
        check(
            "pg_restore: error: COPY failed for table \"events\": ERROR:  invalid input syntax for type json\n\
             DETAIL:  Token \"Dear\" is invalid.\nCONTEXT:  COPY events, line 3, column payload: \"Dear Ada\"",
            "pg_restore: error: COPY failed for table … ERROR: invalid input syntax for type json",
        );
        check("invalid input value: \"he said \"hello\" to Ada\"", "invalid input value: …");
        check("the server answered 422: Ada Lovelace can't be found", "the server answered 422: … can't be found");
    }

    #[test]
    fn of_an_entry_of_a_log_its_words_are_repeated() {
        let entry = r#"{"level":"ERROR","message":"the turn failed","error":"no checkpoint \"Ada\"","who":"Ada"}"#;
        check(entry, "the turn failed: no checkpoint …");
        check(
            r#"{"error":{"what":"The port is taken.","detail":"address in use","advice":"Ada"}}"#,
            "The port is taken: address in use",
        );
    }

    #[test]
    fn ids_and_small_numbers_are_repeated() {
        let id = Uuid::from_u128(7);
        check(
            &format!("session {id} ended at event 41, exit status: 1"),
            &format!("session {id} ended at event 41, exit status: 1"),
        );
        check("account 4929123412341234 is unknown", "account … is unknown");
    }

    #[test]
    fn nothing_that_is_not_in_the_vocabulary_is_repeated() {
        for text in
            ["ada@people.invalid", "sk-live-a1b2", "/home/ada/diary.txt", "https://x.invalid/?sig=1", "Ünïcödé", "🦀"]
        {
            check(text, WITHHELD);
        }
        check("", "it said nothing");
    }

    #[test]
    fn a_message_is_bounded() {
        assert!(Heard::of("the row ".repeat(10_000)).to_string().split(' ').count() <= WORDS_MAX);
    }

    #[test]
    fn the_vocabulary_is_sorted_and_has_every_word_once() {
        let words: Vec<&str> = include_str!("heard/vocabulary.txt").split_whitespace().collect();
        assert!(words.is_sorted_by(|one, other| one < other));
        assert!(words.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'\'')));
    }
}
