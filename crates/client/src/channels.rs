//! Channels, the threads bound to sessions, and the deliveries that go out.

use chrono::{DateTime, Utc};
use ids::{BindingId, ChannelId, DeliveryId, SessionId};
use reqwest::Method;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::etag::{made_for, tagged};
use crate::{Client, ETag, Error, Page, Tagged};

#[derive(Debug, Clone, Deserialize)]
pub struct Channel {
    pub channel_id: ChannelId,
    pub name: String,
    pub destination: String,
    /// Whether the far side takes a repeated delivery once.
    pub deduplicates: bool,
    /// Whether people of whom nobody said what they may do, prompt here.
    #[serde(default = "anybody")]
    pub unknown_may_prompt: bool,
    /// `None`: it is open.
    pub closed_at: Option<DateTime<Utc>>,
    /// Only in the answer to its creation.
    pub signing_secret: Option<SecretString>,
}

/// What changes of a channel; `None` stays as it is.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ChannelChange {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown_may_prompt: Option<bool>,
}

/// What a system of before said of every channel.
fn anybody() -> bool {
    true
}

#[derive(Debug, Clone, Deserialize)]
pub struct Binding {
    pub binding_id: BindingId,
    pub channel_id: ChannelId,
    pub thread: String,
    pub session_id: SessionId,
    /// The last event that was rendered in the thread.
    pub cursor_sequence: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Delivery {
    pub delivery_id: DeliveryId,
    pub binding_id: BindingId,
    pub channel_id: ChannelId,
    pub sequence: i64,
    /// `pending`, `sent`, `dead`, `unknown`.
    pub state: String,
    pub attempt: i32,
    pub next_attempt_at: DateTime<Utc>,
    pub last_error: Option<String>,
    pub created_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
}

impl Client {
    pub async fn channel_create(&self, name: &str, destination: &str) -> Result<Channel, Error> {
        self.channel_make(name, destination, true).await
    }

    /// A channel whose far side takes every delivery as a new message, also a repeated one.
    pub async fn channel_create_without_deduplication(&self, name: &str, destination: &str) -> Result<Channel, Error> {
        self.channel_make(name, destination, false).await
    }

    async fn channel_make(&self, name: &str, destination: &str, deduplicates: bool) -> Result<Channel, Error> {
        let channel =
            json!({"kind": "webhook", "name": name, "destination": destination, "deduplicates": deduplicates});
        self.post("/api/channels", &channel).await
    }

    pub async fn channel_list(&self, cursor: Option<&str>, limit: u32) -> Result<Page<Channel>, Error> {
        self.get_page("/api/channels", cursor, limit).await
    }

    /// A channel, with the state that a change can be made for.
    pub async fn channel_view(&self, channel: ChannelId) -> Result<Tagged<Channel>, Error> {
        tagged(self.request(Method::GET, &format!("/api/channels/{channel}"))).await
    }

    /// Renames a channel or leads it elsewhere. With `seen`, only if nobody has changed it since; else the problem
    /// `precondition_failed`.
    pub async fn channel_change(
        &self,
        channel: ChannelId,
        change: &ChannelChange,
        seen: Option<&ETag>,
    ) -> Result<Tagged<Channel>, Error> {
        let request = self.request(Method::PATCH, &format!("/api/channels/{channel}")).json(change);
        tagged(made_for(request, seen)).await
    }

    /// Closes a channel for good. Closing twice changes nothing.
    pub async fn channel_close(&self, channel: ChannelId) -> Result<(), Error> {
        self.delete(&format!("/api/channels/{channel}")).await
    }

    pub async fn binding_create(&self, channel: ChannelId, thread: &str, session: SessionId) -> Result<Binding, Error> {
        self.post("/api/bindings", &json!({"channel_id": channel, "thread": thread, "session_id": session})).await
    }

    pub async fn binding_list(&self, cursor: Option<&str>, limit: u32) -> Result<Page<Binding>, Error> {
        self.get_page("/api/bindings", cursor, limit).await
    }

    /// One that is in force.
    pub async fn binding_view(&self, binding: BindingId) -> Result<Binding, Error> {
        self.get(&format!("/api/bindings/{binding}")).await
    }

    /// Leads the binding's thread nowhere any more.
    pub async fn binding_remove(&self, binding: BindingId) -> Result<(), Error> {
        self.delete(&format!("/api/bindings/{binding}")).await
    }

    /// Deliveries of the org, of one state if it is given.
    pub async fn delivery_list(
        &self,
        state: Option<&str>,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<Delivery>, Error> {
        let path = state.map_or_else(|| "/api/deliveries".to_owned(), |state| format!("/api/deliveries?state={state}"));
        self.get_page(&path, cursor, limit).await
    }

    pub async fn delivery_view(&self, delivery: DeliveryId) -> Result<Delivery, Error> {
        self.get(&format!("/api/deliveries/{delivery}")).await
    }

    /// Sends a dead delivery again.
    pub async fn delivery_retry(&self, delivery: DeliveryId) -> Result<Delivery, Error> {
        self.post(&format!("/api/deliveries/{delivery}/retry"), &json!({})).await
    }

    /// Sends an unknown delivery again, which may arrive twice then.
    pub async fn delivery_resend(&self, delivery: DeliveryId) -> Result<Delivery, Error> {
        self.post(&format!("/api/deliveries/{delivery}/resend"), &json!({})).await
    }

    /// Says what became of an unknown delivery.
    pub async fn delivery_settle(&self, delivery: DeliveryId, arrived: bool) -> Result<Delivery, Error> {
        self.post(&format!("/api/deliveries/{delivery}/settle"), &json!({"arrived": arrived})).await
    }

    /// Sets a pending delivery aside.
    pub async fn delivery_dead_letter(&self, delivery: DeliveryId) -> Result<Delivery, Error> {
        self.post(&format!("/api/deliveries/{delivery}/dead-letter"), &json!({})).await
    }
}
