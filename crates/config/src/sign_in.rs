//! How people sign in with a browser: the OpenID Connect provider, and for how long.
//!
//! Not here: the client's secret (`secrets.oidc_client`) and what cookies are sealed with (`secrets.cookie`).

use serde::Deserialize;
use url::{Host, Url};

use crate::validate::{at_least, at_most, unusable};
use crate::{ConfigError, lists};

/// The path of the API's side of a sign-in. A provider is told the whole address.
pub const CALLBACK_PATH: &str = "/auth/callback";
/// A session notes its use once a minute; one that may be idle for hardly longer would end while it is used.
const SHORTEST_IDLE_MINUTES: u64 = 5;
const LONGEST_IDLE_MINUTES: u64 = 60 * 24 * 90;
const LONGEST_HOURS: u64 = 24 * 90;
/// Bytes of an issuer and of a client's id.
const TEXT_MAX: usize = 500;
/// Domains that may be named. Each sign-in looks at all of them.
const DOMAINS_MOST: u64 = 1_000;

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// Letter for letter as the provider writes it: its metadata are at `ISSUER/.well-known/openid-configuration`.
    pub issuer: String,
    pub client_id: String,
    /// Where the provider sends people back to: this system's address as browsers know it, and [`CALLBACK_PATH`].
    pub redirect_url: String,
    /// Only people with a verified address in one of them are let in. Empty: any member.
    #[serde(default, deserialize_with = "lists::domains")]
    pub email_domains: Vec<String>,
    /// A session that is not used for so long ends.
    #[serde(default = "idle_minutes")]
    pub idle_minutes: u64,
    /// A session ends after so long, whether it is used or not.
    #[serde(default = "max_hours")]
    pub max_hours: u64,
}

fn idle_minutes() -> u64 {
    12 * 60
}

fn max_hours() -> u64 {
    7 * 24
}

impl SignIn {
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        address("sign_in.issuer", &self.issuer)?;
        if address("sign_in.redirect_url", &self.redirect_url)?.path() != CALLBACK_PATH {
            let detail = format!("its path is not {CALLBACK_PATH}");
            return Err(unusable("sign_in.redirect_url", &detail, "end it with that path"));
        }
        for (key, text) in [("sign_in.issuer", &self.issuer), ("sign_in.client_id", &self.client_id)] {
            if text.is_empty() || text.len() > TEXT_MAX {
                return Err(unusable(key, "it is empty or too long", "give it what the provider calls it"));
            }
        }
        let plain = |domain: &String| !domain.is_empty() && !domain.contains(|c: char| c == '@' || c.is_whitespace());
        if !self.email_domains.iter().all(plain) {
            return Err(unusable(
                "sign_in.email_domains",
                "one of them is no domain",
                "write what stands after the @, such as example.org",
            ));
        }
        at_most("the number of sign_in.email_domains", self.email_domains.len() as u64, DOMAINS_MOST)?;
        at_least("sign_in.idle_minutes", self.idle_minutes, SHORTEST_IDLE_MINUTES)?;
        at_most("sign_in.idle_minutes", self.idle_minutes, LONGEST_IDLE_MINUTES)?;
        at_least("sign_in.max_hours", self.max_hours, 1)?;
        at_most("sign_in.max_hours", self.max_hours, LONGEST_HOURS)
    }
}

/// Codes, tokens and cookies go there: over TLS, or never off this machine.
pub(crate) fn address(key: &str, text: &str) -> Result<Url, ConfigError> {
    let url = Url::parse(text).map_err(|_| unusable(key, "it is no address", "give it a URL"))?;
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    if url.scheme() != "https" && !(url.scheme() == "http" && loopback) {
        let advice = "give it a URL that starts with https://; http:// is for this machine itself";
        return Err(unusable(key, "it is no https address", advice));
    }
    let bare =
        url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    if bare { Ok(url) } else { Err(unusable(key, "it has more than host, port and path", "leave the rest out")) }
}
