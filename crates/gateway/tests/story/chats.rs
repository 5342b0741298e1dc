//! People in chats: who may prompt, and questions that are decided by a token, across a restore.

use domain::chat::IdentityState;
use domain::command::CommandState;
use domain::event::{Event, TurnOutcome};
use domain::tenancy::Role;
use domain::version::Expected;
use ids::{AccountId, ChannelId, SessionId};
use serde_json::{Value, json};
use store::{ChannelChange, ChannelIdentity, IdentityChange, NewMember};
use testkit::wait_until;

use crate::door::Door;
use crate::forgetting::{backed_up, restored};
use crate::sink::Sink;
use crate::world::World;

async fn door_of(world: &World, channel: ChannelId) -> Door {
    Door::open(world.parts(), &channel.to_string(), world.signing_secret(channel)).await
}

fn said(sender: &str, text: &str) -> String {
    json!({"thread": "general", "text": text, "sender": {"id": sender, "name": "Ada"}}).to_string()
}

fn decided(sender: &str, token: &str, kind: &str) -> String {
    json!({"thread": "general", "sender": {"id": sender}, "decision": {"token": token, "kind": kind}}).to_string()
}

/// The one person that a message made known under this name.
async fn known(world: &World, external_id: &str) -> ChannelIdentity {
    let all = world.store.channel_identity_list(world.org, None, None, None, 200).await.unwrap();
    all.into_iter().find(|one| one.external_id == external_id).unwrap()
}

async fn member(world: &World) -> AccountId {
    let new = NewMember { email: "bob@example.org".into(), display_name: "Bob".into(), role: Role::Member.into() };
    world.store.member_add(world.org, &new, "role:test").await.unwrap().unwrap().account_id
}

async fn say(world: &World, external_id: &str, account: Option<AccountId>, state: IdentityState) {
    let identity = known(world, external_id).await.channel_identity_id;
    let change = IdentityChange { account, may_prompt: true, may_decide: account.is_some(), state };
    let said = world.store.channel_identity_change(world.org, identity, &change, &Expected::Anything, "role:test");
    said.await.unwrap();
}

/// A turn that asks for approval.
async fn ask(world: &World, session: SessionId, request_id: &str) {
    world.enqueue(session).await;
    let asked = Event::ApprovalRequested { request_id: request_id.into(), title: "delete it".into() };
    world.work_that(asked, TurnOutcome::AwaitingApproval).await;
}

/// What the newest message at the far side says of its question.
fn told(sink: &Sink) -> Value {
    let body: Value = serde_json::from_slice(&sink.seen().last().unwrap().body).unwrap();
    body["data"]["interaction"].clone()
}

/// Kinds and states of the session's commands.
async fn commands(world: &World, session: SessionId) -> Vec<(String, CommandState)> {
    let all = world.store.commands_list(world.org, session, 0, 200).await.unwrap();
    all.into_iter().map(|command| (command.kind, command.state)).collect()
}

#[tokio::test]
async fn somebody_in_the_chat_approves_by_a_button_or_a_line_once() {
    let world = World::new().await;
    let (sink, url) = Sink::start().await;
    let channel = world.channel(&url).await;
    let session = world.thread(channel, "general").await;
    let door = door_of(&world, channel).await;
    world.gateway();
    ask(&world, session, "r1").await;
    wait_until("the thread is told", || async { sink.seen().len() == 1 }).await;
    let asked = told(&sink);
    assert_eq!(asked["kind"], "approval");
    let token = asked["token"].as_str().unwrap();

    let (status, problem) = door.post(&world, "m1", &decided("ada", token, "approve")).await;
    assert_eq!((status, &problem["code"]), (403, &json!("sender_not_allowed")));
    say(&world, "ada", Some(member(&world).await), IdentityState::Active).await;
    let (status, answer) = door.post(&world, "m2", &decided("ada", token, "approve")).await;
    assert_eq!((status, &answer["duplicate"]), (202, &json!(false)));
    let (status, again) = door.post(&world, "m2", &decided("ada", token, "approve")).await;
    assert_eq!((status, &again["command_id"]), (202, &answer["command_id"]));
    let (status, problem) = door.post(&world, "m3", &said("ada", &format!("/reject {token}"))).await;
    assert_eq!((status, &problem["code"]), (409, &json!("interaction_over")));
    let resolved =
        Event::ApprovalResolved { request_id: "r1".into(), outcome: domain::event::ApprovalOutcome::Approved };
    world.work_that(resolved, TurnOutcome::Completed).await;

    ask(&world, session, "r2").await;
    wait_until("the thread is told again", || async {
        told(&sink)["token"].as_str().is_some_and(|next| next != token)
    })
    .await;
    let next = told(&sink)["token"].as_str().unwrap().to_owned();
    let (status, _) = door.post(&world, "m4", &said("ada", &format!("/reject {next}"))).await;
    assert_eq!(status, 202);
    let kinds: Vec<String> = commands(&world, session).await.into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["prompt", "approve", "prompt", "reject"]);
    let used = world.remembered().await.interactions;
    for request in ["r1", "r2"] {
        assert!(used.contains(&(world.org, world.parts().effects.interaction(session, request))));
    }
}

