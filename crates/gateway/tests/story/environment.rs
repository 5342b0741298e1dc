use domain::channel::DeliveryState::{Pending, Sent};
use domain::egress::Egress;
use gateway::{GatewayConfig, RouteError, StartError};
use store::Environment;

use crate::sink::Sink;
use crate::world::{World, config};

#[tokio::test]
async fn a_drill_copy_never_reaches_a_real_destination() {
    let world = World::of(Environment::Drill, testkit::system_sources()).await;
    let ((real, real_url), (recorder, recorder_url)) = (Sink::start().await, Sink::start().await);
    let session = world.thread(world.channel(&real_url).await, "general").await;
    // An operator named the recorder, so it may be anywhere.
    let config = GatewayConfig { redirect_to: Some(recorder_url), egress: Egress::default(), ..config() };
    world.gateway_with(config);
    world.turn(session, "hello").await;
    world.until(Sent, 1).await;

    assert!(real.seen().is_empty());
    let seen = recorder.seen().remove(0);
    assert_eq!(seen.header("cowork-destination"), real_url.split('?').next().unwrap());
}

#[tokio::test]
async fn a_drill_copy_without_a_recorder_sends_nothing() {
    let world = World::of(Environment::Drill, testkit::system_sources()).await;
    let (sink, url) = Sink::start().await;
    let session = world.thread(world.channel(&url).await, "general").await;
    world.turn(session, "hello").await;
    let refused = world.gateway().await.unwrap();
    assert!(matches!(refused, Err(StartError::Route(RouteError::DrillWithoutRecorder))));
    assert!(sink.seen().is_empty());
    assert!(world.deliveries(Pending).await.is_empty());
}
