//! Browser sessions: the list, one's own, and ending one. Signing in takes a browser, and is not here.

use chrono::{DateTime, Utc};
use ids::{AccountId, BrowserSessionId};
use secrecy::SecretString;
use serde::Deserialize;

use crate::{Client, Error, Page};

/// A browser in which somebody signed in.
#[derive(Debug, Clone, Deserialize)]
pub struct BrowserSession {
    pub browser_session_id: BrowserSessionId,
    pub account_id: AccountId,
    /// What the browser calls itself.
    pub user_agent: String,
    pub created_at: DateTime<Utc>,
    /// Up to a minute old.
    pub last_used_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    /// `None`: nobody took it out of force.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// The browser session that a request comes with.
#[derive(Debug, Clone, Deserialize)]
pub struct CurrentBrowserSession {
    #[serde(flatten)]
    pub session: BrowserSession,
    /// What a request that changes something brings beside the cookie.
    pub csrf_token: SecretString,
}

impl Client {
    /// Those of the caller's account, or with `tokens.manage` of all accounts in the org.
    pub async fn browser_session_list(&self, cursor: Option<&str>, limit: u32) -> Result<Page<BrowserSession>, Error> {
        self.get_page("/api/browser-sessions", cursor, limit).await
    }

    /// That of [`Self::of_browser`]. With an API token: the problem `not_found`.
    pub async fn browser_session_current(&self) -> Result<CurrentBrowserSession, Error> {
        self.get("/api/browser-sessions/current").await
    }

    /// Ends that of [`Self::of_browser`]. With an API token: the problem `not_found`.
    pub async fn browser_session_sign_out(&self) -> Result<(), Error> {
        self.delete("/api/browser-sessions/current").await
    }

    pub async fn browser_session_revoke(&self, session: BrowserSessionId) -> Result<(), Error> {
        self.delete(&format!("/api/browser-sessions/{session}")).await
    }
}
