//! Names of things, which are no rows: each constructor says where a name may come from.
//!
//! Not here: ids, which are names by themselves.

use std::fmt;
use std::ops::Deref;

use attest::RunKey;
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use crate::plan;

/// Longer names nobody gives.
const NAME_CHARS: usize = 200;

/// The name of a table, a column, a counter, a role, a secret, a file of the drill's: whatever a program, a catalogue or an
/// operator calls something. One bounded line of ASCII.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Name(String);

impl Name {
    /// From Postgres' catalogue or from the manifest, which names tables, columns, sequences, probes and counters: letters,
    /// digits, and what stands between them. Whatever else is in it is told as `?`.
    pub(crate) fn catalogued(name: &str) -> Self {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "_.$-/\"".contains(c) { c } else { '?' };
        Self(name.chars().take(NAME_CHARS).map(plain).collect())
    }

    /// A line of Postgres' catalogue: the definition of a column, a constraint, a grant. It holds what a schema's author
    /// wrote, and nothing that was ever inserted.
    pub(crate) fn definition(line: &str) -> Self {
        Self(printable(line))
    }

    /// What this program or the operator calls something: a role's process, a secret reference, a canary's label, an output
    /// that was scanned, a version of a build.
    pub(crate) fn given(name: &str) -> Self {
        Self(printable(name))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn printable(text: &str) -> String {
    text.chars().take(2 * NAME_CHARS).map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect()
}

impl From<&'static str> for Name {
    fn from(name: &'static str) -> Self {
        Self(name.to_owned())
    }
}

impl From<&plan::Name> for Name {
    fn from(name: &plan::Name) -> Self {
        Self::given(name.as_str())
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::given(&String::deserialize(deserializer)?))
    }
}

/// The key of an object. Keys are made of ids and digests; one that is not is told by its length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key(String);

impl Key {
    pub(crate) fn of(key: &str) -> Self {
        match is_ours(key) {
            true => Self(key.to_owned()),
            false => Self(format!("(a key of {} characters that is none of ours)", key.chars().count())),
        }
    }
}

/// `orgs/ORG/gN/KIND/...`, each part after that an id, a digest, or a short word of ours.
fn is_ours(key: &str) -> bool {
    let mut parts = key.split('/');
    let generation = |part: &str| part.strip_prefix('g').is_some_and(|number| number.parse::<u32>().is_ok());
    let id = |part: &str| Uuid::try_parse(part).is_ok();
    let digest = |part: &str| part.len() <= 64 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let kinds = ["artifacts", "checkpoints", "checkpoint-files"];
    parts.next() == Some("orgs")
        && parts.next().is_some_and(id)
        && parts.next().is_some_and(generation)
        && parts.next().is_some_and(|kind| kinds.contains(&kind))
        && parts.all(|part| id(part.strip_suffix(".manifest").unwrap_or(part)) || digest(part))
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// A value that is not told: its HMAC under the drill's key. Whoever holds the key can see which value it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keyed(String);

impl Keyed {
    pub(crate) fn of(key: &RunKey, value: &str) -> Self {
        Self(key.name(value))
    }
}

impl fmt::Display for Keyed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "#{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_bounded_line() {
        assert_eq!(Name::catalogued("session_events").as_str(), "session_events");
        assert_eq!(Name::catalogued("two words\n<é>").as_str(), "two?words????");
        assert_eq!(Name::given("worker\u{202e}-1\n").as_str(), "worker?-1?");
        assert_eq!(Name::given(&"x".repeat(9_000)).len(), 2 * NAME_CHARS);
    }

    #[test]
    fn a_key_is_told_if_it_has_the_shape_of_one() {
        let id = Uuid::from_u128(7);
        let key = format!("orgs/{id}/g2/checkpoint-files/{}", "ab".repeat(32));
        assert_eq!(Key::of(&key).to_string(), key);
        for other in ["orgs/x/g1/artifacts/y", "letter.txt", "../../etc/passwd", ""] {
            assert!(Key::of(other).to_string().starts_with("(a key of "), "{other}");
        }
        let told = format!("orgs/{id}/g2/artifacts/my-diary.txt");
        assert!(!Key::of(&told).to_string().contains("diary"));
    }
}
