//! Texts of a request, with their bounds in their type: what is taken, what is refused, and what the description of the API
//! says of it come from the same two numbers.
//!
//! A media type has the grammar of RFC 9110 besides (8.3.1), so that it can stand in a `Content-Type`.
//!
//! Not here: texts with a grammar of their own (names of roles, tags, addresses of channels).

use std::borrow::Cow;
use std::sync::LazyLock;

use domain::tenancy::{EMAIL_CHARS, normal_email};
use regex::Regex;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// A text of at most `MAX` characters, of which at least `MIN` remain when the space around it is taken away. It has no NUL,
/// which Postgres can't store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text<const MIN: usize, const MAX: usize>(String);

/// What is shown in lists.
pub(crate) type Name = Text<1, 200>;
/// A short word that a program gave something: an agent, a provider.
pub(crate) type Word = Text<1, 100>;

impl<const MIN: usize, const MAX: usize> Text<MIN, MAX> {
    fn new(text: String) -> Option<Self> {
        let fits = text.chars().count() <= MAX && text.trim().chars().count() >= MIN && !text.contains('\0');
        fits.then_some(Self(text))
    }

    /// For defaults, which are within bounds as they are written.
    pub(crate) fn literal(text: &'static str) -> Self {
        Self(text.to_owned())
    }

    /// Without the space around it.
    pub(crate) fn trimmed(&self) -> String {
        self.0.trim().to_owned()
    }

    /// As it came.
    pub(crate) fn whole(self) -> String {
        self.0
    }

    /// The same of a regular expression, which has to go without counting what is trimmed.
    fn pattern() -> String {
        match MIN {
            0 => r"^[^\u0000]*$".to_owned(),
            1 => r"^[^\u0000]*[^\s\u0000][^\u0000]*$".to_owned(),
            more => format!(r"^\s*[^\s\u0000][^\u0000]{{{},}}[^\s\u0000]\s*$", more - 2),
        }
    }
}

impl<'de, const MIN: usize, const MAX: usize> Deserialize<'de> for Text<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(text).ok_or_else(|| D::Error::custom(format!("it has {MIN} to {MAX} characters, and no NUL")))
    }
}

impl<const MIN: usize, const MAX: usize> PartialSchema for Text<MIN, MAX> {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new().schema_type(Type::String).min_length(Some(MIN)).max_length(Some(MAX));
        text.pattern(Some(Self::pattern())).build().into()
    }
}

impl<const MIN: usize, const MAX: usize> ToSchema for Text<MIN, MAX> {
    fn name() -> Cow<'static, str> {
        Cow::Owned(format!("Text{MIN}To{MAX}"))
    }
}

/// Bytes of a media type.
const MEDIA_TYPE_MAX: usize = 200;

/// `type/subtype`, and parameters behind it (RFC 9110, 8.3.1).
#[derive(Debug)]
pub(crate) struct MediaType(pub(crate) String);

static MEDIA_TYPE: LazyLock<Regex> = LazyLock::new(|| Regex::new(&MediaType::pattern()).expect("it is one"));

impl MediaType {
    fn new(text: String) -> Option<Self> {
        (text.len() <= MEDIA_TYPE_MAX && MEDIA_TYPE.is_match(&text)).then_some(Self(text))
    }

    /// Of texts in ASCII only: what stands beyond it in a quoted text is obsolete.
    fn pattern() -> String {
        let token = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
        let quoted = r#""([\t !#-\[\]-~]|\\[\t -~])*""#;
        format!(r"^{token}/{token}([ \t]*;[ \t]*({token}=({token}|{quoted}))?)*$")
    }
}

impl<'de> Deserialize<'de> for MediaType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let refused =
            || D::Error::custom("it is no media type: write type/subtype, such as text/csv; at most 200 bytes");
        Self::new(String::deserialize(deserializer)?).ok_or_else(refused)
    }
}

impl PartialSchema for MediaType {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new().schema_type(Type::String).min_length(Some(3)).max_length(Some(MEDIA_TYPE_MAX));
        text.pattern(Some(Self::pattern())).examples(["text/csv"]).build().into()
    }
}

impl ToSchema for MediaType {}

/// An email address, as accounts are found by it.
#[derive(Debug)]
pub(crate) struct Email(pub(crate) String);

impl<'de> Deserialize<'de> for Email {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        normal_email(&text).map(Self).ok_or_else(|| D::Error::custom("it is not an email address"))
    }
}

impl PartialSchema for Email {
    fn schema() -> RefOr<Schema> {
        let plain = r"[^\s@\u0000-\u001f\u007f-\u009f]";
        let text = ObjectBuilder::new().schema_type(Type::String).min_length(Some(3)).max_length(Some(EMAIL_CHARS));
        text.pattern(Some(format!(r"^\s*{plain}+@{plain}+\s*$"))).examples(["bob@example.org"]).build().into()
    }
}

impl ToSchema for Email {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_type_has_the_grammar_that_a_header_asks_of_it() {
        for taken in [
            "text/csv",
            "application/vnd.api+json",
            "text/plain;charset=utf-8",
            "text/plain ; charset=\"utf 8\\\"\" ; a=b",
            "text/plain;",
            "x-a/*",
        ] {
            assert!(MediaType::new(taken.to_owned()).is_some(), "{taken}");
        }
        let long = format!("text/{}", "x".repeat(MEDIA_TYPE_MAX));
        for refused in [
            "",
            "text",
            "text/",
            "/csv",
            "text/csv\n",
            "te xt/csv",
            "text/csv; charset",
            "text/csv; a=\"b",
            "text/é",
            "a/b/c",
            &*long,
        ] {
            assert!(MediaType::new(refused.to_owned()).is_none(), "{refused}");
        }
    }

    #[test]
    fn a_text_is_bounded_as_it_came_and_as_it_is_kept() {
        let kept = |text: &str| Text::<1, 4>::new(text.to_owned()).map(|text| text.trimmed());
        assert_eq!(kept(" ab "), Some("ab".to_owned()));
        assert_eq!(kept("   "), None);
        assert_eq!(kept(" abc "), None);
        assert_eq!(kept("a\0"), None, "Postgres can't store it");
    }
}
