use std::time::Duration;

use chrono::TimeDelta;
use domain::channel::DeliveryState::{Dead, Pending, Sent};
use gateway::GatewayConfig;
use store::{Environment, Intervention, NewDelivery, StoreError};

use crate::sink::Sink;
use crate::world::{World, config};

#[tokio::test]
async fn what_an_agent_says_reaches_its_thread_signed() {
    let world = World::new().await;
    let (sink, url) = Sink::start().await;
    let channel = world.channel(&url).await;
    let session = world.thread(channel, "general").await;
    world.gateway();
    world.turn(session, "hello").await;
    let delivery = world.until(Sent, 1).await.remove(0);

    let seen = sink.seen().remove(0);
    assert_eq!((seen.thread.as_str(), seen.text.as_str()), ("general", "hello"));
    assert_eq!(seen.header("webhook-id"), delivery.delivery_id.to_string());
    let webhook = standardwebhooks::Webhook::new(&world.signing_secret(channel)).unwrap();
    webhook.verify(&seen.body, &seen.headers).unwrap();
    assert!(!seen.headers.contains_key("cowork-destination"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_keep_each_threads_order_and_send_nothing_twice() {
    let world = World::new().await;
    let (sink, url) = Sink::start().await;
    let channel = world.channel(&url).await;
    let mut sessions = Vec::new();
    for thread in 0..4 {
        let thread = format!("thread {thread}");
        sink.answer(&thread, &[(503, None), (200, None), (500, None), (429, Some("0"))]);
        sessions.push(world.thread(channel, &thread).await);
    }
    for _ in 0..2 {
        world.gateway();
    }
    for turn in 0..10 {
        for session in &sessions {
            world.turn(*session, &format!("turn {turn}")).await;
        }
    }
    world.until(Sent, 40).await;
    for thread in 0..4 {
        let expected: Vec<String> = (0..10).map(|turn| format!("turn {turn}")).collect();
        assert_eq!(sink.accepted(&format!("thread {thread}")), expected);
    }
}

#[tokio::test]
async fn a_retry_carries_the_same_id_and_the_same_body() {
    let world = World::new().await;
    let (sink, url) = Sink::start().await;
    let session = world.thread(world.channel(&url).await, "general").await;
    sink.answer("general", &[(503, None), (429, Some("0"))]);
    world.gateway();
    world.turn(session, "hello").await;
    let delivery = world.until(Sent, 1).await.remove(0);

    assert_eq!(delivery.attempt, 3);
    let seen = sink.seen();
    assert_eq!(seen.iter().map(|seen| seen.status).collect::<Vec<_>>(), [503, 429, 200]);
    assert!(seen.iter().all(|seen| seen.header("webhook-id") == delivery.delivery_id.to_string()));
    assert!(seen.iter().all(|one| one.body == seen[0].body));
    let usage = world.store.usage_totals(world.org).await.unwrap();
    assert_eq!(usage.iter().find(|total| total.kind == "deliveries").map(|total| total.quantity), Some(1));
}

#[tokio::test]
async fn retry_after_is_waited_for() {
    let world = World::new().await;
    let (sink, url) = Sink::start().await;
    let session = world.thread(world.channel(&url).await, "general").await;
    sink.answer("general", &[(429, Some("3600"))]);
    world.gateway();
    world.turn(session, "hello").await;
    testkit::wait_until("the first refusal", || async {
        world.deliveries(Pending).await[..].iter().any(|d| d.last_error.is_some())
    })
    .await;
    let delivery = world.deliveries(Pending).await.remove(0);
    let wait = delivery.next_attempt_at - world.store.sources().now();
    assert!(wait > TimeDelta::minutes(55) && wait <= TimeDelta::hours(1), "{wait}");
}

#[tokio::test]
async fn a_refused_delivery_is_set_aside_until_an_operator_retries_it() {
    let world = World::new().await;
    let (sink, url) = Sink::start().await;
    let session = world.thread(world.channel(&url).await, "general").await;
    sink.answer("general", &[(410, None)]);
    world.gateway();
    world.turn(session, "first").await;
    let dead = world.until(Dead, 1).await.remove(0);
    assert_eq!(dead.last_error.as_deref(), Some("the destination answered 410 Gone"));
    world.turn(session, "second").await;
    world.until(Sent, 1).await;

    let retried = world.store.delivery_retry(world.org, dead.delivery_id, "role:test").await.unwrap();
    assert_eq!(retried, Intervention::Done);
    world.until(Sent, 2).await;
    assert_eq!(sink.accepted("general"), ["second", "first"]);
    let again = world.store.delivery_retry(world.org, dead.delivery_id, "role:test").await.unwrap();
    assert_eq!(again, Intervention::NotNow);
}

#[tokio::test]
async fn a_delivery_that_fails_for_good_is_tried_so_often_and_no_more() {
    let world = World::new().await;
    let (sink, url) = Sink::start().await;
    let session = world.thread(world.channel(&url).await, "general").await;
    sink.answer("general", &[(500, None); 9]);
    world.gateway_with(GatewayConfig { max_attempts: 3, ..config() });
    world.turn(session, "hello").await;
    let dead = world.until(Dead, 1).await.remove(0);
    assert_eq!((dead.attempt, sink.seen().len()), (3, 3));
}

#[tokio::test]
async fn a_thread_that_fails_holds_up_no_other() {
    let world = World::new().await;
    let (sink, url) = Sink::start().await;
    let channel = world.channel(&url).await;
    let (stuck, fine) = (world.thread(channel, "stuck").await, world.thread(channel, "fine").await);
    sink.answer("stuck", &[(503, Some("3600"))]);
    world.gateway();
    for text in ["one", "two"] {
        world.turn(stuck, text).await;
        world.turn(fine, text).await;
    }
    world.until(Sent, 2).await;
    world.rendered().await;
    assert_eq!(sink.accepted("fine"), ["one", "two"]);
    assert_eq!(world.deliveries(Pending).await.len(), 2);
    assert_eq!(sink.seen().iter().filter(|seen| seen.thread == "stuck").count(), 1);
}

#[tokio::test]
async fn a_destination_that_is_not_there_is_told_without_its_address() {
    let world = World::new().await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let session = world.thread(world.channel(&format!("http://{address}/hook?key=s3cret")).await, "general").await;
    world.gateway_with(GatewayConfig { max_attempts: 2, ..config() });
    world.turn(session, "hello").await;
    let error = world.until(Dead, 1).await.remove(0).last_error.unwrap();
    assert!(!error.contains("s3cret") && !error.contains(&address.to_string()), "{error}");
}

#[tokio::test]
async fn a_gateway_that_drains_records_what_it_has_sent() {
    let world = World::new().await;
    let (sink, url) = Sink::start().await;
    let session = world.thread(world.channel(&url).await, "general").await;
    sink.close_gate();
    let gateway = world.gateway();
    world.turn(session, "hello").await;
    testkit::wait_until("the request", || async { sink.seen().len() == 1 }).await;
    world.shutdown.cancel();
    assert_eq!(world.deliveries(Sent).await.len(), 0);
    sink.open_gate();
    gateway.await.unwrap().unwrap();
    assert_eq!(world.deliveries(Sent).await.len(), 1);
}

#[tokio::test]
async fn a_late_result_touches_no_row() {
    let (clock, sources) = testkit::sources(1);
    let world = World::of(Environment::Production, sources).await;
    let session = world.thread(world.channel("http://127.0.0.1:9/").await, "general").await;
    world.turn(session, "hello").await;
    render(&world).await;
    let claim = || async { world.store.delivery_claim(1, 10, TimeDelta::seconds(10)).await.unwrap() };
    let late = claim().await.remove(0);
    assert!(claim().await.is_empty());
    clock.advance(TimeDelta::seconds(11));
    let current = claim().await.remove(0);

    let error = world.store.delivery_sent(&late).await.unwrap_err();
    assert!(matches!(error, StoreError::LeaseLost), "{error}");
    let then = store::NotSent::Dead;
    assert!(matches!(world.store.delivery_not_sent(&late, then, "no").await, Err(StoreError::LeaseLost)));
    let delivery = world.deliveries(Pending).await.remove(0);
    assert_eq!((delivery.attempt, delivery.last_error, delivery.finished_at), (2, None, None));
    world.store.delivery_sent(&current).await.unwrap();
    assert_eq!(world.deliveries(Sent).await.len(), 1);
}

#[tokio::test]
async fn of_a_thread_only_the_oldest_can_be_claimed_and_by_one() {
    let (_, sources) = testkit::sources(1);
    let world = World::of(Environment::Production, sources).await;
    let channel = world.channel("http://127.0.0.1:9/").await;
    for thread in 0..5 {
        let session = world.thread(channel, &format!("thread {thread}")).await;
        for turn in 0..3 {
            world.turn(session, &format!("turn {turn}")).await;
        }
    }
    render(&world).await;
    let claims = (0..8).map(|_| world.store.delivery_claim(1, 3, TimeDelta::seconds(10)));
    let claimed: Vec<_> = futures::future::join_all(claims).await.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(claimed.len(), 5);
    assert!(claimed.iter().all(|claim| claim.payload["data"]["text"] == "turn 0"));
}

#[tokio::test]
async fn a_claim_of_an_earlier_generation_is_void_at_once() {
    let (_, sources) = testkit::sources(1);
    let world = World::of(Environment::Production, sources).await;
    let session = world.thread(world.channel("http://127.0.0.1:9/").await, "general").await;
    world.turn(session, "hello").await;
    render(&world).await;
    let claim = |generation| world.store.delivery_claim(generation, 10, TimeDelta::seconds(10));
    let earlier = claim(1).await.unwrap().remove(0);
    world.store.generation_start(world.store.sources().id(), Environment::Production).await.unwrap();

    assert!(claim(1).await.unwrap().is_empty());
    let current = claim(2).await.unwrap().remove(0);
    assert!(matches!(world.store.delivery_sent(&earlier).await, Err(StoreError::LeaseLost)));
    world.store.delivery_sent(&current).await.unwrap();
}

/// Renders with a gateway that can reach nobody in time to send: its generation is not the current one.
async fn render(world: &World) {
    let mut parts = world.parts();
    parts.generation.generation = -1;
    let config = GatewayConfig { timeout: Duration::from_secs(1), ..config() };
    let gateway = tokio::spawn(gateway::run(parts, config, world.shutdown.clone()));
    world.rendered().await;
    world.shutdown.cancel();
    gateway.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_turn_that_two_gateways_read_is_written_by_one() {
    let (_, sources) = testkit::sources(1);
    let world = World::of(Environment::Production, sources).await;
    let session = world.thread(world.channel("http://127.0.0.1:9/").await, "general").await;
    world.turn(session, "hello").await;
    let cursor = world.store.cursor_behind(1).await.unwrap().remove(0);
    let end = cursor.sequence + 2;
    let event_at = world.store.sources().now();
    let new = |sequence| [NewDelivery { sequence, event_at, payload: serde_json::json!({}) }];

    assert!(world.store.cursor_advance(&cursor, end, &new(end)).await.unwrap());
    assert!(!world.store.cursor_advance(&cursor, end, &new(end - 1)).await.unwrap());
    assert_eq!(world.deliveries(Pending).await.len(), 1);
    assert!(world.store.cursor_behind(1).await.unwrap().is_empty());
}
