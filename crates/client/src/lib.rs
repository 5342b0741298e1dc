//! A typed client of Open Cowork's public API.
//!
//! A file per resource adds methods to [`Client`], named like the store's: noun first (`session_create`). A call is sent
//! once; nothing is retried here, since only the caller knows whether a repeat is harmless.
//!
//! Not here: anything that is not public. What the API does not show, this does not know.

mod agents;
mod artifacts;
mod audit;
mod billing;
mod browser_sessions;
mod byok;
mod channels;
mod chats;
mod credential;
mod drills;
mod error;
mod etag;
mod invitations;
mod operations;
mod orgs;
mod page;
mod policy;
mod profiles;
mod project_sources;
mod quotas;
mod sessions;
mod subjects;
mod uploads;
mod workflows;

use std::time::Duration;

use ids::OrgId;
use reqwest::{Method, RequestBuilder, Response};
use secrecy::SecretString;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::credential::Credential;
use crate::etag::made_for;

pub use crate::agents::{Agent, Agents};
pub use crate::artifacts::Artifact;
pub use crate::audit::{AuditFault, AuditFilter, AuditFormat, AuditRecord, AuditVerification, SealedAuditRecord};
pub use crate::billing::{Allowance, Plan, SubscriptionTerms};
pub use crate::browser_sessions::{BrowserSession, CurrentBrowserSession};
pub use crate::byok::ByokKey;
pub use crate::channels::{Binding, Channel, ChannelChange, Delivery};
pub use crate::chats::{ChannelIdentity, ChannelIdentityChange, Interaction};
pub use crate::drills::{Drill, DrillCheck, DrillDetails, Finding, FindingSeen, Seal};
pub use crate::error::{Error, Problem};
pub use crate::etag::{ETag, Tagged};
pub use crate::invitations::{Invitation, NewInvitation};
pub use crate::operations::{
    Backlog, Backups, Diagnostics, LastDrill, LastDrills, Maintenance, SecretStatus, Subscription, Usage, UsageModel,
    UsageOfDay, UsagePeriod, UsageTotal, Workspace, WorkspaceOrg,
};
pub use crate::orgs::{Member, NewToken, Org, Role, Token};
pub use crate::page::Page;
pub use crate::policy::{OrgPolicy, Policy};
pub use crate::profiles::Profile;
pub use crate::project_sources::{LeftOut, ProjectSource, SourceRepository};
pub use crate::quotas::{Quota, QuotaUse};
pub use crate::sessions::{
    Acknowledged, Command, Event, FeedEvent, ImportSession, ImportedMessage, Projection, ProjectionStatus,
    RebuiltProjection, Session, SessionChange, SessionDetails, SessionSearch, SessionView, WhileRunning, Wish,
};
pub use crate::subjects::Erasure;
pub use crate::uploads::{NewUpload, Upload};
pub use crate::workflows::{
    NewTrigger, NewWorkflow, Run, Slot, Trigger, Workflow, WorkflowAction, WorkflowChange, WorkflowDetails,
};

/// How long a call may take from connecting to the last byte. Streams have no such limit.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// A caller of one server, with one token or one browser's cookie. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    /// Without a slash at its end.
    base_url: String,
    credential: Credential,
    org: Option<OrgId>,
    idempotency_key: Option<String>,
}

impl Client {
    /// `base_url` is like `http://127.0.0.1:8080`.
    ///
    /// # Panics
    /// If the HTTP client can't be set up, which takes a machine without working sockets.
    #[must_use]
    pub fn new(base_url: impl Into<String>, token: SecretString) -> Self {
        let base_url: String = base_url.into();
        Self::with(&base_url, Credential::Token(token))
    }

    /// Somebody who signed in with a browser, by what the browser keeps: `cookie` is `NAME=VALUE`. What
    /// changes something takes the `csrf_token` of [`Self::browser_session_current`], too, and a `base_url` as browsers
    /// know it.
    ///
    /// # Panics
    /// As [`Self::new`].
    #[must_use]
    pub fn of_browser(base_url: impl Into<String>, cookie: SecretString, csrf_token: Option<SecretString>) -> Self {
        let base_url: String = base_url.into();
        Self::with(&base_url, Credential::Browser { cookie, csrf_token })
    }

