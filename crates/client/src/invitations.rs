//! Invitations. Accepting one takes a browser, and is not here.

use chrono::{DateTime, Utc};
use ids::InvitationId;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;

use crate::{Client, Error, Page};

/// An invitation, without its token.
#[derive(Debug, Clone, Deserialize)]
pub struct Invitation {
    pub invitation_id: InvitationId,
    pub email: String,
    pub role: String,
    /// `open`, `accepted` or `revoked`.
    pub state: String,
    pub expires_at: DateTime<Utc>,
}

/// An invitation that was just made.
#[derive(Debug, Clone, Deserialize)]
pub struct NewInvitation {
    pub invitation_id: InvitationId,
    /// Where the person signs in, on the server. It holds the token, and is shown only here.
    pub path: SecretString,
}

impl Client {
    /// Open for 7 days.
    pub async fn invitation_create(&self, email: &str, role: &str) -> Result<NewInvitation, Error> {
        self.post("/api/invitations", &json!({"email": email, "role": role})).await
    }

    pub async fn invitation_list(&self, cursor: Option<&str>, limit: u32) -> Result<Page<Invitation>, Error> {
        self.get_page("/api/invitations", cursor, limit).await
    }

    pub async fn invitation_view(&self, invitation: InvitationId) -> Result<Invitation, Error> {
        self.get(&format!("/api/invitations/{invitation}")).await
    }

    pub async fn invitation_revoke(&self, invitation: InvitationId) -> Result<(), Error> {
        self.delete(&format!("/api/invitations/{invitation}")).await
    }
}
