//! A plan is bought, runs out, and is given back: the whole program, with signed events of a billing provider.

use client::{Error, WhileRunning};
use e2e::{Folder, Installation, Served};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sha2::Sha256;

const CONFIG: &str = "[plans.team]\nprice = 'price_team'\nquotas.runs = { period = 'day', quantity_max = 7 }\n\
    [billing.stripe]\napi_key = 'file:api-key'\nwebhook_secret = 'file:webhook-secret'\nreturn_url = 'http://localhost/'\n";

/// Tells `served` what became of the org's subscription, signed with `secret`.
async fn tell(served: &Served, secret: &str, event: &Value) -> StatusCode {
    let (at, body) = (testkit::system_sources().now().timestamp(), event.to_string());
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{at}.{body}").as_bytes());
    let signature = format!("t={at},v1={}", hex::encode(mac.finalize().into_bytes()));
    let request = reqwest::Client::new().post(format!("{}/webhooks/billing", served.url("web")));
    request.header("stripe-signature", signature).body(body).send().await.unwrap().status()
}

fn event(id: &str, org: &str, kind: &str, status: &str) -> Value {
    let subscription = json!({
        "id": "sub_1", "status": status, "customer": "cus_1", "items": {"data": [{"price": {"id": "price_team"}}]},
        "metadata": {"org_id": org},
    });
    let created = testkit::system_sources().now().timestamp();
    json!({"id": id, "type": kind, "created": created, "data": {"object": subscription}})
}

#[tokio::test]
async fn an_org_is_on_the_plan_that_it_pays_for() {
    let folder = Folder::new();
    let installation = Installation::new(folder.path(), CONFIG);
    let secret = hex::encode(testkit::system_sources().bytes::<16>());
    let token = installation.init();
    // Where references to files begin.
    for name in ["api-key", "webhook-secret"] {
        std::fs::write(installation.data().join(name), &secret).unwrap();
    }
    let served = installation.serve_as(token);
    let operator = served.operator();
    let org = operator.workspace().await.unwrap().org.org_id.to_string();
    let subscribed = async || operator.subscription_get().await.unwrap().value;
    assert_eq!(operator.plan_list().await.unwrap().len(), 2);

    let bought = event("evt_1", &org, "customer.subscription.created", "active");
    assert_eq!(tell(&served, "another", &bought).await, StatusCode::UNAUTHORIZED);
    assert_eq!(subscribed().await.plan, "self-hosted");
    assert_eq!(tell(&served, &secret, &bought).await, StatusCode::NO_CONTENT);
    assert_eq!((&*subscribed().await.plan, &*subscribed().await.provider), ("team", "stripe"));
    let quota = operator.quota_get("runs").await.unwrap().value;
    assert_eq!((&*quota.origin, quota.quantity_max), ("plan", 7));

    let ended = event("evt_2", &org, "customer.subscription.deleted", "canceled");
    assert_eq!(tell(&served, &secret, &ended).await, StatusCode::NO_CONTENT);
    let session = operator.session_create("Plan", "scripted").await.unwrap().session_id;
    let prompt = async || operator.prompt_submit(session, "one", "say hi", WhileRunning::Queue).await;
    let refused = prompt().await.unwrap_err();
    assert!(matches!(&refused, Error::Problem(problem) if problem.code == "subscription_ended"), "{refused:?}");
    let given = operator.subscription_put("team", "active", None, None).await.unwrap().value;
    assert_eq!((given.refused_from, given.confirmed), (None, true));
    prompt().await.unwrap();
}
