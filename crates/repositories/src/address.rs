//! Where a repository is, and what of it is wanted: as people write it, with bounds, before anything is looked up.
//!
//! Not here: whether the address may be called (`pin`).

use url::{Host, Url};

/// Characters of an address.
const ADDRESS_MAX: usize = 2_000;
/// Characters of a reference.
const REFERENCE_MAX: usize = 200;

/// The URL of a repository: `https` or `http`, with a host, and without a credential in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(Url);

/// What is wrong with it, in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadAddress(&'static str);

/// A branch, a tag, or a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a reference is the name of a branch or a tag as git takes it, or a whole commit id, of at most 200 characters"
)]
pub struct BadReference;

impl Address {
    /// # Errors
    /// If git is not to be given it.
    pub fn read(text: &str) -> Result<Self, BadAddress> {
        if text.chars().count() > ADDRESS_MAX || text.chars().any(|it| it.is_control() || it.is_whitespace()) {
            return Err(BadAddress("the address is longer than 2,000 characters, or has spaces in it"));
        }
        let url = Url::parse(text).map_err(|_| BadAddress("the address is no URL"))?;
        if !matches!(url.scheme(), "https" | "http") || url.host_str().is_none_or(str::is_empty) {
            return Err(BadAddress("the address is not an https URL with a host"));
        }
        if url.host().is_some_and(|host| matches!(host, Host::Domain(name) if !is_plain(name))) {
            return Err(BadAddress("the host of the address is no plain name"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BadAddress("the address has a user in it; bring that as `credential`, which is not kept"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(BadAddress("the address has a query or a fragment; take the one that git clones from"));
        }
        if url.port() == Some(0) {
            return Err(BadAddress("nobody listens at port 0"));
        }
        Ok(Self(url))
    }

    #[must_use]
    pub fn url(&self) -> &Url {
        &self.0
    }

    pub(crate) fn encrypted(&self) -> bool {
        self.0.scheme() == "https"
    }
}

/// One that is the same to the resolver, to curl, which has words of its own for names that begin with a sign or end with a dot, and to
/// whoever reads it.
fn is_plain(name: &str) -> bool {
    let sign = |byte: u8| matches!(byte, b'.' | b'-' | b'_');
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || sign(byte))
        && name.bytes().next().is_some_and(|first| !sign(first))
        && !name.ends_with('.')
}

impl Reference {
    /// What git itself takes for a name, and nothing that it takes for an option or for more than one.
    ///
    /// # Errors
    /// If it is none.
    pub fn read(text: &str) -> Result<Self, BadReference> {
        let fits = (1..=REFERENCE_MAX).contains(&text.chars().count())
            && !text.chars().any(|it| it.is_control() || it.is_whitespace() || "~^:?*[\\+".contains(it))
            && !text.starts_with('-')
            && text != "@"
            && !text.ends_with('.')
            && !["..", "@{"].iter().any(|never| text.contains(never))
            && text.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock"));
        fits.then(|| Self(text.to_owned())).ok_or(BadReference)
    }

    /// The commit that the server's `HEAD` leads to.
    #[must_use]
    pub fn head() -> Self {
        Self("HEAD".to_owned())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_url_that_holds_no_secret() {
        for good in [
            "https://example.org/a/b.git",
            "https://example.org:8443/a",
            "http://127.0.0.1:80/a",
            "HTTPS://EXAMPLE.org/a",
        ] {
            assert!(Address::read(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "-uproot",
            "example.org/a",
            "git@example.org:a/b.git",
            "ssh://example.org/a",
            "file:///etc",
            "ext::sh -c id",
            "https://ada:secret@example.org/a",
            "https://ada@example.org/a",
            "https://example.org/a?x=1",
            "https://example.org/a#b",
            "https://example.org/a b",
            "https://example.org/a\nhost: b",
            "https://example.org:0/a",
            "https://example.org./a",
            "https://-example.org/a",
            "https://+example.org/a",
            "https://*/a",
            "https://example.org,10.0.0.1/a",
        ] {
            assert!(Address::read(bad).is_err(), "{bad}");
        }
        assert!(Address::read(&format!("https://example.org/{}", "a".repeat(2_000))).is_err());
    }

    #[test]
    fn a_reference_is_one_name_and_no_option() {
        for good in ["main", "v1.0", "feature/größe", "refs/heads/main", "HEAD", &"a1".repeat(20), "a@b", "é"] {
            assert_eq!(Reference::read(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "-",
            "--upload-pack=id",
            "a b",
            "a:b",
            "+a",
            "a..b",
            "a^",
            "a~1",
            "a*",
            "a?",
            "[a",
            "a\\b",
            "a@{1}",
            "@",
            "/a",
            "a/",
            "a//b",
            "a/.b",
            ".a",
            "a.lock",
            "a.lock/b",
            "a.",
            "a\nb",
            "a\0b",
            "a\u{7f}",
        ] {
            assert!(Reference::read(bad).is_err(), "{bad:?}");
        }
        assert!(Reference::read(&"a".repeat(201)).is_err());
    }
}
