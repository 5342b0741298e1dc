//! What looks like a secret, for a scan: the shapes of common vendors' tokens, and values that are given to names which say
//! that they are secret.
//!
//! Not here: taking such text out of what is written (`patterns`); that has to be careful about other things.

use std::ops::Range;
use std::sync::LazyLock;

use regex::bytes::{Captures, Regex};

/// Longer matches than this may be missed where a text was cut into pieces.
pub(crate) const LONGEST: usize = 4 * 1024;

/// Bits for each character that a value must have to be taken for random.
const RANDOM: f64 = 3.0;

struct Rule {
    id: &'static str,
    regex: Regex,
    /// What is in the group `value` must look random, too.
    random: bool,
}

/// A rule, and its expression; where it begins with `=`, the value must look random.
const RULES: [(&str, &str); 42] = [
    ("private_key", r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"),
    ("putty_private_key", r"PuTTY-User-Key-File-[23]"),
    ("open_cowork_token", r"\bco[wsi]_[A-Za-z0-9_-]{16,}"),
    ("webhook_secret", r"\bwhsec_[A-Za-z0-9+/=_-]{16,}"),
    ("aws_access_key_id", r"\b(?:A3T[A-Z0-9]|ABIA|ACCA|AKIA|ASIA|AGPA|AIDA|AROA|AIPA|ANPA|ANVA)[A-Z0-9]{16}\b"),
    (
        "aws_secret_access_key",
        r#"(?i)aws.{0,30}(?:key|secret|token|pw|pass).{0,20}?['"=: ](?-i:[A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+]|$)"#,
    ),
    ("azure_storage_key", r"AccountKey=[A-Za-z0-9+/]{86}=="),
    ("github_token", r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})"),
    ("gitlab_token", r"\b(?:glpat|gldt|glft|glsoat|glrt|glptt|GR1348941)-?[A-Za-z0-9_-]{20,}"),
    ("slack_token", r"\bxox[a-z]-[A-Za-z0-9-]{10,}|\bxapp-[0-9]-[A-Za-z0-9-]{10,}|\bxoxe\.xox[bp]-[A-Za-z0-9-]{10,}"),
    ("slack_webhook", r"https://hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/_-]{20,}"),
    ("stripe_key", r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{10,}"),
    ("square_token", r"\bsq0(?:atp|csp|idp)-[A-Za-z0-9_-]{22,}|\bEAAA[A-Za-z0-9_-]{60}"),
    ("google_api_key", r"\bAIza[A-Za-z0-9_-]{35}"),
    ("google_oauth_token", r"\bya29\.[A-Za-z0-9_-]{16,}"),
    ("google_client_secret", r"\bGOCSPX-[A-Za-z0-9_-]{28}"),
    ("openai_key", r"\bsk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{20,}"),
    ("anthropic_key", r"\bsk-ant-[A-Za-z0-9_-]{20,}"),
    ("huggingface_token", r"\bhf_[A-Za-z0-9]{30,}"),
    ("jwt", r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{4,}\.?[A-Za-z0-9_+/=-]*"),
    ("npm_token", r"\bnpm_[A-Za-z0-9]{36}|//.{1,200}/:_(?:authToken|password)=\s*[A-Za-z0-9_=+/-]{8,}"),
    ("pypi_token", r"\bpypi-AgE[A-Za-z0-9_-]{50,}"),
    ("sendgrid_key", r"\bSG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}"),
    ("mailchimp_key", r"\b[0-9a-f]{32}-us[0-9]{1,2}\b"),
    ("mailgun_key", r"\bkey-[0-9a-f]{32}\b"),
    ("twilio_key", r"\b(?:AC|SK)[0-9a-f]{32}\b"),
    ("telegram_token", r"\b[0-9]{8,10}:[A-Za-z0-9_-]{35}\b"),
    ("discord_token", r"\b[MNO][A-Za-z0-9_-]{23,25}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,38}\b"),
    ("artifactory_token", r"(?:^|[\s=:'\x22])(?:AKC[A-Za-z0-9]{10,}|AP[0-9A-F][A-Za-z0-9]{8,})(?:\s|$|['\x22])"),
    ("digitalocean_token", r"\bdo[opr]_v1_[0-9a-f]{64}"),
    ("shopify_token", r"\bshp(?:at|ca|pa|ss)_[A-Fa-f0-9]{32}"),
    ("databricks_token", r"\bdapi[0-9a-f]{32}"),
    ("dockerhub_token", r"\bdckr_pat_[A-Za-z0-9_-]{20,}"),
    ("linear_token", r"\blin_api_[A-Za-z0-9]{30,}"),
    ("age_secret_key", r"\bAGE-SECRET-KEY-1[A-Z0-9]{50,}"),
    (
        "database_url",
        r#"\b(?:postgres|postgresql|mysql|mariadb|redis|rediss|amqp|amqps|mongodb(?:\+srv)?)://[^\s/?#@:"'\\<>]*:[^\s"'<>@]+@"#,
    ),
    ("password_in_url", r#"://[^\s/?#@:"'\\<>\[]{1,80}:[^\s/?#@:"'<>\[\]{$]{3,}@"#),
    ("signed_url", r"(?i)[?&;](?:x-amz-signature|x-goog-signature|sig|signature)=(?:[a-z0-9+/_-]|%[0-9a-f]{2}){20,}"),
    ("authorization_header", r"(?i)\b(?:bearer|basic)\s+[a-z0-9._~+/-]{20,}={0,2}"),
    ("email", r"[A-Za-z0-9._%+-]+@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}"),
    ("host_path", r#"(?:^|[\s"'=(:])/(?:home|root|Users|var/lib|etc)/[A-Za-z0-9._/-]{3,}"#),
    (
        "secret_assignment",
        r#"=(?i)(?:secret|token|passw(?:or)?d|pwd|api[_-]?key|apikey|access[_-]?key|private[_-]?key|auth[_-]?key|credential|client[_-]?secret|db[_-]?pass|service[_-]?pass|_key|_pass)[a-z0-9_.-]{0,30}["'\]]{0,2}\s{0,3}(?::=|=>|=|:)\s{0,3}(?:["'`](?P<value>[^\s"'`]{8,200})["'`]|(?P<bare>[A-Za-z0-9+/=_-]{12,200})(?:[\s;,&]|$))"#,
    ),
];

/// The names of the rules, in order.
pub(crate) fn ids() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|(id, _)| *id)
}

/// Tells of every match in `text` that ends after `seen`, by its rule.
pub(crate) fn find(text: &[u8], seen: usize, tell: &mut impl FnMut(usize, Range<usize>)) {
    static ALL: LazyLock<Vec<Rule>> = LazyLock::new(|| RULES.iter().map(|(id, text)| Rule::new(id, text)).collect());
    let from = seen.saturating_sub(LONGEST);
    for (index, rule) in ALL.iter().enumerate() {
        for found in rule.regex.captures_iter(&text[from..]) {
            let range = found.get(0).expect("the whole match").range();
            if range.end + from > seen && rule.holds(&found) {
                tell(index, range.start + from..range.end + from);
            }
        }
    }
}

impl Rule {
    fn new(id: &'static str, text: &str) -> Self {
        let (random, expression) = text.strip_prefix('=').map_or((false, text), |rest| (true, rest));
        let regex = Regex::new(&format!("(?-u)(?m){expression}")).expect("the rules are constants");
        Self { id, regex, random }
    }

    fn holds(&self, found: &Captures<'_>) -> bool {
        let whole = &found[0];
        match self.id {
            // Addresses that stand for none.
            "email" => ![&b"@example."[..], b"@2x.", b"noreply@"].iter().any(|part| has(whole, part)),
            _ if !self.random => true,
            _ => found.name("value").or_else(|| found.name("bare")).is_some_and(|value| is_random(value.as_bytes())),
        }
    }
}

fn has(text: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(text, part).is_some()
}

/// Whether characters are as evenly spread as in something that nobody made up. A call, a variable or a path is none.
fn is_random(value: &[u8]) -> bool {
    if value.iter().any(|byte| b"(){}$<>[]".contains(byte)) || !value.iter().any(u8::is_ascii_digit) && value.len() > 40
    {
        return false;
    }
    let mut counts = [0_u32; 256];
    value.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let length = f64::from(u32::try_from(value.len()).unwrap_or(u32::MAX));
    let part = |count: &&u32| f64::from(**count) / length;
    let entropy: f64 = counts.iter().filter(|count| **count > 0).map(|count| -part(&count) * part(&count).log2()).sum();
    entropy >= RANDOM.min(length.log2() - 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Vec<&'static str> {
        let mut found = Vec::new();
        find(text.as_bytes(), 0, &mut |rule, _| found.push(RULES[rule].0));
        found
    }

    #[test]
    fn tokens_of_vendors_are_told_by_their_shape() {
        let body = "A1b2C3d4E5f6G7h8I9j0A1b2C3d4E5f6G7h8I9j0";
        assert_eq!(rules(&format!("key ghp_{body} ")), ["github_token"]);
        assert_eq!(rules(&format!("xoxb-{body}")), ["slack_token"]);
        assert_eq!(rules(&["-----BEGIN ", "PRIVATE KEY-----"].concat()), ["private_key"]);
        assert_eq!(rules("postgres://cowork:pw@db/x"), ["database_url"]);
    }

    #[test]
    fn a_value_given_to_a_secret_name_counts_if_it_is_random() {
        assert_eq!(rules("db_password = \"x7Kq!m2Pz9vL\""), ["secret_assignment"]);
        assert_eq!(rules("password = \"aaaaaaaaaaaa\""), [""; 0]);
        assert_eq!(rules("password = read_from(\"somewhere\")"), [""; 0]);
    }
}
