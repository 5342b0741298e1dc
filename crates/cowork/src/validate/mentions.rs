//! Names of the program in running text, each with its line.
//!
//! Not here: whether they exist (`program`), commands (`commands`).

use std::sync::LazyLock;

use regex::Regex;

/// Something that a text names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mention<'a> {
    pub(crate) line: usize,
    pub(crate) name: &'a str,
}

static METRIC: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\bcowork_[a-z0-9_]+[a-z0-9]\b").expect("it is one"));
static VARIABLE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\bCOWORK_[A-Z0-9_]+[A-Z0-9]\b").expect("it is one"));
static ROUTE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"/(?:api|hooks)/[A-Za-z0-9_${}/-]+|/(?:livez|readyz|healthz|metrics)\b").expect("it is one")
});
static LINK: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\]\(([^)\s]+)\)").expect("it is one"));

fn all<'a>(pattern: &'static Regex, text: &'a str, group: usize) -> impl Iterator<Item = Mention<'a>> {
    text.lines().enumerate().flat_map(move |(number, line)| {
        let found = pattern.captures_iter(line).filter_map(move |captures| captures.get(group));
        found.map(move |found| Mention { line: number + 1, name: found.as_str() })
    })
}

pub(crate) fn metrics(text: &str) -> impl Iterator<Item = Mention<'_>> {
    all(&METRIC, text, 0)
}

pub(crate) fn variables(text: &str) -> impl Iterator<Item = Mention<'_>> {
    all(&VARIABLE, text, 0)
}

/// Paths of the API, without their query.
pub(crate) fn routes(text: &str) -> impl Iterator<Item = Mention<'_>> {
    all(&ROUTE, text, 0)
}

/// Where the text's links lead: files below the same root, without their anchor.
pub(crate) fn links(text: &str) -> impl Iterator<Item = Mention<'_>> {
    let local = |name: &str| !name.contains("://") && !name.starts_with('#') && !name.starts_with("mailto:");
    all(&LINK, text, 1)
        .filter(move |mention| local(mention.name))
        .map(|mention| Mention { name: mention.name.split('#').next().unwrap_or_default(), ..mention })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_with_their_lines() {
        let text = "one `cowork_sessions`.\nGET /api/sessions/$ID/events?after=3, then COWORK_WEB__LISTEN;\n[x](a/b.md#c) \
                    [y](https://example.org)";
        assert_eq!(metrics(text).collect::<Vec<_>>(), [Mention { line: 1, name: "cowork_sessions" }]);
        assert_eq!(routes(text).collect::<Vec<_>>(), [Mention { line: 2, name: "/api/sessions/$ID/events" }]);
        assert_eq!(variables(text).collect::<Vec<_>>(), [Mention { line: 2, name: "COWORK_WEB__LISTEN" }]);
        assert_eq!(links(text).collect::<Vec<_>>(), [Mention { line: 3, name: "a/b.md" }]);
    }
}
