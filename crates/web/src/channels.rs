//! Channels: ways to people outside.
//!
//! A channel's signing secret is in the answer that makes it and nowhere else. It is derived, not stored; whoever lost
//! it makes another channel.
//!
//! A destination that names an address where this system does not go is refused here; one that names a host is judged by what
//! the name leads to, whenever the gateway connects. The org's policy is asked in both places.
//!
//! One that was closed for good is still shown to whoever names it, and is in lists only for whoever asks for those.
//!
//! Not here: what goes through them (`gateway`), which addresses are called (`domain::egress`).

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use clock::Timestamp;
use domain::channel::{ChannelKind, Destination, DestinationError};
use domain::version::RowVersion;
use ids::{ChannelId, OrgId};
use secrets::derive_channel_secret;
use serde::{Deserialize, Serialize};
use store::{Channel, ChannelChange, NewChannel};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::Caller;
use crate::etag;
use crate::extract::{Json, Path, Query};
use crate::page::{Page, Paging};
use crate::problem::Problem;
use crate::text::Name;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(view, change, close))
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Channel)]
struct ChannelView {
    channel_id: ChannelId,
    kind: ChannelKind,
    name: String,
    destination: String,
    /// Whether the far side takes a repeated delivery once, by its `webhook-id`.
    deduplicates: bool,
    /// Whether messages of people of whom nobody said what they may do, or that name nobody, become prompts.
    unknown_may_prompt: bool,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it was closed for good. `null`: it is open.
    #[schema(value_type = Option<String>, format = DateTime)]
    closed_at: Option<Timestamp>,
}

impl From<Channel> for ChannelView {
    fn from(channel: Channel) -> Self {
        let Channel { channel_id, kind, name, destination, deduplicates, .. } = channel;
        let Channel { unknown_may_prompt, created_at, closed_at, .. } = channel;
        let destination = destination.as_str().to_owned();
        Self { channel_id, kind, name, destination, deduplicates, unknown_may_prompt, created_at, closed_at }
    }
}

#[derive(Serialize, ToSchema)]
struct CreatedChannel {
    #[serde(flatten)]
    view: ChannelView,
    signing_secret: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewChannel, example = json!({"kind": "webhook", "name": "ops", "destination": "https://chat.example/hook"}))]
#[serde(deny_unknown_fields)]
struct Create {
    kind: ChannelKind,
    #[schema(inline)]
    name: Name,
    #[schema(format = "uri", max_length = 2000, example = "https://chat.example/hook")]
    destination: String,
    #[serde(default = "standard")]
    deduplicates: bool,
}

/// Standard Webhooks asks receivers to take a `webhook-id` once.
fn standard() -> bool {
    true
}

/// Makes a channel.
#[utoipa::path(
    post,
    path = "/api/channels",
    operation_id = "channel_create",
    tag = "channels",
    request_body = Create,
    responses((status = 201, description = "It is there. The signing secret is shown only here.", body = CreatedChannel), (status = 422, description = "The destination names an address that is not called from here (`destination_refused`), or the request can't be carried out as it is written otherwise; `detail` says what to change.")),
    security(("token" = ["channels.write"])),
)]
async fn create(
    State(app): State<App>,
    caller: Caller,
    Json(new): Json<Create>,
) -> Result<(StatusCode, Json<CreatedChannel>), Problem> {
    let destination = judged(&app, caller.org, &new.destination).await?;
    let new = NewChannel {
        org: caller.org,
        kind: new.kind,
        name: new.name.trimmed(),
        destination,
        secret_version: app.secrets.configured.channel.version.clone(),
        deduplicates: new.deduplicates,
    };
    let channel = app.store.channel_create(&new, &caller.actor()).await?;
    let signing_secret = derive_channel_secret(&app.secrets.channel, channel.channel_id);
    Ok((StatusCode::CREATED, Json(CreatedChannel { view: channel.into(), signing_secret })))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// With `true`, those that were closed, too.
    closed: Option<bool>,
}

