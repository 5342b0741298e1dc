//! Keys that users bring. A key goes in and is never shown again; people see its last four characters.
//!
//! A provider is asked about a key when somebody asks for it, and no transaction is open meanwhile: what it said is written down if
//! the key is still the one that it was asked about.
//!
//! Not here: asking (`providers`).

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use clock::Timestamp;
use domain::byok::Validation;
use domain::version::RowVersion;
use ids::{ByokKeyId, OrgId};
use providers::Provider;
use secrecy::{ExposeSecret, SecretString};
use secrets::{Envelope, KmsError, OpenError};
use serde::{Deserialize, Serialize};
use store::{ByokError, ByokKey, NewByokKey, NewByokSecret, SealedByokKey, byok_aad};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::Caller;
use crate::etag;
use crate::extract::{Json, Path, Query};
use crate::page::{Page, Paging};
use crate::problem::Problem;
use crate::text::{Name, Text, Word};

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(view, revoke))
        .routes(routes!(rotate))
        .routes(routes!(validate))
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
    /// Which of the secrets that were brought under this id it has, from 1.
    secret_number: i32,
    #[schema(value_type = Option<String>, format = DateTime)]
    rotated_at: Option<Timestamp>,
    /// What the provider said of this secret when it was asked last. `null`: it was not asked.
    validation: Option<Validation>,
    #[schema(value_type = Option<String>, format = DateTime)]
    validated_at: Option<Timestamp>,
}

impl From<ByokKey> for ByokKeyView {
    fn from(key: ByokKey) -> Self {
        let ByokKey { byok_key_id, provider, label, last_four, key_version, created_at, revoked_at, .. } = key;
        let (secret_number, rotated_at) = (key.secret_number, key.rotated_at);
        let (validation, validated_at) = key.validation.unzip();
        Self {
            byok_key_id,
            provider,
            label,
            last_four,
            key_version,
            created_at,
            revoked_at,
            secret_number,
            rotated_at,
            validation,
            validated_at,
        }
    }
}

fn shown(key: ByokKey) -> (RowVersion, ByokKeyView) {
    (key.version, key.into())
}

impl From<ByokError> for Problem {
    fn from(error: ByokError) -> Self {
        match error {
            ByokError::Change(error) => error.into(),
            ByokError::Revoked => Self::conflict("the key is revoked; bring another one"),
            ByokError::Overtaken => {
                Self::conflict("the key was rotated or revoked while its provider was asked; look at it, and ask again")
            }
        }
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
    key: Secret,
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
    let byok_key_id: ByokKeyId = app.store.sources().id();
    let secret = seal(&app, caller.org, byok_key_id, &new.key).await?;
    let new = NewByokKey { byok_key_id, provider: new.provider.trimmed(), label: new.label.trimmed(), secret };
    let key = app.store.byok_create(caller.org, &new, &caller.actor()).await?;
    Ok((StatusCode::CREATED, Json(key.into())))
}

/// Real keys are long; of a short one the last four characters would say too much.
type Secret = Text<16, 4096>;

async fn seal(app: &App, org: OrgId, key: ByokKeyId, secret: &Secret) -> Result<NewByokSecret, Problem> {
    let secret = SecretString::from(secret.trimmed());
    let (plaintext, aad) = (secret.expose_secret(), byok_aad(org, key));
    let sealed = secrets::seal(&*app.kms, app.store.sources(), plaintext.as_bytes(), &aad);
    let Envelope { ciphertext, wrapped_key, key_version } = sealed.await.map_err(not_sealed)?;
    let last_four = plaintext.chars().skip(plaintext.chars().count() - 4).collect();
    Ok(NewByokSecret { last_four, ciphertext, wrapped_key, key_version })
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

/// What is known of a key; never the key.
#[utoipa::path(
    get,
    path = "/api/byok-keys/{byok_key_id}",
    operation_id = "byok_view",
    tag = "keys",
    responses((status = 200, description = "As it is now.", body = ByokKeyView, headers(("ETag" = String, description = "Strong; changes with all that is shown."))), (status = 304, description = "The reader has it: `If-None-Match` named its `ETag`.")),
    security(("token" = ["keys.read"])),
)]
async fn view(
    State(app): State<App>,
    caller: Caller,
    Path(key): Path<ByokKeyId>,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let found = app.store.byok_get(caller.org, key).await?.ok_or_else(|| Problem::not_found("key"))?;
    let (version, view) = shown(found);
    etag::tagged_unless_known(&app, version, &request, view)
}

// No `Debug`: it holds a key.
#[derive(Deserialize, ToSchema)]
#[schema(as = RotateByokKey, example = json!({"key": "another key as the provider gave it"}))]
#[serde(deny_unknown_fields)]
struct Rotate {
    #[schema(inline)]
    key: Secret,
}

