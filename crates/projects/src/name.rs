//! Names in an archive: which lead where they say, and which are left out.
//!
//! A name that was taken is relative, has no part that moves, is in Unicode's composed form (NFC), and shows all that it has: characters
//! that nobody sees, or that turn the reading direction, make two names look like one.

use domain::name::unseen;
use unicode_normalization::UnicodeNormalization as _;

/// Bytes of a whole name.
const NAME_MAX: usize = 1_000;
/// Bytes of a part of a name; file systems take no more.
const PART_MAX: usize = 255;
/// Folders in each other.
const DEPTH_MAX: usize = 32;

/// The name of a file or folder below the workspace, with `/` between its parts and at neither end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name(String);

impl Name {
    /// `Ok(None)`: it is the workspace itself.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn read(raw: &[u8]) -> Result<Option<Self>, &'static str> {
        const TOO_LONG: &str = "its name is longer than 1,000 bytes";
        let text = std::str::from_utf8(raw).map_err(|_| "its name is not UTF-8")?;
        if text.len() > NAME_MAX {
            return Err(TOO_LONG);
        }
        if text.starts_with('/') || text.contains('\\') {
            return Err("its name is absolute, or of another system");
        }
        if text.chars().any(unseen) {
            return Err("its name has characters that nobody sees");
        }
        let text: String = text.nfc().collect();
        // Some characters have no composed form, and take more bytes now.
        if text.len() > NAME_MAX {
            return Err(TOO_LONG);
        }
        let parts: Vec<&str> = text.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        if parts.contains(&"..") {
            return Err("it leads out of the workspace");
        }
        if parts.len() > DEPTH_MAX {
            return Err("it lies in more than 32 folders");
        }
        if parts.iter().any(|part| part.len() > PART_MAX) {
            return Err("a part of its name is longer than 255 bytes");
        }
        Ok((!parts.is_empty()).then(|| Self(parts.join("/"))))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The folders that it lies in, the outermost first.
    pub(crate) fn folders(&self) -> impl Iterator<Item = &str> {
        self.0.match_indices('/').map(|(at, _)| &self.0[..at])
    }

    /// Where a link of this name leads, if that is in the workspace: also if other links of the kind are on the way, since none has a part
    /// that goes up but at its beginning, and none lies behind another.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn link_to(&self, raw: &[u8]) -> Result<String, &'static str> {
        const OUT: &str = "it is a link that leads out of the workspace";
        let text = std::str::from_utf8(raw).map_err(|_| "it is a link to a name that is not UTF-8")?;
        let text: String = text.nfc().collect();
        if text.is_empty() || text.len() > NAME_MAX {
            return Err("it is a link to a name that is empty or longer than 1,000 bytes");
        }
        if text.starts_with('/') || text.contains('\\') {
            return Err(OUT);
        }
        if text.chars().any(unseen) {
            return Err("it is a link to a name with characters that nobody sees");
        }
        let mut parts = text.split('/').filter(|part| !matches!(*part, "" | ".")).peekable();
        let mut up = 0;
        while parts.next_if_eq(&"..").is_some() {
            up += 1;
        }
        if up > self.folders().count() {
            return Err(OUT);
        }
        if parts.any(|part| part == "..") {
            return Err("it is a link that goes up behind its beginning");
        }
        Ok(text)
    }

    /// Why it does not belong into a workspace. `None`: it does.
    pub(crate) fn left_out(&self) -> Option<&'static str> {
        let parts = self.0.to_lowercase();
        let mut parts = parts.split('/').peekable();
        while let Some(part) = parts.next() {
            let why = if parts.peek().is_some() { folder(part) } else { folder(part).or_else(|| file(part)) };
            if why.is_some() {
                return why;
            }
        }
        None
    }
}

/// What file systems that don't tell cases or widths apart take for the same name.
pub(crate) fn folded(name: &str) -> String {
    name.nfkc().flat_map(char::to_lowercase).nfkc().collect()
}

fn folder(part: &str) -> Option<&'static str> {
    match part {
        ".git" | ".hg" | ".svn" => Some("history of a repository"),
        ".ssh" | ".gnupg" | ".aws" | ".kube" | ".docker" | ".azure" | ".gcloud" => Some("may hold secrets"),
        "__macosx" | ".ds_store" => Some("of the machine that packed it"),
        _ => None,
    }
}

