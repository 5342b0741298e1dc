//! Texts of a request, with their bounds in their type: what is taken, what is refused, and what the description of the API
//! says of it come from the same two numbers.
//!
//! A media type has the grammar of RFC 9110 besides (8.3.1), so that it can stand in a `Content-Type`.
//!
//! Names are what is shown to others in lists. What only finds something again (a filter, a request of an agent, a thread
//! of a chat) is a text: it is compared with what is there, whatever that has.
//!
//! Not here: which characters a name has (`domain::name`), texts with a grammar of their own (names of roles, tags,
//! addresses of channels).

use std::borrow::Cow;
use std::sync::LazyLock;

use domain::name;
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

/// A name of at most `MAX` characters, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line<const MAX: usize>(String);

/// What is shown in lists.
pub(crate) type Name = Line<200>;
/// A short word that a program gave something: an agent, a provider.
pub(crate) type Word = Line<100>;

impl<const MAX: usize> Line<MAX> {
    /// For defaults, which are names as they are written.
    pub(crate) fn literal(text: &'static str) -> Self {
        Self(text.to_owned())
    }

    /// Without the space around it, and composed.
    pub(crate) fn trimmed(&self) -> String {
        self.0.clone()
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Line<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        name::read(&text, MAX).map(Self).map_err(D::Error::custom)
    }
}

impl<const MAX: usize> PartialSchema for Line<MAX> {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(MAX));
        text.pattern(Some(name::pattern())).build().into()
    }
}

impl<const MAX: usize> ToSchema for Line<MAX> {
    fn name() -> Cow<'static, str> {
        Cow::Owned(format!("NameTo{MAX}"))
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
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{Answer, World};

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

    #[test]
    fn what_is_a_name_is_the_same_by_its_description() {
        let pattern = Regex::new(&name::pattern()).unwrap();
        let agrees = |text: &str| assert_eq!(pattern.is_match(text), name::read(text, 1_000).is_ok(), "{text:?}");
        let beyond = ["\u{1f469}", "\u{1bca0}", "\u{1d173}", "\u{2ffff}", "\u{3fffe}", "\u{e0100}", "\u{10ffff}"];
        ('\0'..='\u{ffff}').map(String::from).chain(beyond.map(String::from)).for_each(|text| {
            agrees(&text);
            agrees(&format!("a{text}b"));
        });
        // Every way to put up to five together of what is seen, what is not, and what has its place.
        let mut texts = vec![String::new()];
        for _ in 0..5 {
            let next = ["a", " ", "\u{200d}", "\u{fe0f}", "\u{202e}"];
            texts = texts.iter().flat_map(|text| next.map(|next| format!("{text}{next}"))).collect();
            texts.iter().for_each(|text| agrees(text));
        }
    }

    #[test]
    fn prompts_and_other_texts_have_anything_but_nul() {
        let text = "a\u{202e}b\u{200b}\n\tc\u{3164}".to_owned();
        assert_eq!(Text::<1, 100>::new(text.clone()).map(Text::whole), Some(text));
    }

