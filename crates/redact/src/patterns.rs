//! What looks like a secret.
//!
//! The patterns work on plain text and on JSON text: where a word must begin, an escape such as `\n` may stand before
//! it, and what is put in never breaks a string's escapes.
//!
//! Host paths are the delicate ones: `/home/a/b` must go, `/api/sessions/7` must stay. A path goes if it is absolute, has
//! two parts or more, isn't inside a URL, doesn't follow an HTTP method, doesn't begin with one of our [`ROUTES`] and is
//! not the null device.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::bytes::{Captures, Regex};

/// First parts of the paths that our own listeners answer.
const ROUTES: [&[u8]; 9] =
    [b"api", b"hooks", b"livez", b"readyz", b"healthz", b"metrics", b"assets", b"static", b"pages"];
const METHODS: [&[u8]; 7] = [b"GET ", b"POST ", b"PUT ", b"PATCH ", b"DELETE ", b"HEAD ", b"OPTIONS "];

/// Fields that hold a secret whatever it looks like.
const FIELDS: [&str; 10] = [
    "password",
    "passwd",
    "authorization",
    "client_secret",
    "secret_key",
    "private_key",
    "api_key",
    "access_token",
    "refresh_token",
    "id_token",
];

/// Where a word begins.
const START: &str = r"(?P<start>^|[^A-Za-z0-9]|\\[bfnrt]|\\u[0-9A-Fa-f]{4})";
/// An escape whose letter would be taken for the first of a word.
const ESCAPE: &str = r"(?P<start>\\[bfnrt]|\\u[0-9A-Fa-f]{4})?";
/// A part of a path.
const PART: &str = r#"[^\s/"'<>|,;:()\[\]{}\\`*?&=$^!\x00-\x1f]+"#;

struct Pattern {
    /// Without any of these bytes there is nothing to find, and looking for a byte is cheap.
    hints: &'static [u8],
    regex: Regex,
    replacement: &'static str,
    /// Whether this match is one after all.
    holds: fn(&[u8], &Captures<'_>) -> bool,
}

/// `bytes` without what looks like a secret; host paths are left where `keep_paths`.
pub(crate) fn redact(bytes: &[u8], keep_paths: bool) -> Cow<'_, [u8]> {
    static PATTERNS: LazyLock<Vec<Pattern>> = LazyLock::new(all);
    let mut redacted = Cow::Borrowed(bytes);
    for pattern in PATTERNS.iter().filter(|pattern| !(keep_paths && pattern.is_path())) {
        if let Cow::Owned(next) = pattern.apply(&redacted) {
            redacted = Cow::Owned(next);
        }
    }
    redacted
}

/// Whether a field of this name holds a secret.
pub(crate) fn field_is_secret(name: &str) -> bool {
    FIELDS.iter().any(|field| name.eq_ignore_ascii_case(field))
}

impl Pattern {
    fn is_path(&self) -> bool {
        self.replacement.contains("host_path")
    }

    fn apply<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        if !self.hints.is_empty() && !bytes.iter().any(|byte| self.hints.contains(byte)) {
            return Cow::Borrowed(bytes);
        }
        self.regex.replace_all(bytes, |found: &Captures<'_>| {
            let mut out = Vec::new();
            if (self.holds)(bytes, found) {
                found.expand(self.replacement.as_bytes(), &mut out);
            } else {
                out.extend_from_slice(&found[0]);
            }
            out
        })
    }
}

fn pattern(hints: &'static [u8], regex: &str, replacement: &'static str) -> Pattern {
    let regex = Regex::new(&format!("(?-u){regex}")).expect("the patterns are constants");
    Pattern { hints, regex, replacement, holds: |_, _| true }
}

fn all() -> Vec<Pattern> {
    [tokens(), fields(), urls(), places()].into_iter().flatten().collect()
}

/// A pattern for something that begins where a word does.
fn word(hints: &'static [u8], regex: &str, replacement: &'static str) -> Pattern {
    Pattern { holds: begins_a_word, ..pattern(hints, &format!("{START}(?P<word>{regex})"), replacement) }
}

