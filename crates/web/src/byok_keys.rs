//! Keys that users bring. A key goes in and is never shown again; people see its last four characters.

use axum::extract::State;
use axum::http::StatusCode;
use clock::Timestamp;
use ids::{ByokKeyId, OrgId};
use secrecy::{ExposeSecret, SecretString};
use secrets::{Envelope, KmsError};
use serde::{Deserialize, Serialize};
use store::{ByokKey, NewByokKey, byok_aad};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::Caller;
use crate::extract::{Json, Path, Query};
use crate::page::{Page, Paging};
use crate::problem::Problem;
use crate::text::{Name, Text, Word};

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(revoke))
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ByokKey)]
struct ByokKeyView {
    byok_key_id: ByokKeyId,
    provider: String,
    label: String,
    last_four: String,
    key_version: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    revoked_at: Option<Timestamp>,
}

impl From<ByokKey> for ByokKeyView {
    fn from(key: ByokKey) -> Self {
        let ByokKey { byok_key_id, provider, label, last_four, key_version, created_at, revoked_at } = key;
        Self { byok_key_id, provider, label, last_four, key_version, created_at, revoked_at }
    }
}

// No `Debug`: it holds a key.
#[derive(Deserialize, ToSchema)]
#[schema(as = NewByokKey, example = json!({"provider": "anthropic", "label": "team", "key": "the key as the provider gave it"}))]
#[serde(deny_unknown_fields)]
struct Create {
    #[schema(inline)]
    provider: Word,
    #[schema(inline)]
    label: Name,
    #[schema(inline)]
    key: Text<16, 4096>,
}

/// Brings a key. It is encrypted at once and never shown again.
#[utoipa::path(
    post,
    path = "/api/byok-keys",
    operation_id = "byok_create",
    tag = "keys",
    request_body = Create,
    responses((status = 201, description = "It is sealed and stored.", body = ByokKeyView)),
    security(("token" = ["keys.write"])),
)]
async fn create(
    State(app): State<App>,
    caller: Caller,
    Json(new): Json<Create>,
) -> Result<(StatusCode, Json<ByokKeyView>), Problem> {
    let sealed = seal(&app, caller.org, new).await?;
    let key = app.store.byok_create(caller.org, &sealed, &caller.actor()).await?;
    Ok((StatusCode::CREATED, Json(key.into())))
}

/// Real keys are long; of a short one the last four characters would say too much.
async fn seal(app: &App, org: OrgId, new: Create) -> Result<NewByokKey, Problem> {
    let key = SecretString::from(new.key.trimmed());
    let (provider, label) = (new.provider.trimmed(), new.label.trimmed());
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

/// The keys that the org brought, without their content, oldest first.
#[utoipa::path(
    get,
    path = "/api/byok-keys",
    operation_id = "byok_list",
    tag = "keys",
    params(Paging<ByokKeyId>),
    responses((status = 200, description = "A page of them.", body = Page<ByokKeyView>)),
    security(("token" = ["keys.read"])),
)]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(paging): Query<Paging<ByokKeyId>>,
) -> Result<Json<Page<ByokKeyView>>, Problem> {
    let keys = app.store.byok_list(caller.org, paging.cursor, paging.limit()).await?;
    Ok(Json(Page::of(keys, paging.limit(), |key| key.byok_key_id).map(ByokKeyView::from)))
}

/// Forgets a key: its ciphertext is deleted. Revoking twice changes nothing.
#[utoipa::path(
    delete,
    path = "/api/byok-keys/{byok_key_id}",
    operation_id = "byok_revoke",
    tag = "keys",
    responses((status = 204, description = "It is forgotten."), (status = 503, description = "It is done here, and the recovery ledger does not know of it yet: ask again.")),
    security(("token" = ["keys.write"])),
)]
async fn revoke(State(app): State<App>, caller: Caller, Path(key): Path<ByokKeyId>) -> Result<StatusCode, Problem> {
    let found = app.store.byok_revoke(caller.org, key, &caller.actor()).await?;
    app.remember().await?;
    if found { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found("key")) }
}

#[cfg(test)]
mod tests {
    use domain::tenancy::{Role, Scope};
    use serde_json::json;

    use super::*;
    use crate::testing::World;

    /// Made at run time: a key in a source file is a key that leaked.
    fn key() -> String {
        format!("sk-{}", hex::encode(clock::Sources::system().bytes::<16>()))
    }

    #[tokio::test]
    async fn a_key_is_sealed_for_its_row_and_never_shown_again() {
        let (world, key) = (World::new().await, key());
        let body = json!({"provider": "anthropic", "label": "team", "key": key});
        let created = world.post("/api/byok-keys", body).await;
        assert!(!String::from_utf8_lossy(&created.body).contains(&key));
        let created = created.expect(201);
        insta::assert_json_snapshot!(created, {".byok_key_id" => "[id]", ".last_four" => "[last_four]"}, @r#"
        {
          "byok_key_id": "[id]",
          "created_at": "2024-10-04T00:00:00Z",
          "key_version": "1",
          "label": "team",
          "last_four": "[last_four]",
          "provider": "anthropic",
          "revoked_at": null
        }
        "#);
        assert_eq!(created["last_four"], key[key.len() - 4..]);
        assert_eq!(world.get("/api/byok-keys").await.expect(200)["items"], json!([created]));

        let sealed = world.app.store.byok_sealed_list(None, 10).await.unwrap().remove(0);
        let envelope = Envelope {
            ciphertext: sealed.ciphertext,
            wrapped_key: sealed.wrapped_key,
            key_version: sealed.key_version,
        };
        let aad = byok_aad(world.org, sealed.byok_key_id);
        let opened = secrets::open(&*world.app.kms, &envelope, &aad).await.unwrap();
        assert_eq!(opened.expose_str(), Some(key.as_str()));
    }

    #[tokio::test]
    async fn a_revoked_key_is_forgotten() {
        let world = World::new().await;
        let body = json!({"provider": "anthropic", "label": "team", "key": key()});
        let created = world.post("/api/byok-keys", body).await.expect(201);
        let path = format!("/api/byok-keys/{}", created["byok_key_id"].as_str().unwrap());
        let (_, stranger) = world.other_org().await;
        world.delete_as(&stranger, &path).await.expect_problem(404, "not_found");
        world.delete(&path).await.expect(204);
        assert_eq!(world.get("/api/byok-keys").await.expect(200)["items"][0]["revoked_at"], "2024-10-04T00:00:00Z");
        assert!(world.app.store.byok_sealed_list(None, 10).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_member_sees_keys_and_brings_none() {
        let world = World::new().await;
        let member = world.member(world.org, Role::Member, &[Scope::Read, Scope::Write]).await;
        let body = json!({"provider": "anthropic", "label": "team", "key": key()});
        world.post_as(&member, "/api/byok-keys", body).await.expect_problem(403, "forbidden");
        world.get_as(&member, "/api/byok-keys").await.expect(200);
    }
}
