//! What an org allows: rules of its own, and the decision of each.
//!
//! A rule that is absent restricts nothing; an empty list allows nothing.
//!
//! Not here: who asks, and what becomes of what was there before a rule (`store::policy`, decision 0087); which addresses are
//! called at all (`egress`).

use std::fmt;
use std::str::FromStr;

use chrono::TimeDelta;
use clock::Timestamp;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// Entries of one list.
pub const ENTRIES_MAX: usize = 100;
/// Characters of a pattern: a name has 253 at most.
pub const PATTERN_CHARS: usize = 255;
/// The longest life that a rule can name, in days.
pub const TOKEN_DAYS_MAX: i64 = 3_650;

/// The rules of an org.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Policy {
    /// Agents that sessions, workflows and profiles may have.
    pub agents: Option<Vec<String>>,
    /// How long an API token may live. With it there are no new ones that never expire.
    pub token_days_max: Option<i64>,
    /// Hosts that channels may lead to.
    pub channel_hosts: Option<Vec<NamePattern>>,
    /// Domains of the addresses of those who may become members.
    pub member_domains: Option<Vec<NamePattern>>,
}

/// A rule does not allow it. What to do stands in the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefusedByPolicy {
    #[error("the org's policy does not allow this agent; `agents` of GET /api/policy names those that it does")]
    Agent,
    #[error("the org's policy has tokens expire within {days_max} days; set expires_at to an earlier instant")]
    TokenLife { days_max: i64 },
    #[error(
        "the org's policy does not allow messages to this host; `channel_hosts` of GET /api/policy names those that it does"
    )]
    ChannelHost,
    #[error(
        "the org's policy does not allow addresses of this domain; `member_domains` of GET /api/policy names those that it does"
    )]
    MemberDomain,
}

impl Policy {
    /// # Errors
    /// If nothing of the org may have this agent.
    pub fn judge_agent(&self, agent: &str) -> Result<(), RefusedByPolicy> {
        let allowed = self.agents.as_ref().is_none_or(|agents| agents.iter().any(|allowed| allowed == agent));
        allowed.then_some(()).ok_or(RefusedByPolicy::Agent)
    }

    /// # Errors
    /// If a token that is made now may not live that long. `expires_at` is `None` for one that never expires.
    pub fn judge_token(&self, expires_at: Option<Timestamp>, now: Timestamp) -> Result<(), RefusedByPolicy> {
        let Some(days_max) = self.token_days_max else { return Ok(()) };
        let latest = now + TimeDelta::days(days_max);
        let allowed = expires_at.is_some_and(|at| at <= latest);
        allowed.then_some(()).ok_or(RefusedByPolicy::TokenLife { days_max })
    }

    /// # Errors
    /// If no channel may lead there.
    pub fn judge_destination(&self, url: &Url) -> Result<(), RefusedByPolicy> {
        let allowed = self.channel_hosts.as_ref().is_none_or(|hosts| match url.host() {
            Some(host) => hosts.iter().any(|pattern| pattern.covers(&host.to_owned())),
            None => false,
        });
        allowed.then_some(()).ok_or(RefusedByPolicy::ChannelHost)
    }

    /// # Errors
    /// If nobody with this address may become a member.
    pub fn judge_email(&self, email: &str) -> Result<(), RefusedByPolicy> {
        let Some(domains) = &self.member_domains else { return Ok(()) };
        let domain = email.rsplit_once('@').and_then(|(_, domain)| Host::parse(domain).ok());
        let allowed = domain.is_some_and(|domain| domains.iter().any(|pattern| pattern.covers(&domain)));
        allowed.then_some(()).ok_or(RefusedByPolicy::MemberDomain)
    }
}

/// A host by its name or address, or all names below one: `chat.example.org`, `192.0.2.7`, `*.example.org`. In lower case, and in
/// the spelling that is looked up (punycode).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NamePattern {
    host: Host,
    /// Only names below it, at any depth; not itself.
    below: bool,
}

/// It names no host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a host is written as chat.example.org, 192.0.2.7, [2001:db8::7], or *.example.org for all names below one")]
pub struct NotAPattern;

impl NamePattern {
    fn covers(&self, host: &Host) -> bool {
        match (&self.host, host) {
            (Host::Domain(ours), Host::Domain(theirs)) => {
                let theirs = theirs.strip_suffix('.').unwrap_or(theirs);
                if self.below {
                    let rest = theirs.strip_suffix(ours.as_str()).and_then(|rest| rest.strip_suffix('.'));
                    rest.is_some_and(|rest| !rest.is_empty())
                } else {
                    ours == theirs
                }
            }
            (ours, theirs) => !self.below && ours == theirs,
        }
    }
}

impl FromStr for NamePattern {
    type Err = NotAPattern;

