//! Who is wrong too often, and who says too much.

use std::sync::Arc;

use axum::http::HeaderMap;
use chrono::TimeDelta;
use clock::ManualClock;
use domain::schedule::OverlapPolicy;
use gateway::Parts;
use ids::ChannelId;
use serde_json::{Value, json};
use store::Environment;

use crate::door::Door;
use crate::world::World;

const WRONG: &str = "v1,bm90IGEgc2lnbmF0dXJl";

/// A world whose time stands still, with a channel.
struct Limited {
    world: World,
    clock: Arc<ManualClock>,
    channel: ChannelId,
    parts: Parts,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    fn is(&self, status: u16, code: &str) -> bool {
        (self.status, &self.body["code"]) == (status, &json!(code))
    }
}

impl Limited {
    async fn with(change: impl FnOnce(&mut Parts)) -> Self {
        let (clock, sources) = testkit::sources(1);
        let world = World::of(Environment::Production, sources).await;
        let channel = world.channel("http://127.0.0.1:9/").await;
        let mut parts = world.parts();
        change(&mut parts);
        Self { world, clock, channel, parts }
    }

    /// The channel's, at a gateway of its own.
    async fn door(&self) -> Door {
        let secret = self.world.signing_secret(self.channel);
        Door::open(self.parts.clone(), &self.channel.to_string(), secret).await
    }

    async fn threads(&self) -> usize {
        self.world.store.binding_list(self.world.org, None, 200).await.unwrap().len()
    }
}

/// Another door of the gateway that `door` is one of.
fn beside(door: &Door, place: &str, secret: String) -> Door {
    let (gateway, _) = door.url.split_once("/hooks/").unwrap();
    Door { url: format!("{gateway}/hooks/{place}"), secret, ..door.clone() }
}

fn message(id: &str) -> String {
    json!({"thread": id, "text": "hi"}).to_string()
}

/// Signatures go by the machine's clock, whatever the world's is. `None`: rightly signed.
async fn post(door: &Door, id: &str, signature: Option<&str>) -> Answer {
    let (at, body) = (testkit::system_sources().now().timestamp(), message(id));
    let right = standardwebhooks::Webhook::new(&door.secret).unwrap().sign(id, at, body.as_bytes()).unwrap();
    let request = door.http.post(&door.url).header("webhook-id", id).header("webhook-timestamp", at);
    let request = request.header("webhook-signature", signature.unwrap_or(&right));
    let response = request.body(body).send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer { status, headers, body: response.json().await.unwrap_or_default() }
}

#[tokio::test]
async fn a_channel_that_says_too_much_is_told_when_to_go_on_and_nothing_of_it_is_kept() {
    let limited = Limited::with(|parts| parts.messages_per_minute = 2).await;
    let door = limited.door().await;
    for (id, left) in [("m1", "\"channel\";r=1;t=30"), ("m2", "\"channel\";r=0;t=60")] {
        assert!(post(&door, id, Some(WRONG)).await.is(401, "bad_signature"), "who is wrong uses up nothing");
        let answer = post(&door, id, None).await;
        assert_eq!((answer.status, answer.header("ratelimit")), (202, left));
        assert_eq!(answer.header("ratelimit-policy"), "\"channel\";q=2;w=60");
    }
    let refused = post(&door, "m3", None).await;
    assert!(refused.is(429, "too_many_requests"), "{}", refused.body);
    assert_eq!((refused.header("retry-after"), refused.header("ratelimit")), ("30", "\"channel\";r=0;t=30"));
    assert_eq!(limited.threads().await, 2);
    let other = limited.world.channel("http://127.0.0.1:9/").await;
    let other = beside(&door, &other.to_string(), limited.world.signing_secret(other));
    assert_eq!(post(&other, "m1", None).await.status, 202, "another channel has its own");
    limited.clock.advance(TimeDelta::seconds(30));
    let again = post(&door, "m3", None).await;
    assert_eq!((again.status, &again.body["duplicate"]), (202, &json!(false)));
}

