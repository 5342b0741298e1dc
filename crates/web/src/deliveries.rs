//! Deliveries: messages on their way out, and what a person may do about one.
//!
//! Not here: sending them (`gateway`).

use axum::extract::State;
use clock::Timestamp;
use domain::channel::DeliveryState;
use ids::{BindingId, ChannelId, DeliveryId};
use serde::{Deserialize, Serialize};
use store::{Delivery, Intervention};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::Caller;
use crate::extract::{Json, Path, Query};
use crate::page::{Page, Paging};
use crate::problem::Problem;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(retry))
        .routes(routes!(dead_letter))
        .routes(routes!(resend))
        .routes(routes!(settle))
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Delivery)]
struct DeliveryView {
    delivery_id: DeliveryId,
    binding_id: BindingId,
    channel_id: ChannelId,
    sequence: i64,
    state: DeliveryState,
    attempt: i32,
    #[schema(value_type = String, format = DateTime)]
    next_attempt_at: Timestamp,
    last_error: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    finished_at: Option<Timestamp>,
}

impl From<Delivery> for DeliveryView {
    fn from(delivery: Delivery) -> Self {
        Self {
            delivery_id: delivery.delivery_id,
            binding_id: delivery.binding_id,
            channel_id: delivery.channel_id,
            sequence: delivery.sequence,
            state: delivery.state,
            attempt: delivery.attempt,
            next_attempt_at: delivery.next_attempt_at,
            last_error: delivery.last_error,
            created_at: delivery.created_at,
            finished_at: delivery.finished_at,
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Filter {
    state: Option<DeliveryState>,
}

/// The deliveries of the org, oldest first, in one state if it is named.
#[utoipa::path(
    get,
    path = "/api/deliveries",
    operation_id = "delivery_list",
    tag = "channels",
    params(Filter, Paging<DeliveryId>),
    responses((status = 200, description = "A page of them.", body = Page<DeliveryView>)),
    security(("token" = ["channels.read"])),
)]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(filter): Query<Filter>,
    Query(paging): Query<Paging<DeliveryId>>,
) -> Result<Json<Page<DeliveryView>>, Problem> {
    let deliveries = app.store.delivery_list(caller.org, filter.state, paging.cursor, paging.limit()).await?;
    Ok(Json(Page::of(deliveries, paging.limit(), |delivery| delivery.delivery_id).map(DeliveryView::from)))
}

/// A delivery.
#[utoipa::path(
    get,
    path = "/api/deliveries/{delivery_id}",
    operation_id = "delivery_view",
    tag = "channels",
    responses((status = 200, description = "How it fares.", body = DeliveryView)),
    security(("token" = ["channels.read"])),
)]
async fn show(
    State(app): State<App>,
    caller: Caller,
    Path(delivery): Path<DeliveryId>,
) -> Result<Json<DeliveryView>, Problem> {
    view(&app, &caller, delivery).await
}

/// Sends a dead delivery again.
#[utoipa::path(
    post,
    path = "/api/deliveries/{delivery_id}/retry",
    operation_id = "delivery_retry",
    tag = "channels",
    responses((status = 200, description = "It is pending again.", body = DeliveryView), (status = 409, description = "Only a dead delivery can be sent again, and none of a channel that is closed.")),
    security(("token" = ["deliveries.decide"])),
)]
async fn retry(
    State(app): State<App>,
    caller: Caller,
    Path(delivery): Path<DeliveryId>,
) -> Result<Json<DeliveryView>, Problem> {
    let done = app.store.delivery_retry(caller.org, delivery, &caller.actor()).await?;
    app.effects.flush().await;
    done_or(done, "only a dead delivery of a channel that is open can be sent again")?;
    view(&app, &caller, delivery).await
}

/// Sets a pending delivery aside.
#[utoipa::path(
    post,
    path = "/api/deliveries/{delivery_id}/dead-letter",
    operation_id = "delivery_dead_letter",
    tag = "channels",
    responses((status = 200, description = "It is set aside.", body = DeliveryView), (status = 409, description = "Only a pending delivery that is not being sent can be set aside.")),
    security(("token" = ["deliveries.decide"])),
)]
async fn dead_letter(
    State(app): State<App>,
    caller: Caller,
    Path(delivery): Path<DeliveryId>,
) -> Result<Json<DeliveryView>, Problem> {
    let done = app.store.delivery_dead_letter(caller.org, delivery, &caller.actor()).await?;
    app.effects.flush().await;
    done_or(done, "only a pending delivery that is not being sent at this moment can be set aside")?;
    view(&app, &caller, delivery).await
}

/// Sends an unknown delivery again, which may arrive twice then.
#[utoipa::path(
    post,
    path = "/api/deliveries/{delivery_id}/resend",
    operation_id = "delivery_resend",
    tag = "channels",
    responses((status = 200, description = "It is pending again.", body = DeliveryView), (status = 409, description = "Only an unknown delivery can be sent again in this way, and none of a channel that is closed.")),
    security(("token" = ["deliveries.decide"])),
)]
async fn resend(
    State(app): State<App>,
    caller: Caller,
    Path(delivery): Path<DeliveryId>,
) -> Result<Json<DeliveryView>, Problem> {
    let done = app.store.delivery_resend(caller.org, delivery, &caller.actor()).await?;
    app.effects.flush().await;
    done_or(done, "only an unknown delivery of a channel that is open can be sent again in this way")?;
    view(&app, &caller, delivery).await
}

