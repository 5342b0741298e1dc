use domain::channel::DeliveryState::Sent;
use ids::ChannelId;
use serde_json::json;
use testkit::Mood;

use crate::door::Door;
use crate::sink::Sink;
use crate::world::World;

async fn door_of(world: &World, channel: ChannelId) -> Door {
    Door::open(world.parts(), &channel.to_string(), world.signing_secret(channel)).await
}

fn message(thread: &str, text: &str) -> String {
    json!({"thread": thread, "text": text}).to_string()
}

async fn sessions(world: &World) -> usize {
    world.store.binding_list(world.org, None, 200).await.unwrap().len()
}

#[tokio::test]
async fn a_message_becomes_a_prompt_whose_answer_comes_back() {
    let world = World::new().await;
    let (sink, url) = Sink::start().await;
    let channel = world.channel(&url).await;
    let door = door_of(&world, channel).await;
    world.gateway();
    let (status, answer) = door.post(&world, "m1", &message("general", "hi")).await;
    assert_eq!((status, &answer["duplicate"]), (202, &json!(false)));
    world.work("hello").await;
    world.until(Sent, 1).await;
    assert_eq!(sink.accepted("general"), ["hello"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_comes_again_is_the_same_prompt() {
    let world = World::new().await;
    let door = door_of(&world, world.channel("http://127.0.0.1:9/").await).await;
    let posts = (0..8).map(|_| async { door.post(&world, "m1", &message("general", "hi")).await });
    let answers = futures::future::join_all(posts).await;
    assert!(
        answers.iter().all(|(status, answer)| *status == 202 && answer["command_id"] == answers[0].1["command_id"])
    );
    assert_eq!(answers.iter().filter(|(_, answer)| answer["duplicate"] == json!(false)).count(), 1);
    assert_eq!(sessions(&world).await, 1);

    let (_, next) = door.post(&world, "m2", &message("general", "hi")).await;
    assert_ne!(next["command_id"], answers[0].1["command_id"]);
    assert_eq!(sessions(&world).await, 1);
}

#[tokio::test]
async fn a_message_is_answered_when_the_ledger_knows_it() {
    let world = World::new().await;
    let channel = world.channel("http://127.0.0.1:9/").await;
    let door = door_of(&world, channel).await;
    world.ledger.set(Mood { fail: 100, ..Mood::default() });
    for _ in 0..2 {
        let (status, problem) = door.post(&world, "m1", &message("general", "hi")).await;
        assert_eq!((status, &problem["code"]), (503, &json!("not_remembered")));
    }
    world.ledger.set(Mood::default());
    let (status, answer) = door.post(&world, "m1", &message("general", "hi")).await;
    assert_eq!((status, &answer["duplicate"]), (202, &json!(true)));
    assert_eq!(sessions(&world).await, 1);
    let event = world.parts().effects.inbound(channel.into(), "m1");
    assert!(world.remembered().await.inbound.contains(&(world.org, channel.into(), event)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_event_under_two_threads_is_one_prompt() {
    let world = World::new().await;
    let door = door_of(&world, world.channel("http://127.0.0.1:9/").await).await;
    let (one, two) = (message("one", "hi"), message("two", "hi"));
    let ((_, first), (_, second)) = tokio::join!(door.post(&world, "m1", &one), door.post(&world, "m1", &two));
    assert_eq!(first["command_id"], second["command_id"]);
    assert_eq!(sessions(&world).await, 1);
}

#[tokio::test]
async fn a_message_that_is_not_signed_is_not_read() {
    let world = World::new().await;
    let channel = world.channel("http://127.0.0.1:9/").await;
    let door = door_of(&world, channel).await;
    let at = world.store.sources().now().timestamp();
    for body in [message("general", "hi"), "not even JSON".into()] {
        let (status, problem) = door.post_signed("m1", at, "v1,bm90IGEgc2lnbmF0dXJl", &body).await;
        assert_eq!((status, &problem["code"]), (401, &json!("bad_signature")));
    }
    let other = Door { secret: world.signing_secret(world.channel("http://127.0.0.1:9/").await), ..door };
    assert_eq!(other.post(&world, "m1", &message("general", "hi")).await.0, 401);
    assert_eq!(sessions(&world).await, 0);
}

#[tokio::test]
async fn a_message_that_came_in_maintenance_is_taken_when_it_comes_again() {
    let world = World::new().await;
    let door = door_of(&world, world.channel("http://127.0.0.1:9/").await).await;
    world.store.maintenance_begin("moving", "role:test").await.unwrap();
    let (status, problem) = door.post(&world, "m1", &message("general", "hi")).await;
    assert_eq!((status, &problem["code"]), (503, &json!("maintenance")));
    assert_eq!(sessions(&world).await, 0);
    world.store.maintenance_end("role:test").await.unwrap();
    let (status, answer) = door.post(&world, "m1", &message("general", "hi")).await;
    assert_eq!((status, &answer["duplicate"]), (202, &json!(false)));
}

#[tokio::test]
async fn a_message_out_of_bounds_is_refused() {
    let world = World::new().await;
    let door = door_of(&world, world.channel("http://127.0.0.1:9/").await).await;
    let status = |id: &'static str, body: String| {
        let (world, door) = (&world, &door);
        async move { door.post(world, id, &body).await.0 }
    };
    assert_eq!(status("m1", message("general", &"x".repeat(70_000))).await, 413);
    assert_eq!(status("m1", message("", "hi")).await, 422);
    assert_eq!(status("m1", message("general", "a\0b")).await, 422);
    assert_eq!(status("m1", message(&"x".repeat(201), "hi")).await, 422);
    assert_eq!(status("m1", json!({"text": "hi"}).to_string()).await, 422);
    assert_eq!(status(Box::leak("m".repeat(151).into_boxed_str()), message("general", "hi")).await, 422);
    assert_eq!(sessions(&world).await, 0);

    let nowhere = Door { url: door.url.replace("/hooks/", "/hooks/0"), ..door };
    assert_eq!(nowhere.post(&world, "m1", &message("general", "hi")).await.0, 404);
}

#[tokio::test]
async fn a_message_to_a_closed_channel_is_answered_as_where_there_is_none_and_its_answers_go_nowhere() {
    let world = World::new().await;
    let (sink, url) = Sink::start().await;
    let (channel, other) = (world.channel(&url).await, world.channel(&url).await);
    let (door, next) = (door_of(&world, channel).await, door_of(&world, other).await);
    for door in [&door, &next] {
        assert_eq!(door.post(&world, "m1", &message("general", "hi")).await.0, 202);
    }
    assert!(world.store.channel_close(world.org, channel, "role:test").await.unwrap());
    for id in ["m1", "m2"] {
        let (status, problem) = door.post(&world, id, &message("general", "hi")).await;
        assert_eq!((status, &problem["code"]), (404, &json!("not_found")));
    }
    world.gateway();
    for _ in 0..2 {
        world.work("hello").await;
    }
    world.until(Sent, 1).await;
    world.rendered().await;
    assert_eq!(sink.accepted("general"), ["hello"]);
    assert_eq!(world.store.delivery_list(world.org, None, None, 10).await.unwrap()[0].channel_id, other);
    assert!(world.parts().effects.flush().await);
    assert!(world.remembered().await.closed_channels.contains(&(world.org, channel)));
}

#[tokio::test]
async fn a_message_to_an_agent_that_the_policy_does_not_allow_is_refused_and_may_come_again() {
    let world = World::new().await;
    let door = door_of(&world, world.channel("http://127.0.0.1:9/").await).await;
    world.allow_agents(Some(Vec::new())).await;
    let (status, problem) = door.post(&world, "m1", &message("general", "hi")).await;
    assert_eq!((status, &problem["code"]), (403, &json!("refused_by_policy")));
    assert_eq!(sessions(&world).await, 0);
    world.allow_agents(None).await;
    let (status, answer) = door.post(&world, "m1", &message("general", "hi")).await;
    assert_eq!((status, &answer["duplicate"]), (202, &json!(false)));
}