#[tokio::test]
async fn a_channel_that_was_closed_costs_no_more_than_one_that_is_open_and_its_sender_is_no_guesser() {
    let limited = Limited::with(|parts| (parts.messages_per_minute, parts.wrong_signatures_per_minute) = (2, 1)).await;
    let door = limited.door().await;
    assert!(limited.world.store.channel_close(limited.world.org, limited.channel, "account:1").await.unwrap());
    for id in ["m1", "m2"] {
        assert!(post(&door, id, None).await.is(404, "not_found"));
    }
    assert!(post(&door, "m3", None).await.is(429, "too_many_requests"));
    assert!(post(&door, "m3", Some(WRONG)).await.is(404, "not_found"), "nothing of the address was wrong so far");
    assert!(post(&door, "m3", Some(WRONG)).await.is(429, "too_many_requests"));
}

#[tokio::test]
async fn an_address_that_signs_wrongly_is_refused_unseen_and_what_is_signed_rightly_is_taken() {
    let limited = Limited::with(|parts| parts.wrong_signatures_per_minute = 2).await;
    let door = limited.door().await;
    let nobody: ChannelId = testkit::system_sources().id();
    let nowhere = beside(&door, &nobody.to_string(), door.secret.clone());
    assert!(post(&nowhere, "m1", None).await.is(404, "not_found"));
    assert!(post(&door, "m1", Some(WRONG)).await.is(401, "bad_signature"));
    for (door, signature) in [(&door, Some(WRONG)), (&nowhere, None)] {
        let refused = post(door, "m1", signature).await;
        assert!(refused.is(429, "too_many_requests"), "{}", refused.body);
        assert_eq!(refused.header("retry-after"), "30");
    }
    assert_eq!(post(&door, "m1", None).await.status, 202);
    limited.clock.advance(TimeDelta::seconds(30));
    assert!(post(&door, "m2", Some(WRONG)).await.is(401, "bad_signature"));
    assert_eq!(limited.threads().await, 1);
    // Who asks the database now is told that nobody answers.
    limited.world.database.pool().close().await;
    assert!(post(&door, "m2", Some(WRONG)).await.is(429, "too_many_requests"));
    assert!(post(&door, "m2", None).await.is(503, "unavailable"));
}

#[tokio::test]
async fn a_trigger_that_was_called_rightly_goes_on_being_called_from_an_address_that_signs_wrongly() {
    let limited = Limited::with(|parts| parts.wrong_signatures_per_minute = 1).await;
    let door = limited.door().await;
    let mut calls = Vec::new();
    for _ in 0..2 {
        let (_, trigger, secret) = limited.world.called(OverlapPolicy::Allow).await;
        calls.push(beside(&door, &format!("triggers/{trigger}"), secret));
    }
    assert_eq!(post(&calls[0], "e1", None).await.status, 202);
    assert!(post(&door, "m1", Some(WRONG)).await.is(401, "bad_signature"));
    assert_eq!(post(&calls[0], "e2", None).await.status, 202);
    assert!(post(&calls[0], "e3", Some(WRONG)).await.is(429, "too_many_requests"));
    assert!(post(&calls[1], "e1", None).await.is(429, "too_many_requests"), "it was not called before");
    limited.clock.advance(TimeDelta::minutes(1));
    assert_eq!(post(&calls[1], "e1", None).await.status, 202);
}

#[tokio::test]
async fn every_answer_has_the_id_of_its_request() {
    let limited = Limited::with(|_| {}).await;
    let door = limited.door().await;
    let id = "6f8a3e0c-55a4-4f0e-9d3b-0d2f3e6b7a11";
    let given = door.http.post(&door.url).header("x-request-id", id).send().await.unwrap();
    assert_eq!((given.status().as_u16(), given.headers()["x-request-id"].to_str().unwrap()), (401, id));
    for answer in [post(&door, "m1", None).await, post(&door, "m2", Some(WRONG)).await] {
        assert!(answer.header("x-request-id").parse::<uuid::Uuid>().is_ok());
        assert!(!answer.headers.contains_key("ratelimit"), "without a limit nothing is told of one");
    }
}
