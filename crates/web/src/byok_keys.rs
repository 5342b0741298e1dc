//! Keys that users bring. A key goes in and is never shown again; people see its last four characters.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{delete, get};
use clock::Timestamp;
use ids::{ByokKeyId, OrgId};
use secrecy::{ExposeSecret, SecretString};
use secrets::{Envelope, KmsError};
use serde::{Deserialize, Serialize};
use store::{ByokKey, NewByokKey, byok_aad};

use crate::app::App;
use crate::auth::{Manager, Reader};
use crate::extract::{Json, Path, Query};
use crate::page::{Page, Paging};
use crate::problem::Problem;
use crate::validate;

pub(crate) fn routes() -> Router<App> {
    Router::new().route("/api/byok-keys", get(list).post(create)).route("/api/byok-keys/{byok_key_id}", delete(revoke))
}

#[derive(Debug, Serialize)]
struct ByokKeyView {
    byok_key_id: ByokKeyId,
    provider: String,
    label: String,
    last_four: String,
    key_version: String,
    created_at: Timestamp,
    revoked_at: Option<Timestamp>,
}

impl From<ByokKey> for ByokKeyView {
    fn from(key: ByokKey) -> Self {
        let ByokKey { byok_key_id, provider, label, last_four, key_version, created_at, revoked_at } = key;
        Self { byok_key_id, provider, label, last_four, key_version, created_at, revoked_at }
    }
}

/// No `Debug`: it holds a key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    provider: String,
    label: String,
    key: String,
}

async fn create(
    State(app): State<App>,
    Manager(caller): Manager,
    Json(new): Json<Create>,
) -> Result<(StatusCode, Json<ByokKeyView>), Problem> {
    let sealed = seal(&app, caller.org, new).await?;
    let key = app.store.byok_create(caller.org, &sealed, &caller.actor()).await?;
    Ok((StatusCode::CREATED, Json(key.into())))
}

/// Real keys are long; of a short one the last four characters would say too much.
async fn seal(app: &App, org: OrgId, new: Create) -> Result<NewByokKey, Problem> {
    let key = SecretString::from(validate::text("key", &new.key, 16..=4_096)?);
    let (provider, label) =
        (validate::text("provider", &new.provider, 1..=100)?, validate::text("label", &new.label, 1..=200)?);
    let byok_key_id: ByokKeyId = app.store.sources().id();
    let (plaintext, aad) = (key.expose_secret(), byok_aad(org, byok_key_id));
    let sealed = secrets::seal(&*app.kms, app.store.sources(), plaintext.as_bytes(), &aad);
    let Envelope { ciphertext, wrapped_key, key_version } = sealed.await.map_err(not_sealed)?;
    let last_four = plaintext.chars().skip(plaintext.chars().count() - 4).collect();
    Ok(NewByokKey { byok_key_id, provider, label, last_four, ciphertext, wrapped_key, key_version })
}

fn not_sealed(error: KmsError) -> Problem {
    match error {
        KmsError::Unavailable(_) => Problem::unavailable(error),
        _ => Problem::internal(error),
    }
}

async fn list(
    State(app): State<App>,
    Reader(caller): Reader,
    Query(paging): Query<Paging<ByokKeyId>>,
) -> Result<Json<Page<ByokKeyView>>, Problem> {
    let keys = app.store.byok_list(caller.org, paging.cursor, paging.limit()).await?;
    Ok(Json(Page::of(keys, paging.limit(), |key| key.byok_key_id).map(ByokKeyView::from)))
}

async fn revoke(
    State(app): State<App>,
    Manager(caller): Manager,
    Path(key): Path<ByokKeyId>,
) -> Result<StatusCode, Problem> {
    let found = app.store.byok_revoke(caller.org, key, &caller.actor()).await?;
    if found { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found("key")) }
}
