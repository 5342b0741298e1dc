//! `POST /webhooks/billing`: what the billing provider tells of subscriptions.
//!
//! It takes no token: who speaks is proven by the signature over the bytes as they came, within five minutes of its time. An event is
//! taken once, by its id; one that says nothing new, or nothing to us, is answered like one that was taken, so that it is not sent
//! again. Only what we could not write down is.
//!
//! Not here: signatures and what events say (crate `billing`), what becomes of them (`domain::subscription`).

use axum::Router;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use billing::{NoticeError, Told};
use bytes::Bytes;
use store::SubscriptionChange;

use crate::app::App;
use crate::problem::Problem;

const PATH: &str = "/webhooks/billing";
/// Bytes of an event. They have a few kilobytes.
const BODY_MAX: usize = 256 * 1024;
const SIGNATURE: &str = "stripe-signature";

pub(crate) fn routes() -> Router<App> {
    Router::new().route(PATH, post(receive)).layer(DefaultBodyLimit::max(BODY_MAX))
}

async fn receive(
    State(app): State<App>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, Problem> {
    let body = body.map_err(|_| Problem::event_too_large())?;
    let signature = headers.get(SIGNATURE).and_then(|value| value.to_str().ok());
    let notice = app.billing.provider.read(signature, &body, app.store.sources().now())?;
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