fn tokens() -> Vec<Pattern> {
    vec![
        pattern(
            b"-",
            r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----(?:[A-Za-z0-9+/=:,\s]|-[A-Za-z0-9]|\\[nr])*(?:-----END [A-Z0-9 ]*PRIVATE KEY-----)?",
            "[redacted:private_key]",
        ),
        word(b"_", r"co[wsi]_[A-Za-z0-9_-]{16,}", "${start}[redacted:api_token]"),
        word(b"_", r"whsec_[A-Za-z0-9+/=_-]{16,}", "${start}[redacted:channel_credential]"),
        word(
            b"-_AI",
            r"sk-[A-Za-z0-9_-]{16,}|[sr]k_(?:live|test)_[A-Za-z0-9]{10,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}|npm_[A-Za-z0-9]{30,}|hf_[A-Za-z0-9]{24,}|A[KS]IA[A-Z0-9]{16}|AIza[A-Za-z0-9_-]{30,}",
            "${start}[redacted:api_key]",
        ),
        word(
            b"-.:",
            r"xox[a-z]-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{10,}|ya29\.[A-Za-z0-9_-]{16,}|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*|[0-9]{8,12}:[A-Za-z0-9_-]{35}",
            "${start}[redacted:oauth_token]",
        ),
        pattern(b"rR", r"(?i)(?P<scheme>bearer\s+)[a-z0-9._~+/=-]{12,}", "${scheme}[redacted:bearer_token]"),
        pattern(
            b"zZ",
            r#"(?i)(?P<name>authorization\\*["']?\s*[:=]\s*\\*["']?(?:basic|token|digest)\s+)[a-z0-9._~+/=-]+"#,
            "${name}[redacted:authorization]",
        ),
    ]
}

fn fields() -> Vec<Pattern> {
    let names = FIELDS.join("|");
    let query = r"signature|sig|token|password|passwd|pwd|sslpassword|secret|client_secret|api[_-]?key|x-(?:amz|goog)-(?:signature|credential|security-token)|awsaccesskeyid|googleaccessid";
    vec![
        pattern(
            b":",
            &format!(r#"(?i)(?P<name>\\*"(?:{names})\\*"\s*:\s*\\*")[^"\\\[][^"\\]*"#),
            "${name}[redacted:secret]",
        ),
        pattern(
            b"=",
            &format!(r#"(?i){START}(?P<name>(?:{query})=)[^&\s"'<>\\;,)\[][^&\s"'<>\\;,)]*"#),
            "${start}${name}[redacted:signed_url_query]",
        ),
        pattern(
            b"=",
            r#"(?i)(?P<name>[?&](?:amp;)?(?:key|code|auth|credential|policy)=)[^&\s"'<>\\;,)\[][^&\s"'<>\\;,)]*"#,
            "${name}[redacted:signed_url_query]",
        ),
    ]
}

fn urls() -> Vec<Pattern> {
    vec![
        // A database password may hold a slash that nobody escaped.
        pattern(
            b"@",
            r#"(?i)(?P<user>(?:postgres|postgresql|mysql|mariadb|redis|rediss|amqp|amqps|mongodb)://[^\s/?#@:"'\\<>]*):[^\s"'<>]+@"#,
            "${user}:[redacted:password]@",
        ),
        pattern(b"@", r#"(?P<user>://[^\s/?#@:"'\\<>]*):[^\s/"'<>]+@"#, "${user}:[redacted:password]@"),
        pattern(b"@", r#"://[^\s/?#@:"'\\<>\[]{20,}@"#, "://[redacted:password]@"),
        Pattern {
            holds: begins_a_word,
            ..pattern(
                b"@%",
                &format!(
                    r"{ESCAPE}(?P<word>[A-Za-z0-9._%+\x80-\xff-]+(?:@|%40)(?:[A-Za-z0-9\x80-\xff-]+\.)+[A-Za-z\x80-\xff]{{2,}})"
                ),
                "${start}[redacted:email]",
            )
        },
    ]
}

fn places() -> Vec<Pattern> {
    let before = r"(?P<start>^|(?i:file)://|\\[bfnrt]|\\u[0-9A-Fa-f]{4}|[^A-Za-z0-9_./~<#\\})\]+*-])";
    vec![
        Pattern {
            holds: |text, found| !is_route(text, found),
            ..pattern(
                b"/",
                &format!(r"{before}(?P<path>\\?/(?P<first>{PART})(?:\\?/{PART})+/?)"),
                "${start}[redacted:host_path]",
            )
        },
        word(b"\\", r#"[A-Za-z]:(?:\\{1,2}[^\s"'<>|\\/:*?]+){2,}"#, "${start}[redacted:host_path]"),
    ]
}

/// Not if the first letter belongs to an escape: taking it away would break the string that it stands in.
fn begins_a_word(text: &[u8], found: &Captures<'_>) -> bool {
    let word = found.name("word").expect("the pattern has a word");
    let backslashes = text[..word.start()].iter().rev().take_while(|byte| **byte == b'\\').count();
    backslashes % 2 == 0 || !b"bfnrtu".contains(&word.as_bytes()[0])
}

fn is_route(text: &[u8], found: &Captures<'_>) -> bool {
    let path = found.name("path").expect("the pattern has a path");
    let before = &text[..path.start()];
    &found["path"] == b"/dev/null"
        || ROUTES.contains(&&found["first"])
        || METHODS.iter().any(|method| before.ends_with(method))
}
