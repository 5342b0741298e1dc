//! `POST /webhooks/billing`: what the billing provider tells of subscriptions.
//!
//! It takes no token: who speaks is proven by the signature over the bytes as they came, within five minutes of its time. An event is
//! taken once, by its id; one that says nothing new, or nothing to us, is answered like one that was taken, so that it is not sent
//! again. Only what we could not write down is.
//!
//! Not here: signatures and what events say (crate `billing`), what becomes of them (`domain::subscription`).

use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use billing::{NoticeError, Told};
use bytes::Bytes;
use domain::rate::Network;
use front::Peer;
use store::SubscriptionChange;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::problem::Problem;

/// Bytes of an event. They have a few kilobytes.
const BODY_MAX: usize = 256 * 1024;
const SIGNATURE: &str = "stripe-signature";
/// What becomes of events, in labels of metrics.
const OUTCOMES: [&str; 4] = ["taken", "repeated", "overtaken", "ignored"];

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(receive)).layer(DefaultBodyLimit::max(BODY_MAX))
}

/// Says what is counted here.
pub(crate) fn describe() {
    let description = "events of the billing provider, by what became of them";
    measures::counter_by("cowork_billing_events_total", description, "outcome", OUTCOMES);
}

/// Takes what the billing provider tells of subscriptions.
///
/// Authentication: no token. The header `stripe-signature` signs the bytes of the body with the secret of
/// `billing.stripe.webhook_secret`, at most five minutes ago. Limit: a body of at most 256 KiB; a repeat of an event changes nothing.
#[utoipa::path(
    post,
    path = "/webhooks/billing",
    operation_id = "billing_webhook",
    tag = "webhooks",
    params(("stripe-signature" = Option<String>, Header, description = "`t=SECONDS,v1=HEX`, as the provider makes it. Without it nothing is taken.")),
    request_body(content = serde_json::Value, content_type = "application/json", description = "An event, as the provider writes it."),
    responses(
        (status = 204, description = "It is taken, or is nothing to us; the provider need not send it again."),
        (status = 401, description = "It is not signed, not with this secret, or too long ago (`bad_signature`)."),
        (status = 404, description = "Nobody is paid here."),
        (status = 413, description = "The body is larger than 256 KiB (`too_large`), or is said to be larger than 1 MiB."),
        (status = 422, description = "It is signed, and no event that can be read."),
        (status = 429, description = "It is not signed, as too much that came from its address (`too_many_requests`)."),
        (status = 503, description = "The system is in maintenance; the provider sends it again."),
    ),
)]
async fn receive(
    State(app): State<App>,
    Peer(from): Peer,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, Problem> {
    let body = body.map_err(|_| Problem::event_too_large())?;
    let signature = headers.get(SIGNATURE).and_then(|value| value.to_str().ok());
    let read = app.billing.provider.read(signature, &body, app.store.sources().now());
    let notice = read.map_err(|error| refused(&app, from, error))?;
    if let Some(maintenance) = app.store.maintenance_remembered().await? {
        return Err(Problem::maintenance(&maintenance.reason));
    }
    let outcome = match notice.told {
        None => "ignored",
        Some(told) => take(&app, &notice.event, &told).await?,
    };
    metrics::counter!("cowork_billing_events_total", "outcome" => outcome).increment(1);
    Ok(StatusCode::NO_CONTENT)
}

/// Only the signature was looked at, without a statement. So a right one is taken, however many wrong ones come from its address.
fn refused(app: &App, from: Network, error: NoticeError) -> Problem {
    let wrong = matches!(error, NoticeError::NotSigned | NoticeError::Stale);
    let wait = if wrong { app.guesses.wrong_signature(from, app.store.sources().now()) } else { None };
    wait.map_or_else(|| error.into(), Problem::too_many_guesses)
}

/// What became of it, for the metric.
async fn take(app: &App, event: &str, told: &Told) -> Result<&'static str, Problem> {
    let billing = &app.billing;
    let provider = billing.provider.name();
    let offered = (&*billing.plans, billing.grace);
    let change = app.store.subscription_change(told.org, provider, (Some(event), &told.terms), offered).await?;
    Ok(match change {
        SubscriptionChange::Taken => "taken",
        SubscriptionChange::Known => "repeated",
        SubscriptionChange::Ruled(_) => "overtaken",
        SubscriptionChange::NoSuchOrg => {
            tracing::warn!("the billing provider tells of a subscription that is no org's");
            "ignored"
        }
    })
}

impl From<NoticeError> for Problem {
    fn from(error: NoticeError) -> Self {
        match error {
            NoticeError::NotOffered => Self::not_found("page"),
            NoticeError::NotSigned | NoticeError::Stale => Self::bad_signature(&error.to_string()),
            NoticeError::Unreadable => Self::invalid(error.to_string()),
        }
    }
}
