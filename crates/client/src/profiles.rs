//! Profiles: presets that an org gives its sessions and workflows.

use chrono::{DateTime, Utc};
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use crate::etag::{ETag, Tagged, made_for, tagged};
use crate::{Client, Error, Page, Session};

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Profile {
    pub name: String,
    pub agent: String,
    /// Of sessions that begin with it.
    pub tags: Vec<String>,
    pub updated_at: DateTime<Utc>,
}

impl Client {
    /// By name.
    pub async fn profile_list(&self, cursor: Option<&str>, limit: u32) -> Result<Page<Profile>, Error> {
        self.get_page("/api/profiles", cursor, limit).await
    }

    /// A profile, with the state that a change can be made for.
    pub async fn profile_get(&self, name: &str) -> Result<Tagged<Profile>, Error> {
        tagged(self.request(Method::GET, &format!("/api/profiles/{name}"))).await
    }

    /// Makes a profile, or changes what it says. With `seen`, only if nobody has changed it since.
    pub async fn profile_put(
        &self,
        name: &str,
        agent: &str,
        tags: &[&str],
        seen: Option<&ETag>,
    ) -> Result<Tagged<Profile>, Error> {
        let body = json!({"agent": agent, "tags": tags});
        let request = self.request(Method::PUT, &format!("/api/profiles/{name}")).json(&body);
        tagged(made_for(request, seen)).await
    }

    /// Takes a profile away. With `seen`, only if nobody has changed it since.
    pub async fn profile_delete(&self, name: &str, seen: Option<&ETag>) -> Result<(), Error> {
        self.delete_seen(&format!("/api/profiles/{name}"), seen).await
    }

    /// Begins a session with what a profile says.
    pub async fn session_create_with_profile(&self, title: &str, profile: &str) -> Result<Session, Error> {
        self.post("/api/sessions", &json!({"title": title, "profile": profile})).await
    }
}