#[tokio::test]
async fn a_token_from_before_a_restore_decides_nothing_and_who_was_disabled_stays_so() {
    let world = World::new().await;
    let (sink, url) = Sink::start().await;
    let channel = world.channel(&url).await;
    let session = world.thread(channel, "general").await;
    let account = member(&world).await;
    let door = door_of(&world, channel).await;
    for sender in ["ada", "eve"] {
        let (status, _) = door.post(&world, sender, &decided(sender, "cwi_none", "approve")).await;
        assert_eq!(status, 403);
        say(&world, sender, Some(account), IdentityState::Active).await;
    }
    ask(&world, session, "r1").await;
    let mut world = world;
    world.send(1).await;
    let token = told(&sink)["token"].as_str().unwrap().to_owned();
    let (world, backup) = backed_up(world).await;

    // After the backup: one who could decide is disabled, and so is one who is not in the backup.
    say(&world, "eve", Some(account), IdentityState::Disabled).await;
    let door = door_of(&world, channel).await;
    door.post(&world, "late", &decided("mallory", "cwi_none", "approve")).await;
    say(&world, "mallory", None, IdentityState::Disabled).await;
    assert!(world.parts().effects.flush().await);

    let world = restored(&world, &backup).await;
    assert_eq!(known(&world, "ada").await.state, IdentityState::Active);
    assert_eq!(known(&world, "eve").await.state, IdentityState::Disabled);
    let door = door_of(&world, channel).await;
    for (id, body) in [("m1", decided("ada", &token, "approve")), ("m2", said("ada", &format!("/approve {token}")))] {
        let (status, problem) = door.post(&world, id, &body).await;
        assert_eq!((status, &problem["code"]), (409, &json!("interaction_over")));
        assert!(problem["detail"].as_str().unwrap().contains("restored"), "{problem}");
    }
    let (status, _) = door.post(&world, "m3", &said("mallory", "hello")).await;
    assert_eq!((status, known(&world, "mallory").await.state), (403, IdentityState::Disabled));
    assert_eq!(commands(&world, session).await.len(), 1, "nothing was decided");
}

#[tokio::test]
async fn a_decision_of_the_lost_system_is_not_made_again_by_a_restored_one() {
    let world = World::new().await;
    let (sink, url) = Sink::start().await;
    let channel = world.channel(&url).await;
    let session = world.thread(channel, "general").await;
    let account = member(&world).await;
    let door = door_of(&world, channel).await;
    door.post(&world, "m1", &decided("ada", "cwi_none", "approve")).await;
    say(&world, "ada", Some(account), IdentityState::Active).await;
    ask(&world, session, "r1").await;
    let (mut world, backup) = backed_up(world).await;
    world.send(1).await;
    let token = told(&sink)["token"].as_str().unwrap().to_owned();
    let door = door_of(&world, channel).await;
    let approve = decided("ada", &token, "approve");
    assert_eq!(door.post(&world, "m2", &approve).await.0, 202);

    let mut world = restored(&world, &backup).await;
    world.render().await;
    let door = door_of(&world, channel).await;
    let (status, answer) = door.post(&world, "m2", &approve).await;
    assert_eq!((status, &answer["duplicate"], &answer["command_id"]), (202, &json!(true), &Value::Null));
    assert_eq!(door.post(&world, "m3", &approve).await.0, 404, "the thread was told of it by the lost system");
    assert_eq!(commands(&world, session).await.len(), 1);
}

#[tokio::test]
async fn a_channel_for_known_people_takes_no_prompts_of_others() {
    let world = World::new().await;
    let channel = world.channel("http://127.0.0.1:9/").await;
    let door = door_of(&world, channel).await;
    let change = ChannelChange { unknown_may_prompt: Some(false), ..ChannelChange::default() };
    world.store.channel_change(world.org, channel, &change, &Expected::Anything, "role:test").await.unwrap();
    let (status, problem) = door.post(&world, "m1", &said("ada", "hi")).await;
    assert_eq!((status, &problem["code"]), (403, &json!("sender_not_allowed")));
    assert!(world.store.binding_list(world.org, None, 200).await.unwrap().is_empty());
    say(&world, "ada", None, IdentityState::Active).await;
    let (status, answer) = door.post(&world, "m1", &said("ada", "hi")).await;
    assert_eq!((status, &answer["duplicate"]), (202, &json!(false)));
    for odd in [json!({"id": ""}), json!({"id": "x".repeat(201)}), json!({"id": "a", "name": "a\0b"}), json!("ada")] {
        let body = json!({"thread": "general", "text": "hi", "sender": odd}).to_string();
        assert_eq!(door.post(&world, "m2", &body).await.0, 422);
    }
}

#[tokio::test]
async fn what_a_chat_calls_somebody_is_shown_without_what_nobody_sees() {
    let world = World::new().await;
    let channel = world.channel("http://127.0.0.1:9/").await;
    let door = door_of(&world, channel).await;
    for (id, name, shown) in [("ada", "Ada\u{202e}\nL.\u{200b}", "Ada L."), ("eve", "\u{200b}", "")] {
        let body = json!({"thread": "general", "text": "a\u{202e}b", "sender": {"id": id, "name": name}});
        assert_eq!(door.post(&world, id, &body.to_string()).await.0, 202);
        assert_eq!(known(&world, id).await.name, shown);
    }
}
