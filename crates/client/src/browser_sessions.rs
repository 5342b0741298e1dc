//! Browser sessions: the list, and ending one. Signing in takes a browser, and is not here.

use chrono::{DateTime, Utc};
use ids::{AccountId, BrowserSessionId};
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

impl Client {
    /// Those of the caller's account, or with `tokens.manage` of all accounts in the org.
    pub async fn browser_session_list(&self, cursor: Option<&str>, limit: u32) -> Result<Page<BrowserSession>, Error> {
        self.get_page("/api/browser-sessions", cursor, limit).await
    }

    pub async fn browser_session_revoke(&self, session: BrowserSessionId) -> Result<(), Error> {
        self.delete(&format!("/api/browser-sessions/{session}")).await
    }
}