    fn with(base_url: &str, credential: Credential) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client without TLS needs nothing");
        let base_url = base_url.trim_end_matches('/').to_owned();
        Self { http, base_url, credential, org: None, idempotency_key: None }
    }

    /// The same caller, acting in another org. Takes a token with operator scope.
    #[must_use]
    pub fn in_org(&self, org: OrgId) -> Self {
        Self { org: Some(org), ..self.clone() }
    }

    /// The same caller, whose next change is made once, however often it is asked for: a repeat with the same key, within 24
    /// hours, gets the first one's answer. A key stands for one request.
    #[must_use]
    pub fn once(&self, idempotency_key: &str) -> Self {
        Self { idempotency_key: Some(idempotency_key.to_owned()), ..self.clone() }
    }

    /// A request to `path` (from the slash on), with the caller's headers.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let method_changes = !method.is_safe();
        let request = self.http.request(method, format!("{}{path}", self.base_url));
        let mut request = self.credential.shown(request, &self.base_url, method_changes);
        if let Some(key) = self.idempotency_key.as_ref().filter(|_| method_changes) {
            request = request.header("idempotency-key", key);
        }
        match self.org {
            Some(org) => request.header("cowork-org", org.to_string()),
            None => request,
        }
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        answer(self.request(Method::GET, path)).await
    }

    /// As [`Self::get`], with parameters: pairs or a struct; absent options are left out.
    pub(crate) async fn get_with<T: DeserializeOwned>(&self, path: &str, query: &impl Serialize) -> Result<T, Error> {
        answer(self.request(Method::GET, path).query(query)).await
    }

    /// One page of a list, which may have a query already.
    pub(crate) async fn get_page<T: DeserializeOwned>(
        &self,
        path: &str,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<T>, Error> {
        let limit = limit.to_string();
        let mut query = vec![("limit", limit.as_str())];
        query.extend(cursor.map(|cursor| ("cursor", cursor)));
        self.get_with(path, &query).await
    }

    /// One page of what matches a filter, whose absent options are left out.
    pub(crate) async fn get_matching<T: DeserializeOwned>(
        &self,
        path: &str,
        filter: &impl Serialize,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<T>, Error> {
        #[derive(Serialize)]
        struct Query<'a, F> {
            #[serde(flatten)]
            filter: &'a F,
            limit: u32,
            #[serde(skip_serializing_if = "Option::is_none")]
            cursor: Option<&'a str>,
        }
        self.get_with(path, &Query { filter, limit, cursor }).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Error> {
        self.send(Method::POST, path, body).await
    }

    pub(crate) async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        answer(self.request(method, path).json(body)).await
    }

    /// As [`Self::post`]; a repeat with the same key has no further effect and gets the first one's answer.
    pub(crate) async fn post_once<T: DeserializeOwned>(
        &self,
        path: &str,
        idempotency_key: &str,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        answer(self.request(Method::POST, path).header("idempotency-key", idempotency_key).json(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<(), Error> {
        self.delete_seen(path, None).await
    }

    /// As [`Self::delete`]; with `seen`, only in that state.
    pub(crate) async fn delete_seen(&self, path: &str, seen: Option<&ETag>) -> Result<(), Error> {
        accepted(made_for(self.request(Method::DELETE, path), seen).timeout(CALL_TIMEOUT)).await?;
        Ok(())
    }
}

async fn answer<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, Error> {
    answer_within(CALL_TIMEOUT, request).await
}

async fn answer_within<T: DeserializeOwned>(timeout: Duration, request: RequestBuilder) -> Result<T, Error> {
    let response = accepted(request.timeout(timeout)).await?;
    let status = response.status().as_u16();
    let body = response.bytes().await?;
    serde_json::from_slice(&body).map_err(|_| unexpected(status, &body))
}

/// Sends the request and gives the response if its status is one of success; bodies and streams are read from it.
pub(crate) async fn accepted(request: RequestBuilder) -> Result<Response, Error> {
    let response = request.send().await?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = response.bytes().await?;
    Err(serde_json::from_slice(&body).map_or_else(|_| unexpected(status.as_u16(), &body), Error::Problem))
}

fn unexpected(status: u16, body: &[u8]) -> Error {
    Error::Unexpected { status, start: String::from_utf8_lossy(body).chars().take(200).collect() }
}
