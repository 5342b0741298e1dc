use std::time::Duration;

use chrono::TimeDelta;
use domain::channel::DeliveryState::{Dead, Pending, Sent, Unknown};
use domain::quota::{QuotaPeriod, UsageKind};
use domain::version::Expected;
use gateway::GatewayConfig;
use store::{ClaimedDelivery, Environment, Intervention, NewDelivery, Outcome, Settlement};

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
    let usage = world.store.usage_totals(world.org, None).await.unwrap();
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
    let claim = || async { world.store.delivery_claim(1, 10, TimeDelta::seconds(10)).await.unwrap().deliveries };
    let late = claim().await.remove(0);
    assert!(claim().await.is_empty());
    clock.advance(TimeDelta::seconds(11));
    let current = claim().await.remove(0);

    assert!(!settle(&world, &late, Outcome::Sent).await);
    assert!(!settle(&world, &late, Outcome::Dead("no".into())).await);
    let delivery = world.deliveries(Pending).await.remove(0);
    assert_eq!((delivery.attempt, delivery.last_error, delivery.finished_at), (2, None, None));
    assert!(settle(&world, &current, Outcome::Sent).await);
    assert_eq!(world.deliveries(Sent).await.len(), 1);
}

/// Whether the result was recorded.
async fn settle(world: &World, claim: &ClaimedDelivery, outcome: Outcome) -> bool {
    let settlement = Settlement { claim: claim.clone(), outcome };
    world.store.delivery_settle(&[settlement], false).await.unwrap() == [claim.delivery_id]
}

#[tokio::test]
async fn a_claim_that_is_given_back_was_no_attempt() {
    let (_, sources) = testkit::sources(1);
    let world = World::of(Environment::Production, sources).await;
    let session = world.thread(world.channel_that("http://127.0.0.1:9/", false).await, "general").await;
    world.turn(session, "hello").await;
    render(&world).await;
    let claim = || async { world.store.delivery_claim(1, 10, TimeDelta::seconds(10)).await.unwrap().deliveries };
    let given_back = claim().await;
    world.store.delivery_give_back(&given_back).await.unwrap();
    let again = claim().await.remove(0);
    assert_eq!(again.attempt, 1);
    world.store.delivery_give_back(&given_back).await.unwrap();
    assert!(claim().await.is_empty(), "a stale token gives nothing back");
    assert!(settle(&world, &again, Outcome::Sent).await);
}

#[tokio::test]
async fn what_a_lost_gateway_may_have_sent_waits_for_a_person_where_a_repeat_would_be_a_second_message() {
    let (clock, sources) = testkit::sources(1);
    let world = World::of(Environment::Production, sources).await;
    let session = world.thread(world.channel_that("http://127.0.0.1:9/", false).await, "general").await;
    world.turn(session, "first").await;
    world.turn(session, "second").await;
    render(&world).await;
    let claim = || async { world.store.delivery_claim(1, 10, TimeDelta::seconds(10)).await.unwrap() };
    let lost = claim().await.deliveries.remove(0);
    clock.advance(TimeDelta::seconds(11));

    let found = claim().await;
    assert_eq!((found.unknown, found.deliveries.len()), (vec![lost.delivery_id], 0));
    let unknown = world.deliveries(Unknown).await.remove(0);
    assert_eq!((unknown.delivery_id, unknown.attempt), (lost.delivery_id, 1));
    assert!(!settle(&world, &lost, Outcome::Sent).await);
    let next = claim().await.deliveries.remove(0);
    assert_eq!(next.payload["data"]["text"], "second");
}

#[tokio::test]
async fn an_answer_that_got_lost_is_not_asked_for_again_where_a_repeat_would_be_a_second_message() {
    let world = World::new().await;
    let (sink, url) = Sink::start().await;
    let session = world.thread(world.channel_that(&url, false).await, "general").await;
    sink.answer("general", &[(503, None), (504, None)]);
    world.gateway();
    world.turn(session, "hello").await;
    let unknown = world.until(Unknown, 1).await.remove(0);
    assert_eq!(unknown.last_error.as_deref(), Some("the destination answered 504 Gateway Timeout"));
    world.turn(session, "next").await;
    world.until(Sent, 1).await;
    assert_eq!(sink.seen().iter().map(|seen| seen.status).collect::<Vec<_>>(), [503, 504, 200]);
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
    let claimed: Vec<_> =
        futures::future::join_all(claims).await.into_iter().flat_map(|claims| claims.unwrap().deliveries).collect();
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
    let earlier = claim(1).await.unwrap().deliveries.remove(0);
    world.store.generation_start(world.store.sources().id(), Environment::Production).await.unwrap();

    assert!(claim(1).await.unwrap().deliveries.is_empty());
    let current = claim(2).await.unwrap().deliveries.remove(0);
    assert!(!settle(&world, &earlier, Outcome::Sent).await);
    assert!(settle(&world, &current, Outcome::Sent).await);
}

#[tokio::test]
async fn deliveries_over_quota_wait_for_the_next_period_and_in_maintenance_for_its_end() {
    let (clock, sources) = testkit::sources(1);
    let world = World::of(Environment::Production, sources).await;
    let channel = world.channel("http://127.0.0.1:9/").await;
    for thread in ["one", "two"] {
        let session = world.thread(channel, thread).await;
        world.turn(session, "hello").await;
    }
    render(&world).await;
    let (kind, anything) = (UsageKind::Deliveries, Expected::Anything);
    world.store.quota_put(world.org, kind, QuotaPeriod::Day, 1, &anything, "role:test").await.unwrap().unwrap();
    let claim = async |limit| world.store.delivery_claim(1, limit, TimeDelta::seconds(10)).await.unwrap().deliveries;
    assert!(settle(&world, &claim(1).await[0], Outcome::Sent).await);
    assert!(claim(10).await.is_empty());

    clock.advance(TimeDelta::days(1));
    world.store.maintenance_begin("moving", "role:test").await.unwrap();
    assert!(claim(10).await.is_empty());
    world.store.maintenance_end("role:test").await.unwrap();
    let next = claim(10).await;
    assert_eq!(next.iter().map(|claim| claim.attempt).collect::<Vec<_>>(), [1], "being put off was no attempt");
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
    let command = world.store.sources().id();
    let new = |sequence| [NewDelivery { command, sequence, payload: serde_json::json!({}), interaction: None }];

    assert!(world.store.cursor_advance(&cursor, end, &new(end)).await.unwrap());
    assert!(!world.store.cursor_advance(&cursor, end, &new(end - 1)).await.unwrap());
    assert_eq!(world.deliveries(Pending).await.len(), 1);
    assert!(world.store.cursor_behind(1).await.unwrap().is_empty());
}
