//! Where messages don't go, whatever a channel says.

use domain::channel::DeliveryState::{Dead, Sent};
use domain::egress::Egress;
use domain::policy::Policy;
use domain::version::Expected;
use gateway::GatewayConfig;
use store::{Environment, Intervention};

use crate::sink::Sink;
use crate::world::{World, config};

/// As an installation has it that was told nothing.
fn strict() -> GatewayConfig {
    GatewayConfig { egress: Egress::default(), ..config() }
}

#[tokio::test]
async fn a_message_to_an_address_that_is_not_called_is_set_aside_at_once_and_says_what_to_do() {
    let world = World::new().await;
    let (sink, url) = Sink::start().await;
    let by_name = url.replace("127.0.0.1", "localhost");
    for (thread, url) in [("by address", &url), ("by name", &by_name)] {
        let session = world.thread(world.channel(url).await, thread).await;
        world.turn(session, "hello").await;
    }
    world.gateway_with(strict());
    for dead in world.until(Dead, 2).await {
        assert_eq!(dead.attempt, 1, "it is not tried again");
        assert_eq!(
            dead.last_error.as_deref(),
            Some(
                "the destination leads to the machine itself, which is not called from here; give the channel a public \
                 address, or have an operator allow the network in gateway.allowed_networks"
            )
        );
    }
    assert!(sink.seen().is_empty());
}

#[tokio::test]
async fn what_was_refused_goes_out_when_its_network_is_allowed_and_somebody_retries_it() {
    let mut world = World::new().await;
    let (sink, url) = Sink::start().await;
    let session = world.thread(world.channel(&url).await, "general").await;
    let strict = world.gateway_with(strict());
    world.turn(session, "hello").await;
    let dead = world.until(Dead, 1).await.remove(0);
    world.restart(strict).await;
    let retried = world.store.delivery_retry(world.org, dead.delivery_id, "role:test").await.unwrap();
    assert_eq!(retried, Intervention::Done);
    world.until(Sent, 1).await;
    assert_eq!(sink.accepted("general"), ["hello"]);
}

#[tokio::test]
async fn a_network_that_is_allowed_does_not_lead_beside_it() {
    let world = World::new().await;
    let (sink, url) = Sink::start().await;
    let session = world.thread(world.channel(&url).await, "general").await;
    let egress = Egress::allowing(vec!["10.0.0.0/8".parse().unwrap()]);
    world.gateway_with(GatewayConfig { egress, ..config() });
    world.turn(session, "hello").await;
    world.until(Dead, 1).await;
    assert!(sink.seen().is_empty());
}

async fn lead_to(world: &World, host: &str) {
    let policy = Policy { channel_hosts: Some(vec![host.parse().unwrap()]), ..Policy::default() };
    world.store.policy_put(world.org, &policy, &Expected::Anything, "role:test").await.unwrap();
}

#[tokio::test]
async fn a_message_to_a_host_that_the_policy_does_not_allow_is_set_aside_at_once_until_it_does() {
    let world = World::new().await;
    let (sink, url) = Sink::start().await;
    let session = world.thread(world.channel(&url).await, "general").await;
    lead_to(&world, "*.hooks.example").await;
    world.turn(session, "hello").await;
    world.gateway();
    let dead = world.until(Dead, 1).await.remove(0);
    assert_eq!((dead.attempt, sink.seen().len()), (1, 0));
    assert!(dead.last_error.as_deref().is_some_and(|error| error.contains("channel_hosts")), "{dead:?}");

    lead_to(&world, "127.0.0.1").await;
    let retried = world.store.delivery_retry(world.org, dead.delivery_id, "role:test").await.unwrap();
    assert_eq!(retried, Intervention::Done);
    world.until(Sent, 1).await;
    assert_eq!(sink.accepted("general"), ["hello"]);
}

#[tokio::test]
async fn a_drill_copy_sends_to_its_recorder_whatever_hosts_the_policy_allows() {
    let world = World::of(Environment::Drill, testkit::system_sources()).await;
    let (sink, url) = Sink::start().await;
    let session = world.thread(world.channel("https://chat.example/hook").await, "general").await;
    lead_to(&world, "*.hooks.example").await;
    world.turn(session, "hello").await;
    world.gateway_with(GatewayConfig { redirect_to: Some(url), ..config() });
    world.until(Sent, 1).await;
    assert_eq!(sink.accepted("general"), ["hello"]);
}
