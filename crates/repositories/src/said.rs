//! What git says when it fails, in words of ours. Its own sentences hold addresses, and what a server wanted it to say.
//!
//! Not here: running it (`git`).

use redact::Redactor;

use crate::FetchError;

/// Characters of git's own last sentence that are told.
const TOLD: usize = 200;

/// The server asked who it is. With a credential: it did not take that one.
const ASKS: &str = "could not read Username";

type Reason = fn() -> FetchError;

/// The first that is found counts. In the words of git 2.30 to 2.47, in the C locale.
const SAID: &[(&str, Reason)] = &[
    ("signal 25", || FetchError::TooLarge),
    ("File size limit exceeded", || FetchError::TooLarge),
    ("File too large", || FetchError::TooLarge),
    ("Out of memory", || FetchError::TooLarge),
    ("out of memory", || FetchError::TooLarge),
    ("Authentication failed", || FetchError::Unauthorised),
    ("returned error: 401", || FetchError::Unauthorised),
    ("returned error: 403", || FetchError::Unauthorised),
    (ASKS, || FetchError::NoRepository),
    ("could not read Password", || FetchError::Unauthorised),
    ("returned error: 30", || FetchError::Redirected),
    ("unable to update url base from redirection", || FetchError::Redirected),
    ("returned error: 404", || FetchError::NoRepository),
    ("not found", || FetchError::NoRepository),
    ("couldn't find remote ref", || FetchError::NoReference),
    ("not our ref", || FetchError::NoReference),
    ("unadvertised object", || FetchError::NoReference),
    ("no such remote ref", || FetchError::NoReference),
    ("Operation too slow", || FetchError::TooLong),
    ("unable to access", || FetchError::Unreachable),
    ("not valid: could not determine hash algorithm", || FetchError::Unreachable),
    ("early EOF", || FetchError::Unreachable),
    ("the remote end hung up", || FetchError::Unreachable),
];

/// What became of a git that failed, from what it wrote.
pub(crate) fn reason(written: &str, with_credential: bool) -> FetchError {
    if with_credential && written.contains(ASKS) {
        return FetchError::Unauthorised;
    }
    let found = SAID.iter().find(|(said, _)| written.contains(said));
    found.map_or_else(|| FetchError::Refused(last(written)), |(_, reason)| reason())
}

/// Its last sentence, on one line and without what looks like a secret.
fn last(written: &str) -> String {
    let line = written.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it said nothing");
    let plain: String = line.chars().take(TOLD).flat_map(char::escape_debug).collect();
    Redactor::new().redact(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_says_becomes_a_sentence_with_advice() {
        let check =
            |written: &str, expect: &str| assert_eq!(format!("{:?}", reason(written, false)), expect, "{written}");
        check("fatal: Authentication failed for 'https://example.org/a/'", "Unauthorised");
        check("fatal: could not read Username for 'https://example.org': terminal prompts disabled", "NoRepository");
        check("fatal: couldn't find remote ref nowhere", "NoReference");
        check("fatal: unable to access 'http://a/': The requested URL returned error: 301", "Redirected");
        check("fatal: unable to access 'https://a/': SSL certificate problem", "Unreachable");
        check("error: index-pack died of signal 25", "TooLarge");
        let asked = "fatal: could not read Username for 'https://example.org': terminal prompts disabled";
        assert!(matches!(reason(asked, true), FetchError::Unauthorised));
        check("", "Refused(\"it said nothing\")");
        check("one\nfatal: \u{1b}[31mtwo\n\n", "Refused(\"fatal: \\\\u{1b}[31mtwo\")");
    }
}
