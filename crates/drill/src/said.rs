//! What a drill may say: the types that everything in its bundle is made of.
//!
//! A report is read by people who may not see the rows that it is about, and is kept for years. So a sentence, an entry of
//! the journal and a piece of evidence consist of these parts and of no others: text of this program, numbers, ids,
//! instants, names from a catalogue or a plan ([`Name`]), keys of objects ([`Key`]), values under the drill's key
//! ([`Keyed`]), and what others say in the words of a closed vocabulary ([`Heard`]). A `String` is none of them: a title, a
//! message or an address that came out of a row does not compile into a finding.
//!
//! [`Sentence`] is for people, [`Fact`] for programs; [`say!`] and [`facts!`] make them.
//!
//! Not guaranteed: that nobody calls a row's text a name. The constructors of [`Name`] say where a name may come from, and
//! bound what it consists of.
//!
//! Not here: taking secrets out of text (`redact`), which happens to every sentence besides.

mod fact;
mod heard;
mod name;
mod part;
mod transcript;

pub(crate) use self::fact::{Fact, Factual, others};
pub(crate) use self::heard::Heard;
pub(crate) use self::name::{Key, Keyed};
pub(crate) use self::transcript::Transcript;

pub use self::name::Name;
pub use self::part::Sayable;

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize};

use crate::report::plain;

/// A sentence that can hold no text of a row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Sentence(String);

impl Sentence {
    /// `template` with each `{}` replaced by the next part. [`say!`] counts both when it is compiled.
    #[must_use]
    pub fn of(template: &'static str, parts: &[&dyn Sayable]) -> Self {
        let (mut text, mut parts) = (String::new(), parts.iter());
        for (place, piece) in template.split("{}").enumerate() {
            if let Some(part) = (place > 0).then(|| parts.next()).flatten() {
                part.say(&mut text);
            }
            text.push_str(piece);
        }
        Self(plain(&text))
    }

    /// What can be told of an error: our own sentence as it is, anybody else's as [`Heard`].
    pub(crate) fn about(error: &anyhow::Error) -> Self {
        error.downcast_ref().cloned().unwrap_or_else(|| say!("{}", Heard::error(error)))
    }

    /// Several, with `between` them.
    pub(crate) fn join(sentences: &[Self], between: &'static str) -> Self {
        let texts: Vec<&str> = sentences.iter().map(Self::as_str).collect();
        Self(plain(&texts.join(between)))
    }

    /// Takes out whatever looks like a secret all the same.
    pub(crate) fn redacted(&self) -> Self {
        Self(plain(&redact::Redactor::new().redact(&self.0)))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A cause that can be told as it is.
impl std::error::Error for Sentence {}

impl From<&'static str> for Sentence {
    fn from(text: &'static str) -> Self {
        Self(plain(text))
    }
}

impl Deref for Sentence {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<&str> for Sentence {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl fmt::Display for Sentence {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// For reports that are read again: they were written from sentences.
impl<'de> Deserialize<'de> for Sentence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(plain(&String::deserialize(deserializer)?)))
    }
}

/// How many holes a template has; a brace that is no hole does not compile.
#[must_use]
pub const fn holes(template: &str) -> usize {
    let (bytes, mut at, mut holes) = (template.as_bytes(), 0, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'{' => {
                assert!(at + 1 < bytes.len() && bytes[at + 1] == b'}', "a hole is written as a pair of braces");
                holes += 1;
                at += 1;
            }
            b'}' => panic!("a hole is written as a pair of braces"),
            _ => {}
        }
        at += 1;
    }
    holes
}

/// A [`Sentence`]: `say!("table {} has {} rows", name, rows)`. Every part is [`Sayable`]; names in braces are not taken,
/// for they would go round that.
macro_rules! say {
    ($template:literal $(, $part:expr)* $(,)?) => {{
        const PARTS: &[&str] = &[$(stringify!($part)),*];
        const { assert!($crate::said::holes($template) == PARTS.len(), "as many holes as parts") };
        $crate::said::Sentence::of($template, &[$(&$part as &dyn $crate::said::Sayable),*])
    }};
}

/// A [`Fact`] with named parts: `facts!({"tables": tables.len(), "moved": moved})`. Every part is [`Factual`].
macro_rules! facts {
    ({$($name:literal: $part:expr),* $(,)?}) => {
        $crate::said::Fact::map(vec![$(($name, $crate::said::Factual::fact(&$part))),*])
    };
}

pub(crate) use {facts, say};

#[cfg(test)]
mod tests {
    use ids::SessionId;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_sentence_has_its_parts_in_order() {
        let session = SessionId::from(Uuid::nil());
        let name = Name::catalogued("events");
        assert_eq!(
            say!("table {} of session {} has {} rows, and {} none", name, session, 7_u64, None::<u64>).as_str(),
            "table events of session 00000000-0000-0000-0000-000000000000 has 7 rows, and nothing none"
        );
    }

    #[test]
    fn a_part_is_not_taken_for_a_template() {
        assert_eq!(say!("{} and {}", "{}", 1_u64).as_str(), "{} and 1");
    }

    #[test]
    fn a_sentence_is_bounded() {
        let parts = vec![Sentence::from("many words"); 200];
        assert!(Sentence::join(&parts, "; ").as_str().chars().count() < 700);
    }
}
