//! What the gateway says of itself, held against what it does.

use domain::schedule::OverlapPolicy;
use serde_json::Value;
use uuid::Uuid;

use crate::door::Door;
use crate::world::World;

/// More than a body may have.
const TOO_LARGE: usize = 64 * 1024 + 1;

/// Where something comes in, and the statuses that it is described with.
struct Inlet {
    path: String,
    statuses: Vec<String>,
}

fn inlets() -> Vec<Inlet> {
    let document: Value = serde_json::from_str(&gateway::openapi()).unwrap();
    let paths = document["paths"].as_object().unwrap().iter();
    let posts = paths.filter_map(|(path, item)| Some((path, item.get("post")?)));
    let inlet = |(path, operation): (&String, &Value)| {
        let statuses = operation["responses"].as_object().unwrap().keys().cloned().collect();
        Inlet { path: path.clone(), statuses }
    };
    posts.map(inlet).collect()
}

async fn opened(world: &World) -> (Door, String) {
    let door = Door::open(world.parts(), "", String::new()).await;
    let origin = door.url.trim_end_matches("/hooks/").to_owned();
    (door, origin)
}

#[tokio::test]
async fn what_nothing_is_at_and_what_is_asked_otherwise_are_problems_too() {
    let world = World::new().await;
    let (door, origin) = opened(&world).await;
    for (path, status, code) in
        [("/nothing", 404, "not_found"), (&format!("/hooks/{}", Uuid::nil()), 405, "method_not_allowed")]
    {
        let response = door.http.get(format!("{origin}{path}")).send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{path}");
        let problem: Value = response.json().await.unwrap();
        assert_eq!(problem["code"], code);
    }
}

#[tokio::test]
async fn every_inlet_refuses_what_is_unsigned_too_large_or_for_nobody_as_it_says() {
    let world = World::new().await;
    let channel = world.channel("http://127.0.0.1:9/").await.to_string();
    let trigger = world.called(OverlapPolicy::Allow).await.1.to_string();
    let ((door, origin), nobody) = (opened(&world).await, Uuid::nil().to_string());
    let large = "x".repeat(TOO_LARGE);
    let inlets = inlets();
    assert_eq!(inlets.len(), 2);
    for Inlet { path, statuses } in &inlets {
        let to = |channel: &str, trigger: &str| {
            format!("{origin}{}", path.replace("{channel_id}", channel).replace("{trigger_id}", trigger))
        };
        let (here, nowhere) = (to(&channel, &trigger), to(&nobody, &nobody));
        for (url, body, status, code) in [
            (&here, "{}", 401, "bad_signature"),
            (&here, &*large, 413, "too_large"),
            (&nowhere, "{}", 404, "not_found"),
        ] {
            let response = door.http.post(url).body(body.to_owned()).send().await.unwrap();
            assert_eq!(response.status().as_u16(), status, "{url}");
            assert!(statuses.contains(&status.to_string()), "{path} is not described with {status}");
            assert_eq!(response.headers()["content-type"], "application/problem+json");
            let problem: Value = response.json().await.unwrap();
            assert_eq!((&problem["code"], &problem["status"]), (&code.into(), &status.into()), "{url}");
        }
    }
}

#[tokio::test]
async fn whoever_asks_is_told_what_the_gateway_takes() {
    let world = World::new().await;
    let (door, origin) = opened(&world).await;
    let response = door.http.get(format!("{origin}/openapi.json")).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.text().await.unwrap(), gateway::openapi());
}
