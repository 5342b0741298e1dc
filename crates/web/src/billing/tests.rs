//! Plans, the subscription, and the webhook, with a provider that signs with a word.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::Request;
use billing::{Billing, BillingProvider, Notice, NoticeError, Told};
use chrono::TimeDelta;
use domain::plan::Plans;
use domain::subscription::Terms;
use domain::tenancy::{Role, Scope};
use ids::OrgId;
use serde_json::{Value, json};

use super::*;
use crate::testing::{Answer, World};

/// Somebody who is paid, whose signature is a word and whose events are JSON of our own.
#[derive(Debug)]
struct Till;

#[async_trait]
impl BillingProvider for Till {
    fn name(&self) -> &'static str {
        "till"
    }

    async fn checkout(&self, order: &Order<'_>) -> Result<String, BillingError> {
        Ok(format!("https://till.example/{}/{}", order.price, order.customer.unwrap_or("new")))
    }

    async fn portal(&self, customer: &str) -> Result<String, BillingError> {
        if customer == "cus_lost" {
            Err(BillingError::Refused(404))
        } else {
            Ok(format!("https://till.example/{customer}"))
        }
    }

    async fn page(&self, _: Option<&str>, _: Timestamp) -> Result<billing::Page, BillingError> {
        Ok(billing::Page::default())
    }

    fn read(&self, signature: Option<&str>, body: &[u8], now: Timestamp) -> Result<Notice, NoticeError> {
        if signature != Some("ours") {
            return Err(NoticeError::NotSigned);
        }
        let said: Value = serde_json::from_slice(body).map_err(|_| NoticeError::Unreadable)?;
        let text = |name: &str| said[name].as_str().map(str::to_owned);
        let terms = Terms {
            plan: text("plan"),
            state: text("state").ok_or(NoticeError::Unreadable)?.parse().unwrap(),
            period_ends_at: None,
            customer: Some("cus_1".into()),
            reference: "sub_1".into(),
            at: now - TimeDelta::seconds(said["age"].as_i64().unwrap_or(0)),
        };
        let org: Option<OrgId> = text("org").map(|org| org.parse().unwrap());
        Ok(Notice { event: text("id").unwrap(), told: Some(Told { org, terms }) })
    }
}

impl World {
    async fn with_till() -> Self {
        let mut world = Self::new().await;
        let plans: BTreeMap<String, Plan> = serde_json::from_value(json!({
            "team": {"title": "Team", "price": "price_1", "quotas": {"turns": {"period": "month", "quantity_max": 5}}},
        }))
        .unwrap();
        let billing =
            Billing { provider: Arc::new(Till), plans: Arc::new(Plans::from(plans)), grace: TimeDelta::days(7) };
        world.bill(billing);
        world
    }

    async fn told(&self, signature: &str, event: Value) -> Answer {
        let request = Request::post("/webhooks/billing").header("stripe-signature", signature);
        self.send(request.body(Body::from(event.to_string())).unwrap()).await
    }

    async fn prompt(&self) -> Answer {
        let created = self.post("/api/sessions", json!({"title": "Plan"})).await.expect(201);
        let session = created["session_id"].as_str().unwrap();
        let prompt = json!({"kind": "prompt", "payload": {"text": "say hi"}});
        self.post(&format!("/api/sessions/{session}/commands"), prompt).await
    }
}

