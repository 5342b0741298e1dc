//! People in chats, and the questions of agents that they were told of.

use chrono::{DateTime, Utc};
use ids::{AccountId, BindingId, ChannelId, ChannelIdentityId, CommandId, InteractionId, SessionId};
use reqwest::Method;
use serde::{Deserialize, Serialize};

use crate::etag::{made_for, tagged};
use crate::{Client, ETag, Error, Page, Tagged};

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ChannelIdentity {
    pub channel_identity_id: ChannelIdentityId,
    pub channel_id: ChannelId,
    /// What the chat calls the person.
    pub external_id: String,
    pub name: String,
    pub account_id: Option<AccountId>,
    pub may_prompt: bool,
    pub may_decide: bool,
    /// `pending`, `active`, `disabled`.
    pub state: String,
    pub created_at: DateTime<Utc>,
}

/// What is said of a person in a chat, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChannelIdentityChange {
    pub account_id: Option<AccountId>,
    pub may_prompt: bool,
    /// Takes an account.
    pub may_decide: bool,
    /// `active`, `disabled`.
    pub state: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Interaction {
    pub interaction_id: InteractionId,
    pub session_id: SessionId,
    pub binding_id: BindingId,
    pub request_id: String,
    /// `approval`, `answer`.
    pub kind: String,
    /// `open`, `decided`, `ended`, `expired`, `void`.
    pub state: String,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub decision: Option<String>,
    pub decided_by: Option<ChannelIdentityId>,
    pub command_id: Option<CommandId>,
    pub decided_at: Option<DateTime<Utc>>,
}

impl Client {
    /// People who have written at the org's channels: at one of them if it is given, in one state if it is given.
    pub async fn channel_identity_list(
        &self,
        channel: Option<ChannelId>,
        state: Option<&str>,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<ChannelIdentity>, Error> {
        #[derive(Serialize)]
        struct Filter<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            channel_id: Option<ChannelId>,
            #[serde(skip_serializing_if = "Option::is_none")]
            state: Option<&'a str>,
        }
        let filter = Filter { channel_id: channel, state };
        self.get_matching("/api/channel-identities", &filter, cursor, limit).await
    }

    /// A person in a chat, with the state that a change can be made for.
    pub async fn channel_identity_view(&self, identity: ChannelIdentityId) -> Result<Tagged<ChannelIdentity>, Error> {
        tagged(self.request(Method::GET, &format!("/api/channel-identities/{identity}"))).await
    }

    /// Says what a person may do by chat. With `seen`, only if nobody has said something else since.
    pub async fn channel_identity_change(
        &self,
        identity: ChannelIdentityId,
        change: &ChannelIdentityChange,
        seen: Option<&ETag>,
    ) -> Result<Tagged<ChannelIdentity>, Error> {
        let request = self.request(Method::PUT, &format!("/api/channel-identities/{identity}")).json(change);
        tagged(made_for(request, seen)).await
    }

    /// Questions of a session that threads were told of.
    pub async fn interaction_list(
        &self,
        session: SessionId,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<Interaction>, Error> {
        self.get_page(&format!("/api/sessions/{session}/interactions"), cursor, limit).await
    }

    pub async fn interaction_view(&self, session: SessionId, interaction: InteractionId) -> Result<Interaction, Error> {
        self.get(&format!("/api/sessions/{session}/interactions/{interaction}")).await
    }
}
