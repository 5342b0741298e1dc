use std::sync::Arc;

use async_trait::async_trait;
use secrets::{DataKey, Kms, KmsError, Wrapped};
use serde_json::{Value, json};
use testkit::Mood;
use tokio::sync::{Notify, Semaphore};
use tower::ServiceExt;

use super::*;
use crate::testing::{Answer, World, request};

async fn post(world: &World, token: &str, path: &str, key: &str, body: &Value) -> Answer {
    let request = request("POST", path, token).header("content-type", "application/json").header(KEY, key);
    world.send(request.body(Body::from(body.to_string())).unwrap()).await
}

fn new_token() -> Value {
    json!({"name": "ci", "scopes": ["read"]})
}

async fn rows(world: &World) -> Vec<store::KeptAnswer> {
    world.app.store.idempotency_answers(None, 100).await.unwrap()
}

#[tokio::test]
async fn a_repeat_has_no_further_effect_and_gets_the_same_answer() {
    let world = World::new().await;
    let first = post(&world, &world.operator, "/api/tokens", "k", &new_token()).await;
    let again = post(&world, &world.operator, "/api/tokens", "k", &new_token()).await;
    assert_eq!((first.status, &first.body), (again.status, &again.body));
    assert_eq!((first.headers.get(REPLAYED), &again.headers[REPLAYED]), (None, &HeaderValue::from_static("true")));
    assert_eq!(again.headers[header::CONTENT_TYPE], "application/json");
    assert_eq!(world.get("/api/tokens").await.expect(200)["items"].as_array().unwrap().len(), 2);
    post(&world, &world.operator, "/api/tokens", "another", &new_token()).await.expect(201);
    assert_eq!(world.get("/api/tokens").await.expect(200)["items"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_key_stands_for_one_request_of_one_token() {
    let world = World::new().await;
    post(&world, &world.operator, "/api/tokens", "k", &new_token()).await.expect(201);
    let other = json!({"name": "cd", "scopes": ["read"]});
    post(&world, &world.operator, "/api/tokens", "k", &other).await.expect_problem(422, "idempotency_key_reused");
    let org = json!({"name": "Beta"});
    post(&world, &world.operator, "/api/orgs", "k", &org).await.expect_problem(422, "idempotency_key_reused");
    // Another account has keys of its own.
    let (_, stranger) = world.other_org().await;
    post(&world, &stranger, "/api/tokens", "k", &new_token()).await.expect(201);
    // A weaker token of the same account does not get what the stronger one got.
    let body = json!({"name": "weak", "scopes": ["read", "write"]});
    let weak = world.post("/api/tokens", body).await.expect(201)["token"].as_str().unwrap().to_owned();
    post(&world, &weak, "/api/tokens", "k", &new_token()).await.expect_problem(422, "idempotency_key_reused");
}

#[tokio::test]
async fn an_answer_that_is_given_again_is_in_the_audit_trail() {
    let world = World::new().await;
    let replays = async || world.get("/api/audit?action=idempotency_key.replay").await.expect(200)["items"].clone();
    let made = post(&world, &world.operator, "/api/tokens", "k", &new_token()).await.expect(201);
    assert_eq!(replays().await, json!([]));
    post(&world, &world.operator, "/api/tokens", "k", &new_token()).await.expect(201);
    let told = replays().await;
    assert_eq!((told.as_array().unwrap().len(), &told[0]["detail"]), (1, &json!({"request": "POST /api/tokens"})));
    let who = format!("token:{}", world.token_id(&world.operator).await);
    assert_eq!((&told[0]["actor"], &told[0]["target"]), (&json!(who), &json!(format!("account:{}", world.owner))));
    // There is nothing in this one.
    let path = format!("/api/tokens/{}", made["token_id"].as_str().unwrap());
    for _ in 0..2 {
        let revoke = request("DELETE", &path, &world.operator).header(KEY, "gone").body(Body::empty()).unwrap();
        world.send(revoke).await.expect(204);
    }
    assert_eq!(replays().await, told);
}

#[tokio::test]
async fn a_secret_that_is_shown_once_is_kept_sealed() {
    let world = World::new().await;
    let token = post(&world, &world.operator, "/api/tokens", "k", &new_token()).await.expect(201);
    let kept = rows(&world).await.remove(0);
    let text = token["token"].as_str().unwrap().as_bytes();
    assert!(!kept.answer.ciphertext.windows(text.len()).any(|bytes| bytes == text));
    let SealedAnswer { ciphertext, wrapped_key, key_version, .. } = kept.answer.clone();
    let envelope = Envelope { ciphertext, wrapped_key, key_version };
    let opened = secrets::open(&*world.app.kms, &envelope, &kept.aad()).await.unwrap();
    assert!(opened.expose().windows(text.len()).any(|bytes| bytes == text), "else the check above looks at nothing");
}

#[tokio::test]
async fn what_was_refused_may_be_corrected_under_the_same_key() {
    let world = World::new().await;
    post(&world, &world.operator, "/api/orgs", "k", &json!({"name": ""})).await.expect_problem(422, "invalid");
    post(&world, &world.operator, "/api/orgs", "k", &json!({"name": "Beta"})).await.expect(201);
    assert_eq!(rows(&world).await.len(), 1);
}

#[tokio::test]
async fn of_requests_at_once_one_is_carried_out() {
    let world = World::new().await;
    let body = json!({"name": "Beta"});
    let sent = (0..8).map(|_| post(&world, &world.operator, "/api/orgs", "k", &body));
    let answers = futures::future::join_all(sent).await;
    let (done, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 201);
    for answer in &refused {
        answer.expect_problem(409, "in_progress");
        assert_eq!(answer.headers["retry-after"], "1");
    }
    assert!(!done.is_empty() && done.iter().all(|answer| answer.body == done[0].body));
    assert_eq!(world.get("/api/orgs").await.expect(200)["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_key_that_can_not_be_one_is_refused_and_a_read_takes_none() {
    let world = World::new().await;
    let long = "k".repeat(KEY_MAX + 1);
    for key in ["", " ", &long] {
        post(&world, &world.operator, "/api/orgs", key, &json!({"name": "B"})).await.expect_problem(422, "invalid");
    }
    let read = request("GET", "/api/orgs", &world.operator).header(KEY, "k").body(Body::empty()).unwrap();
    world.send(read).await.expect(200);
    assert!(rows(&world).await.is_empty());
}

/// The token is revoked, and the recovery ledger does not know yet.
#[tokio::test]
async fn a_failure_that_comes_after_the_effect_is_not_kept_and_whoever_is_told_to_ask_again_may() {
    let mut world = World::new().await;
    let ledger = world.moody_ledger();
    let token = post(&world, &world.operator, "/api/tokens", "make", &new_token()).await.expect(201);
    let kept = rows(&world).await.len();
    let path = format!("/api/tokens/{}", token["token_id"].as_str().unwrap());
    let revoke = || request("DELETE", &path, &world.operator).header(KEY, "k").body(Body::empty()).unwrap();
    ledger.set(Mood { fail: 100, ..Mood::default() });
    for _ in 0..2 {
        world.send(revoke()).await.expect_problem(503, "not_remembered");
        assert_eq!(rows(&world).await.len(), kept);
    }
    ledger.set(Mood::default());
    world.send(revoke()).await.expect(204);
    assert_eq!(rows(&world).await.len(), kept + 1);
}

/// Wraps keys only when it is let.
#[derive(Debug)]
struct Gated {
    inner: Arc<dyn Kms>,
    open: Semaphore,
    reached: Notify,
}

#[async_trait]
impl Kms for Gated {
    fn current_version(&self) -> &str {
        self.inner.current_version()
    }

    async fn wrap(&self, key: &DataKey, aad: &[u8]) -> Result<Wrapped, KmsError> {
        self.reached.notify_one();
        let _open = self.open.acquire().await.unwrap();
        self.inner.wrap(key, aad).await
    }

    async fn unwrap(&self, wrapped: &Wrapped, aad: &[u8]) -> Result<DataKey, KmsError> {
        self.inner.unwrap(wrapped, aad).await
    }
}

/// The answer of a request is sealed after its effect: there its client goes away.
#[tokio::test]
async fn a_client_that_goes_away_finds_the_answer_when_it_comes_back() {
    let world = World::new().await;
    let body = json!({"name": "Beta"});
    let kms = Arc::new(Gated { inner: world.app.kms.clone(), open: Semaphore::new(0), reached: Notify::new() });
    let request = request("POST", "/api/orgs", &world.operator).header("content-type", "application/json");
    let request = request.header(KEY, "k").body(Body::from(body.to_string())).unwrap();
    let mut app = world.app.clone();
    app.parts_mut().kms = kms.clone();
    let call = tokio::spawn(crate::router(app).oneshot(request));
    kms.reached.notified().await;
    post(&world, &world.operator, "/api/orgs", "k", &body).await.expect_problem(409, "in_progress");
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    kms.open.add_permits(1);
    testkit::wait_until("the answer is kept", async || rows(&world).await.len() == 1).await;
    assert_eq!(post(&world, &world.operator, "/api/orgs", "k", &body).await.expect(201)["name"], "Beta");
    assert_eq!(world.get("/api/orgs").await.expect(200)["items"].as_array().unwrap().len(), 2);
}