/// The channels of the org that are open, oldest first.
#[utoipa::path(
    get,
    path = "/api/channels",
    operation_id = "channel_list",
    tag = "channels",
    params(Filter, Paging<ChannelId>),
    responses((status = 200, description = "A page of them.", body = Page<ChannelView>)),
    security(("token" = ["channels.read"])),
)]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(filter): Query<Filter>,
    Query(paging): Query<Paging<ChannelId>>,
) -> Result<Json<Page<ChannelView>>, Problem> {
    let closed = filter.closed.unwrap_or(false);
    let channels = app.store.channel_list(caller.org, closed, paging.cursor, paging.limit()).await?;
    Ok(Json(Page::of(channels, paging.limit(), |channel| channel.channel_id).map(ChannelView::from)))
}

/// Where somebody wants a channel to lead, if it may.
async fn judged(app: &App, org: OrgId, destination: &str) -> Result<Destination, Problem> {
    let destination: Destination =
        destination.parse().map_err(|error: DestinationError| Problem::invalid(error.to_string()))?;
    app.egress.judge_url(destination.url()).map_err(|refused| Problem::destination_refused(refused.to_string()))?;
    app.store.policy_get(org).await?.policy.judge_destination(destination.url())?;
    Ok(destination)
}

fn shown(channel: Channel) -> (RowVersion, ChannelView) {
    (channel.version, channel.into())
}

/// A channel, also one that was closed.
#[utoipa::path(
    get,
    path = "/api/channels/{channel_id}",
    operation_id = "channel_view",
    tag = "channels",
    responses((status = 200, description = "As it is now.", body = ChannelView, headers(("ETag" = String, description = "Strong; changes with every change, and with its end."))), (status = 304, description = "The reader has it: `If-None-Match` named its `ETag`.")),
    security(("token" = ["channels.read"])),
)]
async fn view(
    State(app): State<App>,
    caller: Caller,
    Path(channel): Path<ChannelId>,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let found = app.store.channel_get(caller.org, channel).await?.ok_or_else(|| Problem::not_found("channel"))?;
    let (version, view) = shown(found);
    etag::tagged_unless_known(&app, version, &request, view)
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ChangeChannel, example = json!({"name": "operators"}))]
#[serde(deny_unknown_fields)]
struct Change {
    #[schema(inline)]
    name: Option<Name>,
    /// Deliveries that wait go there, too, signed with the same secret.
    #[schema(format = "uri", max_length = 2000, example = "https://chat.example/hook")]
    destination: Option<String>,
    /// With `false`, only people of whom somebody said that they may, prompt by this channel.
    unknown_may_prompt: Option<bool>,
}

/// Renames a channel, leads it elsewhere, or says who may prompt by it. What is not named stays as it is.
///
/// Its kind, its secret and whether the far side deduplicates stay: another channel is made for those.
#[utoipa::path(
    patch,
    path = "/api/channels/{channel_id}",
    operation_id = "channel_change",
    tag = "channels",
    request_body = Change,
    responses((status = 200, description = "As it is now.", body = ChannelView, headers(("ETag" = String, description = "Of the new state."))), (status = 409, description = "It is closed for good."), (status = 412, description = "It is not in the state that `If-Match` names."), (status = 422, description = "The destination names an address that is not called from here (`destination_refused`), or the request can't be carried out as it is written otherwise; `detail` says what to change.")),
    security(("token" = ["channels.write"])),
)]
async fn change(
    State(app): State<App>,
    caller: Caller,
    Path(channel): Path<ChannelId>,
    request: HeaderMap,
    Json(change): Json<Change>,
) -> Result<Response, Problem> {
    let expected = etag::expected(&app, &request)?;
    let destination = match &change.destination {
        Some(destination) => Some(judged(&app, caller.org, destination).await?),
        None => None,
    };
    let change = ChannelChange {
        name: change.name.map(|name| name.trimmed()),
        destination,
        unknown_may_prompt: change.unknown_may_prompt,
    };
    let changed = app.store.channel_change(caller.org, channel, &change, &expected, &caller.actor()).await?;
    let (version, view) = shown(changed);
    Ok(etag::tagged(&app, version, view))
}