    /// How something is called, the field that names it as a detail has it, and the body.
    type Naming = (&'static str, &'static str, &'static str, fn(&str) -> Value);

    const NAMINGS: &[Naming] = &[
        ("POST", "/api/orgs", "name:", |name| json!({"name": name})),
        ("PATCH", "/api/org", "name:", |name| json!({"name": name})),
        (
            "POST",
            "/api/members",
            "display_name:",
            |name| json!({"email": "bob@example.org", "display_name": name, "role": "member"}),
        ),
        ("POST", "/api/tokens", "name:", |name| json!({"name": name, "scopes": ["read"]})),
        ("POST", "/api/byok-keys", "label:", |name| json!({"provider": "p", "label": name, "key": "k".repeat(40)})),
        ("POST", "/api/byok-keys", "provider:", |name| json!({"provider": name, "label": "l", "key": "k".repeat(40)})),
        (
            "POST",
            "/api/channels",
            "name:",
            |name| json!({"kind": "webhook", "name": name, "destination": "https://chat.example/hook"}),
        ),
        ("PATCH", "/api/channels/ID", "name:", |name| json!({"name": name})),
        ("POST", "/api/sessions", "title:", |name| json!({"title": name})),
        ("POST", "/api/sessions", "agent:", |name| json!({"title": "t", "agent": name})),
        ("PATCH", "/api/sessions/ID/details", "title:", |name| json!({"title": name})),
        ("POST", "/api/sessions/import", "title:", |name| imported(name, "s")),
        ("POST", "/api/sessions/import", "source:", |name| imported("t", name)),
        ("POST", "/api/uploads", "name:", upload),
        ("POST", "/api/sessions/ID/uploads", "name:", upload),
        ("POST", "/api/workflows", "name:", |name| json!({"name": name, "prompt": "say hi", "triggers": []})),
        ("PATCH", "/api/workflows/ID/details", "name:", |name| json!({"name": name})),
        ("PATCH", "/api/workflows/ID/details", "agent:", |name| json!({"agent": name})),
        ("PUT", "/api/profiles/studio", "agent:", |name| json!({"agent": name})),
        ("PUT", "/api/policy", "agents[0]:", |name| json!({"agents": [name]})),
        ("PUT", "/api/maintenance", "reason:", |name| json!({"reason": name})),
        ("POST", "/api/subscription/checkout", "plan:", |name| json!({"plan": name})),
    ];

    /// Of nothing: names are looked at before anything is looked for.
    const ID: &str = "0192a000-0000-7000-8000-0000000000a1";

    fn imported(title: &str, source: &str) -> Value {
        json!({"title": title, "source": source, "messages": [{"role": "user", "text": "hi"}]})
    }

    fn upload(name: &str) -> Value {
        json!({"name": name, "media_type": "text/plain", "size": 8, "sha256": "0".repeat(64)})
    }

    async fn call(world: &World, method: &str, path: &str, body: Value) -> Answer {
        let path = path.replace("ID", ID);
        match method {
            "POST" => world.post(&path, body).await,
            "PUT" => world.put(&path, body).await,
            _ => world.patch(&path, body).await,
        }
    }

    #[tokio::test]
    async fn no_name_that_hides_something_is_taken_and_what_it_hides_is_told() {
        let world = World::new().await;
        let hiding = [("a\u{202e}b", "U+202E"), ("\u{200b}", "U+200B"), ("a\nb", "U+000A"), ("a\u{2066}b", "U+2066")];
        for (method, path, field, body) in NAMINGS {
            for (name, code) in hiding {
                let problem = call(&world, method, path, body(name)).await.expect_problem(422, "invalid");
                let detail = problem["detail"].as_str().unwrap();
                assert!(detail.contains(code) && detail.contains(*field), "{method} {path}: {detail}");
            }
        }
        // Both ways to make one are tried, so what is told is what both ask for.
        let source = json!({"name": "a\u{202e}b", "upload_id": ID});
        let problem = world.post("/api/project-sources", source).await.expect_problem(422, "invalid");
        assert!(problem["detail"].as_str().unwrap().contains("a name of 1 to 200 characters"), "{problem}");
    }

    #[tokio::test]
    async fn a_name_is_kept_composed_and_one_of_before_is_still_read() {
        let world = World::new().await;
        let made = world.post("/api/orgs", json!({"name": " cafe\u{301}\u{a0}"})).await.expect(201);
        assert_eq!(made["name"], "caf\u{e9}");
        // Each of them is two characters when it is composed.
        let long = "\u{958}".repeat(101);
        world.post("/api/orgs", json!({"name": long})).await.expect_problem(422, "invalid");
        let before = world.app.store.org_create("a\u{202e}b", "role:test").await.unwrap();
        let listed = world.get("/api/orgs").await.expect(200);
        let mut items = listed["items"].as_array().unwrap().iter();
        assert!(items.any(|org| org["name"] == json!(before.name)), "{listed}");
    }
}