/// Puts another secret in the place of a key's, under the same id. The one before is deleted here.
///
/// Backups from before have the older one. Restored from such a backup, the key is out of force, as far as the recovery ledger knows:
/// bring it again then.
#[utoipa::path(
    post,
    path = "/api/byok-keys/{byok_key_id}/rotate",
    operation_id = "byok_rotate",
    tag = "keys",
    request_body = Rotate,
    responses((status = 200, description = "It has the new secret, which nobody has asked its provider about.", body = ByokKeyView, headers(("ETag" = String, description = "Of the new state."))), (status = 409, description = "The key is revoked."), (status = 412, description = "It is not in the state that `If-Match` names."), (status = 503, description = "The secret of before is gone, and the recovery ledger does not know of it yet: rotate again.")),
    security(("token" = ["keys.write"])),
)]
async fn rotate(
    State(app): State<App>,
    caller: Caller,
    Path(key): Path<ByokKeyId>,
    request: HeaderMap,
    Json(new): Json<Rotate>,
) -> Result<Response, Problem> {
    let expected = etag::expected(&app, &request)?;
    let secret = seal(&app, caller.org, key, &new.key).await?;
    let rotated = app.store.byok_rotate(caller.org, key, &secret, &expected, &caller.actor()).await?;
    app.remember().await?;
    let (version, view) = shown(rotated);
    Ok(etag::tagged(&app, version, view))
}

/// Asks a key's provider whether it takes the key, and keeps what it said.
///
/// Asked is for a list of models, which costs nothing. That a key is taken does not say that it may use a model, or has money left; a key that is restricted
/// so that it may not list models is refused. The audit trail says that the key was given out, whatever the provider says.
#[utoipa::path(
    post,
    path = "/api/byok-keys/{byok_key_id}/validate",
    operation_id = "byok_validate",
    tag = "keys",
    responses((status = 200, description = "What it said: `validation` is `valid`, `refused`, or `unreachable` if it said neither.", body = ByokKeyView, headers(("ETag" = String, description = "Of the new state."))), (status = 409, description = "Nobody is asked about keys of this provider here, or the key is revoked, or it was rotated meanwhile.")),
    security(("token" = ["keys.write"])),
)]
async fn validate(State(app): State<App>, caller: Caller, Path(key): Path<ByokKeyId>) -> Result<Response, Problem> {
    let found = app.store.byok_get(caller.org, key).await?.ok_or_else(|| Problem::not_found("key"))?;
    let provider = asked(&app, &found.provider)?;
    let revealed = app.store.byok_reveal(caller.org, key, None, &caller.actor()).await?;
    let (sealed, number) = revealed.ok_or(ByokError::Revoked)?;
    let validation = provider.validate(&opened(&app, sealed).await?).await;
    let validated = app.store.byok_validated(caller.org, key, number, validation, &caller.actor()).await?;
    let (version, view) = shown(validated);
    Ok(etag::tagged(&app, version, view))
}

fn asked<'a>(app: &'a App, provider: &str) -> Result<&'a dyn Provider, Problem> {
    app.providers.named(provider).ok_or_else(|| {
        let names: Vec<_> = app.providers.names().collect();
        Problem::conflict(match names.as_slice() {
            [] => "nobody is asked about keys here: this is a copy of a system, for a drill".to_owned(),
            names => {
                format!("nobody is asked about keys of this provider here, only about those of {}", names.join(", "))
            }
        })
    })
}

