use axum::body::Body;
use ids::{ChannelId, OrgId};
use serde_json::{Value, json};
use store::{InboundMessage, Sender};

use crate::testing::{World, request};

/// Has somebody called `external_id` write at a channel, and gives back who that is here.
pub(crate) async fn met(world: &World, org: OrgId, channel: ChannelId, external_id: &str) -> Value {
    let store = &world.app.store;
    let channel = store.channel_get(org, channel).await.unwrap().unwrap();
    let digest = world.app.effects.identity(channel.channel_id, external_id);
    let sender = Sender { external_id: external_id.into(), name: "Ada".into(), digest };
    let message = InboundMessage {
        provider_event_id: format!("m-{external_id}"),
        thread: format!("with {external_id}"),
        text: "hello".into(),
        sender: Some(sender),
        digest: store.sources().bytes(),
    };
    store.inbound_receive(1, &channel, &message).await.unwrap();
    let all = store.channel_identity_list(org, Some(channel.channel_id), None, None, 200).await.unwrap();
    let found = all.into_iter().find(|one| one.external_id == external_id).unwrap();
    json!(found.channel_identity_id)
}

async fn channel(world: &World) -> ChannelId {
    let new = json!({"kind": "webhook", "name": "ops", "destination": "https://chat.example/hook"});
    world.post("/api/channels", new).await.expect(201)["channel_id"].as_str().unwrap().parse().unwrap()
}

async fn path(world: &World) -> String {
    let channel = channel(world).await;
    format!("/api/channel-identities/{}", met(world, world.org, channel, "u-1").await.as_str().unwrap())
}

#[tokio::test]
async fn somebody_who_writes_is_pending_until_somebody_says_what_they_may_do() {
    let world = World::new().await;
    let path = path(&world).await;
    let seen = world.get(&path).await.expect(200);
    assert_eq!((&seen["state"], &seen["may_prompt"], &seen["name"]), (&json!("pending"), &json!(false), &json!("Ada")));
    assert_eq!(world.get("/api/channel-identities?state=pending").await.expect(200)["items"], json!([seen]));

    let said = json!({"account_id": world.owner, "may_prompt": true, "may_decide": true, "state": "active"});
    let put = world.put(&path, said).await.expect(200);
    assert_eq!((&put["state"], &put["account_id"]), (&json!("active"), &json!(world.owner)));
    assert_eq!(world.get(&path).await.expect(200), put);
    assert_eq!(world.get("/api/channel-identities?state=pending").await.expect(200)["items"], json!([]));
    let audit = world.get("/api/audit?limit=200").await.expect(200);
    let said =
        audit["items"].as_array().unwrap().iter().find(|one| one["action"] == "channel_identity.change").unwrap();
    assert_eq!((&said["detail"]["may_decide"], &said["detail"]["state"]), (&json!(true), &json!("active")));
}

#[tokio::test]
async fn a_decision_takes_a_member_and_of_two_who_say_something_the_second_is_told() {
    let world = World::new().await;
    let path = path(&world).await;
    let nobody = json!({"may_prompt": true, "may_decide": true, "state": "active"});
    world.put(&path, nobody).await.expect_problem(422, "invalid");
    let (_, stranger) = world.other_org().await;
    world.get_as(&stranger, &path).await.expect_problem(404, "not_found");
    let guest = json!({"may_prompt": true, "may_decide": false, "state": "active"});
    let unknown: ids::AccountId = world.app.store.sources().id();
    let someone = json!({"account_id": unknown, "may_prompt": true, "may_decide": true, "state": "active"});
    world.put(&path, someone).await.expect_problem(404, "not_found");
    let pending = json!({"may_prompt": true, "may_decide": false, "state": "pending"});
    world.put(&path, pending).await.expect_problem(422, "invalid");

    let tag = world.get(&path).await.headers["etag"].to_str().unwrap().to_owned();
    world.put(&path, guest.clone()).await.expect(200);
    let late = request("PUT", &path, &world.operator).header("content-type", "application/json");
    let late = late.header("if-match", tag).body(Body::from(guest.to_string())).unwrap();
    world.send(late).await.expect_problem(412, "precondition_failed");
}

#[tokio::test]
async fn what_is_taken_from_somebody_is_told_to_the_recovery_ledger() {
    let world = World::new().await;
    let path = path(&world).await;
    let say = async |state: &str, decide: bool| {
        let account = decide.then_some(world.owner);
        let said = json!({"account_id": account, "may_prompt": true, "may_decide": decide, "state": state});
        world.put(&path, said).await.expect(200);
    };
    say("active", true).await;
    assert_eq!(world.app.store.outbox_backlog().await.unwrap().rows, 0);
    say("disabled", true).await;
    assert_eq!(world.app.store.outbox_backlog().await.unwrap().rows, 0, "it was told before the answer");
    assert_eq!(world.get(&path).await.expect(200)["state"], "disabled");
}