/// What became of an unknown delivery, as somebody found out.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Settle {
    /// `false`: it is given up, and is a dead letter from then on.
    arrived: bool,
}

/// Says what became of an unknown delivery.
#[utoipa::path(
    post,
    path = "/api/deliveries/{delivery_id}/settle",
    operation_id = "delivery_settle",
    tag = "channels",
    request_body = Settle,
    responses((status = 200, description = "It is sent, or dead.", body = DeliveryView), (status = 409, description = "Only an unknown delivery can be settled.")),
    security(("token" = ["deliveries.decide"])),
)]
async fn settle(
    State(app): State<App>,
    caller: Caller,
    Path(delivery): Path<DeliveryId>,
    Json(settle): Json<Settle>,
) -> Result<Json<DeliveryView>, Problem> {
    let actor = caller.actor();
    let done = app.store.delivery_settle_unknown(caller.org, delivery, settle.arrived, &actor).await?;
    app.effects.flush().await;
    done_or(done, "only an unknown delivery can be settled")?;
    view(&app, &caller, delivery).await
}

fn done_or(intervention: Intervention, otherwise: &str) -> Result<(), Problem> {
    match intervention {
        Intervention::Done => Ok(()),
        Intervention::NoSuchDelivery => Err(Problem::not_found("delivery")),
        Intervention::NotNow => Err(Problem::conflict(otherwise)),
    }
}

async fn view(app: &App, caller: &Caller, delivery: DeliveryId) -> Result<Json<DeliveryView>, Problem> {
    let found = app.store.delivery_find(caller.org, delivery).await?;
    found.map(|delivery| Json(delivery.into())).ok_or_else(|| Problem::not_found("delivery"))
}

#[cfg(test)]
mod tests {
    use domain::channel::ChannelKind;
    use ids::DeliveryId;
    use serde_json::json;
    use store::{BehindCursor, NewBinding, NewChannel, NewDelivery, NewSession};

    use crate::testing::World;

    /// A delivery that a gateway rendered and nobody sends.
    async fn pending(world: &World) -> String {
        let (store, org) = (&world.app.store, world.org);
        let new = NewSession { org, created_by: None, title: "t".into(), agent: "scripted".into() };
        let session = store.session_create(1, &new).await.unwrap();
        let destination = "https://chat.example/hook".parse().unwrap();
        let (kind, secret_version) = (ChannelKind::Webhook, "1".into());
        let new = NewChannel { org, kind, name: "ops".into(), destination, secret_version, deduplicates: true };
        let channel = store.channel_create(&new, "role:test").await.unwrap().channel_id;
        let new = NewBinding { org, channel, thread: "general".into(), session };
        let binding = store.binding_create(&new, "role:test").await.unwrap();
        let cursor = BehindCursor {
            org,
            binding_id: binding.binding_id,
            channel_id: channel,
            thread: binding.thread,
            session_id: session,
            sequence: binding.cursor_sequence,
        };
        let new = NewDelivery { command: store.sources().id(), sequence: 1, payload: json!({}), interaction: None };
        assert!(store.cursor_advance(&cursor, 1, &[new]).await.unwrap());
        let delivery: DeliveryId = store.delivery_list(org, None, None, 1).await.unwrap()[0].delivery_id;
        delivery.to_string()
    }

    #[tokio::test]
    async fn a_delivery_is_set_aside_and_sent_again_by_hand() {
        let world = World::new().await;
        let delivery = pending(&world).await;
        let to = |action: &str| format!("/api/deliveries/{delivery}/{action}");
        world.post(&to("retry"), json!({})).await.expect_problem(409, "conflict");
        assert_eq!(world.post(&to("dead-letter"), json!({})).await.expect(200)["state"], "dead");
        assert_eq!(world.get("/api/deliveries?state=pending").await.expect(200)["items"], json!([]));
        let retried = world.post(&to("retry"), json!({})).await.expect(200);
        assert_eq!((&retried["state"], &retried["attempt"]), (&json!("pending"), &json!(0)));
        assert_eq!(world.get("/api/deliveries?state=pending&limit=5").await.expect(200)["items"], json!([retried]));
    }

    #[tokio::test]
    async fn nobody_touches_the_deliveries_of_another_org() {
        let world = World::new().await;
        let delivery = pending(&world).await;
        let (_, token) = world.other_org().await;
        assert_eq!(world.get_as(&token, "/api/deliveries").await.expect(200)["items"], json!([]));
        let dead_letter = format!("/api/deliveries/{delivery}/dead-letter");
        world.post_as(&token, &dead_letter, json!({})).await.expect_problem(404, "not_found");
    }
}