async fn opened(app: &App, sealed: SealedByokKey) -> Result<SecretString, Problem> {
    let SealedByokKey { org_id, byok_key_id, ciphertext, wrapped_key, key_version } = sealed;
    let envelope = Envelope { ciphertext, wrapped_key, key_version };
    let opened = secrets::open(&*app.kms, &envelope, &byok_aad(org_id, byok_key_id)).await;
    let opened = opened.map_err(|error| match error {
        OpenError::Key(KmsError::Unavailable(_)) => Problem::unavailable(error),
        error => Problem::internal(error),
    })?;
    opened.expose_str().map(SecretString::from).ok_or_else(|| Problem::internal("a key is no text"))
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
    use std::sync::{Arc, Mutex};

    use axum::body::Body;
    use domain::tenancy::{Role, Scope};
    use providers::Providers;
    use serde_json::{Value, json};
    use store::Effect;
    use testkit::Mood;

    use super::*;
    use crate::testing::{World, request};

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
          "revoked_at": null,
          "rotated_at": null,
          "secret_number": 1,
          "validated_at": null,
          "validation": null
        }
        "#);
        assert_eq!(created["last_four"], key[key.len() - 4..]);
        assert_eq!(world.get("/api/byok-keys").await.expect(200)["items"], json!([created]));

        assert_eq!(kept(&world).await, [key]);
    }

    /// The secrets that are in force, opened.
    async fn kept(world: &World) -> Vec<String> {
        let mut kept = Vec::new();
        for sealed in world.app.store.byok_sealed_list(None, 10).await.unwrap() {
            kept.push(opened(&world.app, sealed).await.unwrap().expose_secret().to_owned());
        }
        kept
    }

    /// The path of a key, and its secret.
    async fn brought(world: &World, provider: &str) -> (String, String) {
        let key = key();
        let body = json!({"provider": provider, "label": "team", "key": key});
        let created = world.post("/api/byok-keys", body).await.expect(201);
        (format!("/api/byok-keys/{}", created["byok_key_id"].as_str().unwrap()), key)
    }

    async fn actions(world: &World) -> Vec<Value> {
        let audit = world.get("/api/audit?limit=200").await.expect(200);
        let items = audit["items"].as_array().unwrap().iter();
        items.filter(|one| one["target"].as_str().unwrap().starts_with("byok_key:")).cloned().collect()
    }

    #[tokio::test]
    async fn a_rotated_key_has_another_secret_under_its_id_and_the_one_before_is_gone() {
        let world = World::new().await;
        let (path, old) = brought(&world, "anthropic").await;
        let (before, sealed) = (world.get(&path).await, world.app.store.byok_sealed_list(None, 10).await.unwrap());
        world.clock.advance(chrono::TimeDelta::hours(1));
        let new = key();
        let rotated = world.post(&format!("{path}/rotate"), json!({"key": format!(" {new} ")})).await;
        assert!(!String::from_utf8_lossy(&rotated.body).contains(&new));
        let seen = rotated.expect(200);
        assert_eq!((&seen["secret_number"], &seen["rotated_at"]), (&json!(2), &json!("2024-10-04T01:00:00Z")));
        assert_eq!(
            (&seen["last_four"], &seen["byok_key_id"]),
            (&json!(new[new.len() - 4..]), &before.json()["byok_key_id"])
        );
        assert_ne!(rotated.headers["etag"], before.headers["etag"]);
        assert_eq!(world.get(&path).await.expect(200), seen);

        assert_eq!(kept(&world).await, [new]);
        let now = world.app.store.byok_sealed_list(None, 10).await.unwrap();
        assert_ne!((&now[0].ciphertext, &now[0].wrapped_key), (&sealed[0].ciphertext, &sealed[0].wrapped_key));
        let audit = actions(&world).await;
        assert!(audit.iter().any(|one| one["action"] == "byok_key.rotate"), "{audit:?}");
        assert!(!json!(audit).to_string().contains(&old[old.len() - 4..]), "{audit:?}");
    }

    #[tokio::test]
    async fn a_key_is_rotated_by_whoever_has_seen_it_as_it_is() {
        let world = World::new().await;
        let (path, _) = brought(&world, "anthropic").await;
        let tag = world.get(&path).await.headers["etag"].to_str().unwrap().to_owned();
        let (rotate, first) = (format!("{path}/rotate"), key());
        let request = |tag: &str, key: &str| {
            let request = request("POST", &rotate, &world.operator).header("content-type", "application/json");
            request.header("if-match", tag).body(Body::from(json!({"key": key}).to_string())).unwrap()
        };
        world.send(request(&tag, &first)).await.expect(200);
        world.send(request(&tag, &key())).await.expect_problem(412, "precondition_failed");
        assert_eq!(kept(&world).await, [first]);
        world.post(&rotate, json!({"key": "short"})).await.expect_problem(422, "invalid");
    }

    #[tokio::test]
    async fn a_rotation_is_answered_when_it_is_remembered() {
        let mut world = World::new().await;
        let ledger = world.moody_ledger();
        let (path, _) = brought(&world, "anthropic").await;
        let rotate = format!("{path}/rotate");
        ledger.set(Mood { fail: 100, ..Mood::default() });
        world.post(&rotate, json!({"key": key()})).await.expect_problem(503, "not_remembered");
        let waiting = world.app.store.outbox_list(world.app.store.sources().now(), 10).await.unwrap();
        let key_id: ByokKeyId = path.rsplit('/').next().unwrap().parse().unwrap();
        let effect = Effect::ByokKeyRotated { org: world.org, key: key_id, number: 2 };
        assert_eq!(waiting.into_iter().map(|row| row.effect).collect::<Vec<_>>(), [effect]);
        ledger.set(Mood::default());
        let again = world.post(&rotate, json!({"key": key()})).await.expect(200);
        assert_eq!(again["secret_number"], 3);
        assert_eq!(world.app.store.outbox_backlog().await.unwrap().rows, 0);
    }

    #[tokio::test]
    async fn a_revoked_key_is_neither_rotated_nor_asked_about() {
        let world = World::new().await;
        let (path, _) = brought(&world, "anthropic").await;
        world.delete(&path).await.expect(204);
        world.post(&format!("{path}/rotate"), json!({"key": key()})).await.expect_problem(409, "conflict");
        world.post(&format!("{path}/validate"), json!({})).await.expect_problem(409, "conflict");
        assert!(world.app.store.byok_sealed_list(None, 10).await.unwrap().is_empty());
    }

    /// Says the same of every key, and what it was told.
    #[derive(Debug, Default)]
    struct Said {
        says: Option<Validation>,
        told: Mutex<Vec<String>>,
        /// Revokes the key while it is asked about.
        revokes: Mutex<Option<(App, OrgId, ByokKeyId)>>,
    }

    #[derive(Debug)]
    struct Asked(Arc<Said>);

    #[async_trait::async_trait]
    impl Provider for Asked {
        async fn validate(&self, key: &SecretString) -> Validation {
            let Self(said) = self;
            said.told.lock().unwrap().push(key.expose_secret().to_owned());
            let revokes = said.revokes.lock().unwrap().take();
            if let Some((app, org, key)) = revokes {
                assert!(app.store.byok_revoke(org, key, "role:test").await.unwrap());
            }
            said.says.unwrap()
        }
    }

    fn asking(world: &mut World, says: Validation) -> Arc<Said> {
        let said = Arc::new(Said { says: Some(says), ..Said::default() });
        world.ask(Providers::of([("openai", Box::new(Asked(said.clone())) as Box<dyn Provider>)]));
        said
    }

    #[tokio::test]
    async fn what_a_provider_says_of_a_key_is_kept_with_the_time_until_the_key_is_another() {
        let mut world = World::new().await;
        let (path, key) = brought(&world, "OpenAI").await;
        let validate = format!("{path}/validate");
        for (says, word) in
            [(Validation::Valid, "valid"), (Validation::Unreachable, "unreachable"), (Validation::Refused, "refused")]
        {
            let said = asking(&mut world, says);
            world.clock.advance(chrono::TimeDelta::minutes(1));
            let answer = world.post(&validate, json!({})).await;
            assert_eq!(*said.told.lock().unwrap(), std::slice::from_ref(&key));
            assert!(!String::from_utf8_lossy(&answer.body).contains(&key));
            let answer = answer.expect(200);
            assert_eq!(answer["validation"], word);
            assert_eq!(answer["validated_at"], json!(world.app.store.sources().now()));
            assert_eq!(world.get(&path).await.expect(200), answer);
        }
        let details: Vec<_> =
            actions(&world).await.into_iter().filter(|one| one["action"] == "byok_key.validate").collect();
        assert_eq!(details.len(), 3, "{details:?}");
        let rotated = world.post(&format!("{path}/rotate"), json!({"key": super::tests::key()})).await.expect(200);
        assert_eq!((&rotated["validation"], &rotated["validated_at"]), (&json!(null), &json!(null)));
    }

    #[tokio::test]
    async fn nothing_is_kept_of_a_key_that_went_while_its_provider_was_asked() {
        let mut world = World::new().await;
        let (path, _) = brought(&world, "openai").await;
        let said = asking(&mut world, Validation::Valid);
        let key: ByokKeyId = path.rsplit('/').next().unwrap().parse().unwrap();
        *said.revokes.lock().unwrap() = Some((world.app.clone(), world.org, key));
        world.post(&format!("{path}/validate"), json!({})).await.expect_problem(409, "conflict");
        assert_eq!(world.get(&path).await.expect(200)["validation"], json!(null));
        let taken: Vec<_> = actions(&world).await.into_iter().map(|one| one["action"].clone()).collect();
        assert!(taken.contains(&json!("byok_key.reveal")), "that it was given out is told all the same: {taken:?}");
    }

    #[tokio::test]
    async fn nobody_is_told_a_key_of_another_provider_or_in_a_drill_copy() {
        let mut world = World::new().await;
        let (path, _) = brought(&world, "somebody").await;
        let said = asking(&mut world, Validation::Valid);
        let problem = world.post(&format!("{path}/validate"), json!({})).await.expect_problem(409, "conflict");
        assert!(problem["detail"].as_str().unwrap().contains("openai"), "{problem}");
        assert!(said.told.lock().unwrap().is_empty());
        let (path, _) = brought(&world, "openai").await;
        world.ask(Providers::none());
        let problem = world.post(&format!("{path}/validate"), json!({})).await.expect_problem(409, "conflict");
        assert!(problem["detail"].as_str().unwrap().contains("drill"), "{problem}");
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