/// Closes a channel for good. Closing twice changes nothing.
///
/// Its threads are unbound, and messages that come to its address are answered as at an address that there is not. What waits to be
/// sent becomes dead letters, which can't be sent again; what is being sent at this moment is sent, if that succeeds. What was sent
/// and received stays, and so does the audit trail. No restore opens it again. Another channel may have its name.
#[utoipa::path(
    delete,
    path = "/api/channels/{channel_id}",
    operation_id = "channel_close",
    tag = "channels",
    responses((status = 204, description = "It is closed."), (status = 503, description = "It is closed here, and the recovery ledger does not know of it yet: ask again.")),
    security(("token" = ["channels.write"])),
)]
async fn close(State(app): State<App>, caller: Caller, Path(channel): Path<ChannelId>) -> Result<StatusCode, Problem> {
    let found = app.store.channel_close(caller.org, channel, &caller.actor()).await?;
    app.remember().await?;
    if found { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found("channel")) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use testkit::Mood;

    use crate::testing::World;

    #[tokio::test]
    async fn a_channels_secret_is_shown_once() {
        let world = World::new().await;
        let new = json!({"kind": "webhook", "name": "ops", "destination": "https://chat.example/hook"});
        let created = world.post("/api/channels", new).await.expect(201);
        assert!(created["signing_secret"].as_str().unwrap().starts_with("whsec_"));

        let listed = world.get("/api/channels").await.expect(200);
        assert_eq!(listed["items"][0]["channel_id"], created["channel_id"]);
        assert_eq!(listed["items"][0].get("signing_secret"), None);
    }

    #[tokio::test]
    async fn a_channel_deduplicates_unless_it_says_otherwise() {
        let world = World::new().await;
        let destination = "https://chat.example/hook";
        let new = json!({"kind": "webhook", "name": "ops", "destination": destination});
        assert_eq!(world.post("/api/channels", new).await.expect(201)["deduplicates"], true);
        let new = json!({"kind": "webhook", "name": "sms", "destination": destination, "deduplicates": false});
        assert_eq!(world.post("/api/channels", new).await.expect(201)["deduplicates"], false);
        let listed = world.get("/api/channels").await.expect(200);
        assert_eq!(
            (&listed["items"][0]["deduplicates"], &listed["items"][1]["deduplicates"]),
            (&json!(true), &json!(false))
        );
    }

    #[tokio::test]
    async fn a_destination_is_checked_when_it_comes_in() {
        let world = World::new().await;
        for destination in ["chat.example", "ftp://chat.example", "https://me:pw@chat.example/", "https://x/#y"] {
            let new = json!({"kind": "webhook", "name": "ops", "destination": destination});
            world.post("/api/channels", new).await.expect_problem(422, "invalid");
        }
        assert_eq!(world.get("/api/channels").await.expect(200)["items"], json!([]));
    }

    #[tokio::test]
    async fn a_channel_is_renamed_and_led_elsewhere_by_whoever_has_seen_it_as_it_is() {
        let world = World::new().await;
        let new = json!({"kind": "webhook", "name": "ops", "destination": "https://chat.example/hook"});
        let id = world.post("/api/channels", new).await.expect(201)["channel_id"].as_str().unwrap().to_owned();
        let path = format!("/api/channels/{id}");
        let tag = world.get(&path).await.headers["etag"].to_str().unwrap().to_owned();

        let moved = json!({"name": "operators", "destination": "https://chat.example/other"});
        let changed = world.patch_if(&path, &tag, moved.clone()).await;
        let seen = changed.expect(200);
        assert_eq!((&seen["name"], &seen["destination"]), (&moved["name"], &moved["destination"]));
        world.patch_if(&path, &tag, json!({"name": "late"})).await.expect_problem(412, "precondition_failed");
        let same = world.patch(&path, moved).await;
        assert_eq!(same.headers["etag"], changed.headers["etag"], "nothing changed");
        assert_eq!(world.get(&path).await.expect(200), seen);

        let audit = world.get("/api/audit?limit=200").await.expect(200);
        let actions: Vec<_> = audit["items"].as_array().unwrap().iter().map(|one| one["action"].clone()).collect();
        assert_eq!(actions.iter().filter(|action| **action == "channel.rename").count(), 1, "{actions:?}");
        assert_eq!(actions.iter().filter(|action| **action == "channel.redirect").count(), 1, "{actions:?}");
        assert!(!audit.to_string().contains("chat.example"), "{audit}");
    }

    #[tokio::test]
    async fn a_channel_is_not_led_where_none_can_be_made() {
        let world = World::new().await;
        let new = json!({"kind": "webhook", "name": "ops", "destination": "https://chat.example/hook"});
        let made = world.post("/api/channels", new).await.expect(201);
        let path = format!("/api/channels/{}", made["channel_id"].as_str().unwrap());
        world.patch(&path, json!({"destination": "http://10.0.0.1/"})).await.expect_problem(422, "destination_refused");
        for body in [json!({"destination": "ftp://x"}), json!({"name": " "}), json!({"kind": "webhook"})] {
            world.patch(&path, body).await.expect_problem(422, "invalid");
        }
        assert_eq!(world.get(&path).await.expect(200)["destination"], "https://chat.example/hook");
    }

    #[tokio::test]
    async fn a_channel_leads_to_no_address_that_is_not_called_from_here() {
        let mut world = World::new().await;
        let new = |destination: &str| json!({"kind": "webhook", "name": "ops", "destination": destination});
        for destination in ["http://169.254.169.254/latest", "http://localhost:6379/", "http://[::ffff:10.0.0.1]/"] {
            let problem = world.post("/api/channels", new(destination)).await;
            let problem = problem.expect_problem(422, "destination_refused");
            assert!(problem["detail"].as_str().unwrap().contains("gateway.allowed_networks"), "{problem}");
        }
        assert_eq!(world.get("/api/channels").await.expect(200)["items"], json!([]));

        world.allow("10.0.0.0/8");
        world.post("/api/channels", new("http://10.1.2.3/hook")).await.expect(201);
        world.post("/api/channels", new("http://127.0.0.1/hook")).await.expect_problem(422, "destination_refused");
    }

    #[tokio::test]
    async fn a_channel_that_is_closed_is_listed_only_for_who_asks_and_another_may_have_its_name() {
        let mut world = World::new().await;
        let new = json!({"kind": "webhook", "name": "ops", "destination": "https://chat.example/hook"});
        let made = world.post("/api/channels", new.clone()).await.expect(201);
        assert_eq!(made["closed_at"], json!(null));
        let path = format!("/api/channels/{}", made["channel_id"].as_str().unwrap());
        let (_, stranger) = world.other_org().await;
        world.delete_as(&stranger, &path).await.expect_problem(404, "not_found");
        let ledger = world.moody_ledger();
        ledger.set(Mood { fail: 100, ..Mood::default() });
        world.delete(&path).await.expect_problem(503, "not_remembered");
        ledger.set(Mood::default());
        for _ in 0..2 {
            world.delete(&path).await.expect(204);
        }
        let seen = world.get(&path).await.expect(200);
        assert!(seen["closed_at"].is_string(), "{seen}");
        world.patch(&path, json!({"name": "again"})).await.expect_problem(409, "conflict");
        let again = world.post("/api/channels", new).await.expect(201);
        let ids = async |path: &str| -> Vec<serde_json::Value> {
            let listed = world.get(path).await.expect(200);
            listed["items"].as_array().unwrap().iter().map(|one| one["channel_id"].clone()).collect()
        };
        assert_eq!(ids("/api/channels").await, [again["channel_id"].clone()]);
        let all = [made["channel_id"].clone(), again["channel_id"].clone()];
        assert_eq!(ids("/api/channels?closed=true&limit=5").await, all);
        let audit = world.get("/api/audit?limit=200").await.expect(200);
        let closings = audit["items"].as_array().unwrap().iter().filter(|one| one["action"] == "channel.close");
        assert_eq!(closings.count(), 1);
    }

    #[tokio::test]
    async fn diagnostics_count_channels_that_lead_where_nothing_is_called_any_more() {
        let mut world = World::new().await;
        world.allow("10.0.0.0/8");
        for destination in ["http://10.1.2.3/hook", "https://chat.example/hook"] {
            let new = json!({"kind": "webhook", "name": "ops", "destination": destination});
            world.post("/api/channels", new).await.expect(201);
        }
        let refused = async |world: &World| world.get("/api/diagnostics").await.expect(200)["channels_refused"].clone();
        assert_eq!(refused(&world).await, 0);
        world.allow("192.168.0.0/16");
        assert_eq!(refused(&world).await, 1);
    }
}