#[tokio::test]
async fn an_org_sees_plans_and_its_subscription_and_sets_neither() {
    let world = World::with_till().await;
    let owner = world.member(world.org, Role::Owner, &[Scope::Read, Scope::Write]).await;
    insta::assert_json_snapshot!(world.get_as(&owner, "/api/plans").await.expect(200), @r#"
    {
      "items": [
        {
          "buyable": false,
          "name": "self-hosted",
          "quotas": [],
          "title": "self-hosted"
        },
        {
          "buyable": true,
          "name": "team",
          "quotas": [
            {
              "kind": "turns",
              "period": "month",
              "quantity_max": 5
            }
          ],
          "title": "Team"
        }
      ]
    }
    "#);
    insta::assert_json_snapshot!(world.get_as(&owner, "/api/subscription").await.expect(200), @r#"
    {
      "confirmed": true,
      "period_ends_at": null,
      "plan": "self-hosted",
      "provider": "manual",
      "reference": null,
      "refused_from": null,
      "started_at": "2024-10-04T00:00:00Z",
      "state": "active"
    }
    "#);
    let team = json!({"plan": "team", "state": "active"});
    world.put_as(&owner, "/api/subscription", team.clone()).await.expect_problem(403, "forbidden");
    world.put("/api/subscription", team).await.expect(200);
    world.put("/api/subscription", json!({"plan": "none", "state": "active"})).await.expect_problem(422, "invalid");
    let quota = world.get_as(&owner, "/api/quotas/turns").await.expect(200);
    assert_eq!((&quota["origin"], &quota["quantity_max"]), (&json!("plan"), &json!(5)));
}

#[tokio::test]
async fn of_two_who_set_a_subscription_the_second_is_told() {
    let world = World::with_till().await;
    let seen = world.get("/api/subscription").await.headers["etag"].to_str().unwrap().to_owned();
    let put = async || {
        let request = crate::testing::request("PUT", "/api/subscription", &world.operator).header("if-match", &seen);
        let body = json!({"plan": "team", "state": "active"}).to_string();
        world.send(request.header("content-type", "application/json").body(Body::from(body)).unwrap()).await
    };
    put().await.expect(200);
    put().await.expect_problem(412, "precondition_failed");
}

#[tokio::test]
async fn a_plan_is_bought_where_it_is_sold() {
    let world = World::with_till().await;
    let checkout = async |plan: &str| world.post("/api/subscription/checkout", json!({"plan": plan})).await;
    assert_eq!(checkout("team").await.expect(200)["url"], "https://till.example/price_1/new");
    checkout("self-hosted").await.expect_problem(409, "not_offered");
    world.post("/api/subscription/portal", json!({})).await.expect_problem(409, "not_offered");
    world.told("ours", json!({"id": "evt_1", "org": world.org, "plan": "team", "state": "active"})).await.expect(204);
    assert_eq!(world.get("/api/subscription").await.expect(200)["plan"], "team");
    checkout("team").await.expect_problem(409, "conflict");
    assert_eq!(
        world.post("/api/subscription/portal", json!({})).await.expect(200)["url"],
        "https://till.example/cus_1"
    );
    let member = world.member(world.org, Role::Member, &[Scope::Read, Scope::Write]).await;
    world.post_as(&member, "/api/subscription/portal", json!({})).await.expect_problem(403, "forbidden");
    // Where nobody is paid, nothing is sold.
    let unpaid = World::new().await;
    unpaid.post("/api/subscription/checkout", json!({"plan": "self-hosted"})).await.expect_problem(409, "not_offered");
    unpaid.told("ours", json!({})).await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn a_subscription_that_ends_refuses_what_is_new_and_says_what_to_do() {
    let world = World::with_till().await;
    let event = |id: &str, state: &str, age: i64| json!({"id": id, "org": world.org, "plan": "team", "state": state, "age": age});
    world.told("ours", event("evt_1", "active", 5)).await.expect(204);
    world.prompt().await.expect(202);
    world.told("ours", event("evt_2", "cancelled", 1)).await.expect(204);
    let refused = world.prompt().await;
    assert!(refused.headers.get("retry-after").is_none(), "the end of a period changes nothing");
    let problem = refused.expect_problem(402, "subscription_ended");
    assert!(problem["detail"].as_str().unwrap().contains("nothing is deleted"), "{problem}");
    // Known by its reference alone, and repeated: both change nothing.
    world.told("ours", json!({"id": "evt_3", "state": "active"})).await.expect(204);
    world.told("ours", event("evt_1", "active", 0)).await.expect(204);
    world.prompt().await.expect_problem(402, "subscription_ended");
    assert!(world.get("/api/sessions").await.expect(200)["items"].as_array().unwrap().len() > 1);
}

#[tokio::test]
async fn what_is_not_signed_or_too_large_or_comes_in_maintenance_changes_nothing() {
    let world = World::with_till().await;
    let event = json!({"id": "evt_1", "org": world.org, "plan": "team", "state": "active"});
    world.told("theirs", event.clone()).await.expect_problem(401, "bad_signature");
    world.told("ours", json!({"id": "evt_1"})).await.expect_problem(422, "invalid");
    world.told("ours", json!({"id": "x".repeat(300 * 1024)})).await.expect_problem(413, "too_large");
    let elsewhere = json!({"id": "evt_1", "org": "01926b3a-0000-7000-8000-000000000001", "state": "active"});
    world.told("ours", elsewhere).await.expect(204);
    world.put("/api/maintenance", json!({"reason": "moving"})).await;
    world.told("ours", event.clone()).await.expect_problem(503, "maintenance");
    assert_eq!(world.get("/api/subscription").await.expect(200)["plan"], "self-hosted");
    world.delete("/api/maintenance").await;
    world.told("ours", event).await.expect(204);
    assert_eq!(world.get("/api/subscription").await.expect(200)["plan"], "team");
}

#[tokio::test]
async fn wrong_signatures_are_told_to_stop_and_a_right_one_is_taken_all_the_same() {
    let mut world = World::with_till().await;
    world.limit_guesses(2);
    world.get("/api/subscription").await.expect(200);
    let event = json!({"id": "evt_1", "org": world.org, "plan": "team", "state": "active"});
    for _ in 0..2 {
        world.told("theirs", event.clone()).await.expect_problem(401, "bad_signature");
    }
    let refused = world.told("theirs", event.clone()).await;
    refused.expect_problem(429, "too_many_requests");
    assert_eq!(refused.headers["retry-after"], "30");
    world.told("ours", event).await.expect(204);
    assert_eq!(world.get("/api/subscription").await.expect(200)["plan"], "team");
}

#[tokio::test]
async fn a_run_of_an_org_that_has_ended_is_not_started() {
    let world = World::with_till().await;
    let new = json!({"name": "nightly", "agent": "scripted", "prompt": "say hi", "triggers": []});
    let workflow = world.post("/api/workflows", new).await.expect(201)["workflow_id"].as_str().unwrap().to_owned();
    world.put("/api/subscription", json!({"plan": "team", "state": "cancelled"})).await.expect(200);
    let start = async || world.post(&format!("/api/workflows/{workflow}/start"), json!({})).await;
    start().await.expect_problem(402, "subscription_ended");
    let until = world.app.store.sources().now() + TimeDelta::days(3);
    let paid = json!({"plan": "team", "state": "cancelled", "period_ends_at": until});
    let put = world.put("/api/subscription", paid).await.expect(200);
    assert_eq!(put["refused_from"], put["period_ends_at"]);
    start().await.expect(201);
}
