//! Deliveries: messages on their way out, and what a person may do about one.
//!
//! Not here: sending them (`gateway`).

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use clock::Timestamp;
use domain::channel::DeliveryState;
use ids::{BindingId, ChannelId, DeliveryId};
use serde::{Deserialize, Serialize};
use store::{Delivery, Intervention};

use crate::app::App;
use crate::auth::{Caller, Reader, Writer};
use crate::extract::{Json, Path, Query};
use crate::page::{Page, Paging};
use crate::problem::Problem;

pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/api/deliveries", get(list))
        .route("/api/deliveries/{delivery_id}", get(show))
        .route("/api/deliveries/{delivery_id}/retry", post(retry))
        .route("/api/deliveries/{delivery_id}/dead-letter", post(dead_letter))
}

#[derive(Debug, Serialize)]
struct DeliveryView {
    delivery_id: DeliveryId,
    binding_id: BindingId,
    channel_id: ChannelId,
    sequence: i64,
    state: DeliveryState,
    attempt: i32,
    next_attempt_at: Timestamp,
    last_error: Option<String>,
    created_at: Timestamp,
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

#[derive(Debug, Deserialize)]
struct Filter {
    state: Option<DeliveryState>,
}

async fn list(
    State(app): State<App>,
    Reader(caller): Reader,
    Query(filter): Query<Filter>,
    Query(paging): Query<Paging<DeliveryId>>,
) -> Result<Json<Page<DeliveryView>>, Problem> {
    let deliveries = app.store.delivery_list(caller.org, filter.state, paging.cursor, paging.limit()).await?;
    Ok(Json(Page::of(deliveries, paging.limit(), |delivery| delivery.delivery_id).map(DeliveryView::from)))
}

async fn show(
    State(app): State<App>,
    Reader(caller): Reader,
    Path(delivery): Path<DeliveryId>,
) -> Result<Json<DeliveryView>, Problem> {
    view(&app, &caller, delivery).await
}

async fn retry(
    State(app): State<App>,
    Writer(caller): Writer,
    Path(delivery): Path<DeliveryId>,
) -> Result<Json<DeliveryView>, Problem> {
    let done = app.store.delivery_retry(caller.org, delivery, &caller.actor()).await?;
    done_or(done, "only a dead delivery can be sent again")?;
    view(&app, &caller, delivery).await
}

async fn dead_letter(
    State(app): State<App>,
    Writer(caller): Writer,
    Path(delivery): Path<DeliveryId>,
) -> Result<Json<DeliveryView>, Problem> {
    let done = app.store.delivery_dead_letter(caller.org, delivery, &caller.actor()).await?;
    done_or(done, "only a pending delivery that is not being sent at this moment can be set aside")?;
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
        let new = NewDelivery { command: store.sources().id(), sequence: 1, payload: json!({}) };
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