    fn from_str(text: &str) -> Result<Self, NotAPattern> {
        if text.chars().count() > PATTERN_CHARS {
            return Err(NotAPattern);
        }
        let (below, name) = text.strip_prefix("*.").map_or((false, text), |name| (true, name));
        let host = Host::parse(name.strip_suffix('.').unwrap_or(name)).map_err(|_| NotAPattern)?;
        match &host {
            // A star in the middle is a character of a name here, which no name has.
            Host::Domain(name) if name.is_empty() || name.contains('*') => Err(NotAPattern),
            Host::Ipv4(_) | Host::Ipv6(_) if below => Err(NotAPattern),
            _ => Ok(Self { host, below }),
        }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}{}", if self.below { "*." } else { "" }, self.host)
    }
}

impl TryFrom<String> for NamePattern {
    type Error = NotAPattern;

    fn try_from(text: String) -> Result<Self, NotAPattern> {
        text.parse()
    }
}

impl From<NamePattern> for String {
    fn from(pattern: NamePattern) -> Self {
        pattern.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(texts: &[&str]) -> Vec<NamePattern> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn without_rules_everything_is_allowed_and_an_empty_list_allows_nothing() {
        let (now, url) = (Timestamp::UNIX_EPOCH, "https://chat.example/".parse().unwrap());
        let free = Policy::default();
        assert_eq!(free.judge_agent("any"), Ok(()));
        assert_eq!(free.judge_token(None, now), Ok(()));
        assert_eq!(free.judge_destination(&url), Ok(()));
        assert_eq!(free.judge_email("ada@example.org"), Ok(()));
        let (agents, channel_hosts, member_domains) = (Some(Vec::new()), Some(Vec::new()), Some(Vec::new()));
        let closed = Policy { agents, token_days_max: Some(1), channel_hosts, member_domains };
        assert_eq!(closed.judge_agent("any"), Err(RefusedByPolicy::Agent));
        assert_eq!(closed.judge_token(None, now), Err(RefusedByPolicy::TokenLife { days_max: 1 }));
        assert_eq!(closed.judge_destination(&url), Err(RefusedByPolicy::ChannelHost));
        assert_eq!(closed.judge_email("ada@example.org"), Err(RefusedByPolicy::MemberDomain));
    }

    #[test]
    fn a_token_lives_to_the_last_instant_that_is_allowed() {
        let (now, policy) = (Timestamp::UNIX_EPOCH, Policy { token_days_max: Some(90), ..Policy::default() });
        let ends = now + TimeDelta::days(90);
        assert!(policy.judge_token(Some(ends), now).is_ok());
        assert!(policy.judge_token(Some(ends + TimeDelta::microseconds(1)), now).is_err());
    }

    #[test]
    fn a_host_is_allowed_by_its_name_or_by_one_above_it() {
        let hosts = patterns(&["Chat.Example.org", "*.hooks.example", "192.0.2.7", "[2001:db8::7]", "bücher.example"]);
        let policy = Policy { channel_hosts: Some(hosts), ..Policy::default() };
        for (url, allowed) in [
            ("https://chat.example.org/hook", true),
            ("https://CHAT.example.org.:8443/", true),
            ("https://a.chat.example.org/", false),
            ("https://chat.example.org.evil.example/", false),
            ("https://a.b.hooks.example/", true),
            ("https://hooks.example/", false),
            ("https://evilhooks.example/", false),
            ("https://192.0.2.7/", true),
            ("https://0xc0.0.2.7/", true),
            ("https://192.0.2.8/", false),
            ("https://[2001:db8:0::7]/", true),
            ("https://xn--bcher-kva.example/", true),
            ("https://chat.example.org@evil.example/", false),
        ] {
            assert_eq!(policy.judge_destination(&url.parse().unwrap()).is_ok(), allowed, "{url}");
        }
    }

    #[test]
    fn an_address_is_judged_by_what_follows_its_last_at() {
        let policy = Policy { member_domains: Some(patterns(&["example.org"])), ..Policy::default() };
        for (email, allowed) in [
            ("ada@example.org", true),
            ("ada@EXAMPLE.org", true),
            ("ada@sub.example.org", false),
            ("ada@example.org@evil.example", false),
            ("\"ada@evil.example\"@example.org", true),
            ("example.org", false),
            ("ada@", false),
        ] {
            assert_eq!(policy.judge_email(email).is_ok(), allowed, "{email}");
        }
    }

    #[test]
    fn a_pattern_reads_back_and_what_names_no_host_is_refused() {
        for text in ["chat.example.org", "*.example.org", "192.0.2.7", "[2001:db8::7]", "localhost"] {
            assert_eq!(text.parse::<NamePattern>().unwrap().to_string(), text);
        }
        let long = "a".repeat(PATTERN_CHARS + 1);
        for text in ["", "*", "*.", ".", "a b", "a/b", "a:80", "https://a", "a.*.b", "*.192.0.2.7", "x@y", &long] {
            assert!(text.parse::<NamePattern>().is_err(), "{text:?}");
        }
    }
}