fn file(part: &str) -> Option<&'static str> {
    let example = [".example", ".sample", ".template", ".dist"].iter().any(|end| part.ends_with(end));
    let environment = (part.starts_with(".env") || part.ends_with(".env")) && !example;
    let key = ["id_rsa", "id_dsa", "id_ecdsa", "id_ed25519"].contains(&part)
        || [".pem", ".key", ".p12", ".pfx", ".jks", ".keystore", ".kdbx", ".ppk"].iter().any(|end| part.ends_with(end));
    let login = [".netrc", "_netrc", ".npmrc", ".pypirc", ".pgpass", ".git-credentials", ".htpasswd"].contains(&part);
    (environment || key || login).then_some("may hold secrets")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(raw: &str) -> Result<Option<String>, &'static str> {
        Name::read(raw.as_bytes()).map(|name| name.map(|name| name.0))
    }

    #[test]
    fn a_name_leads_below_the_workspace_or_is_refused() {
        for (raw, name) in
            [("a", "a"), ("./a//b/", "a/b"), ("a/./b", "a/b"), ("..a/b..", "..a/b.."), ("u\u{308}.txt", "\u{fc}.txt")]
        {
            assert_eq!(read(raw), Ok(Some(name.to_owned())), "{raw:?}");
        }
        assert_eq!((read("./"), read("")), (Ok(None), Ok(None)));
        let (long, deep) = ("x".repeat(256), "x/".repeat(33));
        let refused =
            ["..", "a/../../b", "/etc/passwd", "..\\b", "C:\\b", "a\0", "a\nb", "a\u{202e}gpj.exe", "a\u{200b}"];
        for raw in refused.into_iter().chain([long.as_str(), deep.as_str()]) {
            assert!(read(raw).is_err(), "{raw:?}");
        }
        assert!(Name::read(b"\xff").is_err());
    }

    #[test]
    fn a_name_is_as_long_as_what_it_is_written_as() {
        // Three bytes that are six when they are composed.
        let part = "\u{958}".repeat(40);
        let name = |parts: usize| vec![part.as_str(); parts].join("/");
        assert!(name(7).len() < NAME_MAX && read(&name(7)).is_err());
        let written = read(&name(4)).unwrap().unwrap();
        assert_eq!(read(&written), Ok(Some(written.clone())));
    }

    #[test]
    fn secrets_and_histories_are_left_out_by_their_names() {
        let left_out = |name: &str| Name::read(name.as_bytes()).unwrap().unwrap().left_out().is_some();
        for name in [
            ".env",
            ".env.local",
            "app/.ENV",
            "prod.env",
            ".git/config",
            "sub/.git",
            ".ssh/known_hosts",
            "id_ed25519",
            "tls/server.key",
            "a.PEM",
            ".npmrc",
            "__MACOSX/a",
        ] {
            assert!(left_out(name), "{name}");
        }
        for name in [".env.example", "environment.rs", ".gitignore", ".github/workflows/a.yml", "id_rsa.pub", "keys.md"]
        {
            assert!(!left_out(name), "{name}");
        }
    }

    #[test]
    fn names_that_are_one_on_other_machines_are_one_here() {
        for (one, other) in [("README", "readme"), ("\u{ff41}", "a"), ("\u{212a}", "k")] {
            let same = folded(one) == folded(other);
            assert!(same, "{one} {other}");
        }
        assert_ne!(folded("a"), folded("b"));
    }

    proptest! {
        #[test]
        fn no_name_that_was_taken_leads_out(raw in "[./a\\\\\u{308}u\u{2024}\u{ff0e}]{0,24}") {
            if let Ok(Some(name)) = Name::read(raw.as_bytes()) {
                let path = std::path::Path::new("/w").join(name.as_str());
                let plain = path.components().skip(2).all(|part| matches!(part, std::path::Component::Normal(_)));
                prop_assert!(plain && path.starts_with("/w") && path != std::path::Path::new("/w"), "{raw:?}");
                prop_assert_eq!(Name::read(name.as_str().as_bytes()), Ok(Some(name)));
            }
        }
    }
}
