//! Channel identities: who people in chats are, and what they may do from there.
//!
//! Nobody gives a person in a chat more than they have: it takes all permissions of the member that the person is linked to, or was.
//! What is taken from somebody is answered when the recovery ledger knows of it.
//!
//! Not here: making one, which a message does (`gateway`), what somebody may do (`domain::chat`).

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use clock::Timestamp;
use domain::chat::IdentityState;
use domain::permission::Permission;
use ids::{AccountId, ChannelId, ChannelIdentityId};
use serde::{Deserialize, Serialize};
use store::{ChannelIdentity, IdentityChange, IdentityError};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::Caller;
use crate::etag;
use crate::extract::{Json, Path, Query};
use crate::members::held;
use crate::page::{Page, Paging};
use crate::problem::Problem;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(view, change))
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ChannelIdentity)]
struct View {
    channel_identity_id: ChannelIdentityId,
    channel_id: ChannelId,
    /// What the chat calls the person. Whoever signs the channel's messages vouches for it.
    external_id: String,
    /// What the person is called there; may be empty.
    name: String,
    /// The member that the person is.
    account_id: Option<AccountId>,
    may_prompt: bool,
    may_decide: bool,
    /// `pending`: nobody has said what the person may do.
    state: IdentityState,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<ChannelIdentity> for View {
    fn from(identity: ChannelIdentity) -> Self {
        let ChannelIdentity { channel_identity_id, channel_id, external_id, name, account_id, .. } = identity;
        let ChannelIdentity { may_prompt, may_decide, state, created_at, .. } = identity;
        Self {
            channel_identity_id,
            channel_id,
            external_id,
            name,
            account_id,
            may_prompt,
            may_decide,
            state,
            created_at,
        }
    }
}

impl From<IdentityError> for Problem {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::NoMember => Self::not_found("member"),
            IdentityError::Change(error) => error.into(),
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// Those of one channel.
    channel_id: Option<ChannelId>,
    state: Option<IdentityState>,
}

/// The people who have written at the org's channels, in the order that they did first.
#[utoipa::path(
    get,
    path = "/api/channel-identities",
    operation_id = "channel_identity_list",
    tag = "channels",
    params(Filter, Paging<ChannelIdentityId>),
    responses((status = 200, description = "A page of them.", body = Page<View>)),
    security(("token" = ["channels.read"])),
)]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(filter): Query<Filter>,
    Query(paging): Query<Paging<ChannelIdentityId>>,
) -> Result<Json<Page<View>>, Problem> {
    let Filter { channel_id, state } = filter;
    let found = app.store.channel_identity_list(caller.org, channel_id, state, paging.cursor, paging.limit()).await?;
    Ok(Json(Page::of(found, paging.limit(), |identity| identity.channel_identity_id).map(View::from)))
}

/// A person in a chat.
#[utoipa::path(
    get,
    path = "/api/channel-identities/{channel_identity_id}",
    operation_id = "channel_identity_view",
    tag = "channels",
    responses((status = 200, description = "As it is now.", body = View, headers(("ETag" = String, description = "Strong; changes with what is said of the person."))), (status = 304, description = "The reader has it: `If-None-Match` named its `ETag`.")),
    security(("token" = ["channels.read"])),
)]
async fn view(
    State(app): State<App>,
    caller: Caller,
    Path(identity): Path<ChannelIdentityId>,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let found = find(&app, &caller, identity).await?;
    etag::tagged_unless_known(&app, found.version, &request, View::from(found))
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ChangeChannelIdentity, example = json!({"state": "disabled", "may_prompt": false, "may_decide": false}))]
#[serde(deny_unknown_fields)]
struct Change {
    /// The member that the person is; left out, the person is linked to nobody.
    account_id: Option<AccountId>,
    may_prompt: bool,
    /// To approve, reject and answer. Takes an account, whose role has to permit it at the moment of the decision.
    may_decide: bool,
    state: Said,
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[schema(as = SaidOfChannelIdentity)]
#[serde(rename_all = "snake_case")]
enum Said {
    Active,
    /// May do nothing by chat, whatever else is said.
    Disabled,
}

/// Says what a person may do by chat, and which member the person is: all of it, each time.
///
/// Nobody gives more than they have: it takes all permissions of the member that the person is linked to now, and of the one
/// before.
#[utoipa::path(
    put,
    path = "/api/channel-identities/{channel_identity_id}",
    operation_id = "channel_identity_change",
    tag = "channels",
    request_body = Change,
    responses((status = 200, description = "As it is now.", body = View, headers(("ETag" = String, description = "Of the new state."))), (status = 412, description = "It is not in the state that `If-Match` names."), (status = 503, description = "It is done here, and the recovery ledger does not know of it yet: ask again.")),
    security(("token" = ["members.write"])),
)]
async fn change(
    State(app): State<App>,
    caller: Caller,
    Path(identity): Path<ChannelIdentityId>,
    request: HeaderMap,
    Json(change): Json<Change>,
) -> Result<Response, Problem> {
    let expected = etag::expected(&app, &request)?;
    let found = find(&app, &caller, identity).await?;
    let Change { account_id, may_prompt, may_decide, state } = change;
    if may_decide && account_id.is_none() {
        return Err(Problem::invalid("a decision is a member's: name the account_id of the person who may decide"));
    }
    if let Some(before) = found.account_id
        && app.store.member_get(caller.org, before).await?.is_some()
    {
        held(&app, &caller, before).await?;
    }
    if let Some(account) = account_id {
        held(&app, &caller, account).await?;
    }
    if may_prompt && !caller.may(Permission::SessionsWrite) {
        return Err(Problem::forbidden("who lets others prompt takes the permission sessions.write"));
    }
    let state = match state {
        Said::Active => IdentityState::Active,
        Said::Disabled => IdentityState::Disabled,
    };
    let change = IdentityChange { account: account_id, may_prompt, may_decide, state };
    let changed = app.store.channel_identity_change(caller.org, identity, &change, &expected, &caller.actor()).await?;
    app.remember().await?;
    Ok(etag::tagged(&app, changed.version, View::from(changed)))
}

async fn find(app: &App, caller: &Caller, identity: ChannelIdentityId) -> Result<ChannelIdentity, Problem> {
    let found = app.store.channel_identity_get(caller.org, identity).await?;
    found.ok_or_else(|| Problem::not_found("channel identity"))
}

#[cfg(test)]
pub(crate) mod tests;
