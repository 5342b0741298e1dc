//! Orgs, members, API tokens.

use chrono::{DateTime, Utc};
use ids::{AccountId, OrgId, TokenId};
use reqwest::Method;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;

use crate::etag::{ETag, Tagged, made_for, tagged};
use crate::{Client, Error, Page};

#[derive(Debug, Clone, Deserialize)]
pub struct Org {
    pub org_id: OrgId,
    pub name: String,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Member {
    pub account_id: AccountId,
    pub display_name: String,
    pub role: String,
}

/// A name for a set of permissions.
#[derive(Debug, Clone, Deserialize)]
pub struct Role {
    pub name: String,
    /// Every org has it, and nobody changes it.
    pub built_in: bool,
    /// Such as `sessions.read`.
    pub permissions: Vec<String>,
}

/// A token, without its secret.
#[derive(Debug, Clone, Deserialize)]
pub struct Token {
    pub token_id: TokenId,
    pub account_id: AccountId,
    pub name: String,
    /// What it begins with. `None`: it was made before that was kept.
    pub prefix: Option<String>,
    pub last_four: String,
    pub scopes: Vec<String>,
    /// To the minute. `None`: never, or not since it is noted.
    pub last_used_at: Option<DateTime<Utc>>,
    /// `None`: never.
    pub expires_at: Option<DateTime<Utc>>,
    /// `None`: in force.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// A token that was just made. The secret is shown only here.
#[derive(Debug, Clone, Deserialize)]
pub struct NewToken {
    pub token_id: TokenId,
    pub token: SecretString,
}

impl Client {
    /// Takes operator scope.
    pub async fn org_create(&self, name: &str) -> Result<Org, Error> {
        self.post("/api/orgs", &json!({"name": name})).await
    }

    /// Takes operator scope.
    pub async fn org_list(&self, cursor: Option<&str>, limit: u32) -> Result<Page<Org>, Error> {
        self.get_page("/api/orgs", cursor, limit).await
    }

    /// The org that the caller acts in, with the state that a change can be made for.
    pub async fn org_view(&self) -> Result<Tagged<Org>, Error> {
        tagged(self.request(Method::GET, "/api/org")).await
    }

    /// Gives the org that the caller acts in another name. With `seen`, only if nobody has changed it since; else the problem
    /// `precondition_failed`.
    pub async fn org_rename(&self, name: &str, seen: Option<&ETag>) -> Result<Tagged<Org>, Error> {
        let request = self.request(Method::PATCH, "/api/org").json(&json!({"name": name}));
        tagged(made_for(request, seen)).await
    }

    pub async fn member_create(&self, email: &str, display_name: &str, role: &str) -> Result<Member, Error> {
        self.post("/api/members", &json!({"email": email, "display_name": display_name, "role": role})).await
    }

    pub async fn member_list(&self, cursor: Option<&str>, limit: u32) -> Result<Page<Member>, Error> {
        self.get_page("/api/members", cursor, limit).await
    }

    /// A member, with the state that a change can be made for.
    pub async fn member_get(&self, account: AccountId) -> Result<Tagged<Member>, Error> {
        tagged(self.request(Method::GET, &format!("/api/members/{account}"))).await
    }

    /// Takes an account out of the org. With `seen`, only if nobody has changed it since.
    pub async fn member_remove(&self, account: AccountId, seen: Option<&ETag>) -> Result<(), Error> {
        self.delete_seen(&format!("/api/members/{account}"), seen).await
    }

    /// Gives a member another role. With `seen`, only if nobody has changed it since.
    pub async fn member_change(
        &self,
        account: AccountId,
        role: &str,
        seen: Option<&ETag>,
    ) -> Result<Tagged<Member>, Error> {
        let request = self.request(Method::PATCH, &format!("/api/members/{account}")).json(&json!({"role": role}));
        tagged(made_for(request, seen)).await
    }

    /// Those that are built in, then the org's own by name.
    pub async fn role_list(&self, cursor: Option<&str>, limit: u32) -> Result<Page<Role>, Error> {
        self.get_page("/api/roles", cursor, limit).await
    }

    /// A role of the org's own, with the state that a change can be made for.
    pub async fn role_get(&self, name: &str) -> Result<Tagged<Role>, Error> {
        tagged(self.request(Method::GET, &format!("/api/roles/{name}"))).await
    }

    /// Makes a role of the org's own, or changes what it permits. With `seen`, only if nobody has changed it since.
    pub async fn role_put(&self, name: &str, permissions: &[&str], seen: Option<&ETag>) -> Result<Tagged<Role>, Error> {
        let body = json!({"permissions": permissions});
        let request = self.request(Method::PUT, &format!("/api/roles/{name}")).json(&body);
        tagged(made_for(request, seen)).await
    }

    /// Takes a role away that no member has. With `seen`, only if nobody has changed it since.
    pub async fn role_delete(&self, name: &str, seen: Option<&ETag>) -> Result<(), Error> {
        self.delete_seen(&format!("/api/roles/{name}"), seen).await
    }

    /// `scopes`: `read`, `write`, `operator`, or permissions by name. For the caller's own account unless another is named.
    pub async fn token_create(
        &self,
        name: &str,
        scopes: &[&str],
        account: Option<AccountId>,
    ) -> Result<NewToken, Error> {
        let mut token = json!({"name": name, "scopes": scopes});
        if let Some(account) = account {
            token["account_id"] = json!(account);
        }
        self.post("/api/tokens", &token).await
    }

    pub async fn token_list(&self, cursor: Option<&str>, limit: u32) -> Result<Page<Token>, Error> {
        self.get_page("/api/tokens", cursor, limit).await
    }

    pub async fn token_view(&self, token: TokenId) -> Result<Token, Error> {
        self.get(&format!("/api/tokens/{token}")).await
    }

    pub async fn token_revoke(&self, token: TokenId) -> Result<(), Error> {
        self.delete(&format!("/api/tokens/{token}")).await
    }
}
