//! Artifacts come back byte for byte, or not at all.

use domain::event::Event;
use domain::projection::Projection;
use ids::InstanceId;
use objects::{Blob, ObjectKeys};
use serde_json::json;
use store::{Append, BlobRow, NewArtifact, NewCommand};

use super::*;
use crate::testing::{World, request};

const CONTENT: &str = "a,b\n1,2\n";

/// Publishes an artifact as a worker does; gives back its path in the API and its blob.
pub(crate) async fn published(world: &World) -> (String, Blob) {
    let created = world.post("/api/sessions", json!({"title": "Plan"})).await.expect(201);
    let session: SessionId = created["session_id"].as_str().unwrap().parse().unwrap();
    let (store, org) = (&world.app.store, world.org);
    let wish = domain::command::Wish::Prompt { text: "hi".into() };
    let new = NewCommand { org, session, wish, idempotency_key: "k".into(), created_by: None };
    store.command_enqueue(&new).await.unwrap();
    let holder: InstanceId = store.sources().id();
    let until = store.sources().now() + chrono::TimeDelta::hours(1);
    let lease = store.lease_claim(1, holder, until, 1).await.unwrap().remove(0);

    let artifact: ArtifactId = store.sources().id();
    let key = ObjectKeys { org, generation: 1 }.artifact(session, artifact);
    let blob = world.app.objects.put(&key, CONTENT.into()).await.unwrap();
    let row = BlobRow { key, size: blob.size.try_into().unwrap(), sha256: blob.sha256.to_vec() };
    let (name, media_type) = ("a table.csv".to_owned(), "text/csv".to_owned());
    let event = Event::ArtifactCreated {
        artifact_id: artifact,
        name: name.clone(),
        media_type: media_type.clone(),
        size: row.size,
        sha256: hex::encode(blob.sha256),
    };
    let projection = Projection::default();
    let append = Append { after: 1, events: &[event], projection: &projection };
    store.turn_publish(&lease, &append, &[NewArtifact { artifact, name, media_type, blob: row }]).await.unwrap();
    (format!("/api/artifacts/{artifact}"), blob)
}

#[tokio::test]
async fn an_artifact_is_listed_and_downloaded_as_it_was_made() {
    let world = World::new().await;
    let (path, blob) = published(&world).await;
    let seen = world.get(&path).await.expect(200);
    assert_eq!((&seen["name"], &seen["size"]), (&json!("a table.csv"), &json!(8)));
    assert_eq!(seen["sha256"], hex::encode(blob.sha256));
    assert_eq!(world.get("/api/artifacts").await.expect(200)["items"][0], seen);
    let of_session = format!("/api/sessions/{}/artifacts", seen["session_id"].as_str().unwrap());
    assert_eq!(world.get(&of_session).await.expect(200)["items"][0], seen);

    let answer = world.get(&format!("{path}/content")).await;
    assert_eq!(answer.body, CONTENT);
    assert_eq!(answer.headers["content-length"], "8");
    assert_eq!(answer.headers["content-type"], "text/csv");
    assert_eq!(answer.headers["content-disposition"], "attachment; filename*=UTF-8''a%20table%2Ecsv");
    let again = request("GET", &format!("{path}/content"), &world.operator)
        .header("if-none-match", answer.headers["etag"].clone());
    assert_eq!(world.send(again.body(Body::empty()).unwrap()).await.status, 304);
    let usage = world.get("/api/usage").await.expect(200);
    assert!(usage["items"].as_array().unwrap().contains(&json!({"kind": "artifact_bytes", "quantity": 8})));
}

#[tokio::test]
async fn a_download_that_broke_off_goes_on_where_it_ended() {
    let world = World::new().await;
    let (path, blob) = published(&world).await;
    let content = format!("{path}/content");
    let tag = format!("\"{}\"", hex::encode(blob.sha256));
    let ask = async |method: &str, headers: &[(&str, &str)]| {
        let request = headers
            .iter()
            .fold(request(method, &content, &world.operator), |request, (name, value)| request.header(*name, *value));
        world.send(request.body(Body::empty()).unwrap()).await
    };
    let rest = ask("GET", &[("range", "bytes=3-"), ("if-range", &tag)]).await;
    assert_eq!((rest.status.as_u16(), &rest.body[..]), (206, &CONTENT.as_bytes()[3..]));
    assert_eq!(rest.headers["content-range"], "bytes 3-7/8");
    assert_eq!(rest.headers["content-length"], "5");
    assert_eq!(rest.headers["accept-ranges"], "bytes");
    assert_eq!(rest.headers["etag"], tag);
    let other = ask("GET", &[("range", "bytes=3-"), ("if-range", "\"other\"")]).await;
    assert_eq!((other.status.as_u16(), &other.body[..]), (200, CONTENT.as_bytes()));
    let behind = ask("GET", &[("range", "bytes=8-")]).await;
    behind.expect_problem(416, "range_not_satisfiable");
    assert_eq!(behind.headers["content-range"], "bytes */8");
    ask("GET", &[("if-match", "\"other\"")]).await.expect_problem(412, "precondition_failed");

    let head = ask("HEAD", &[("range", "bytes=3-")]).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    assert_eq!(head.headers["content-length"], "8");
    assert_eq!(head.headers["etag"], tag);
}

#[tokio::test]
async fn an_artifact_belongs_to_its_org() {
    let world = World::new().await;
    let (path, _) = published(&world).await;
    let (_, token) = world.other_org().await;
    world.get_as(&token, &path).await.expect_problem(404, "not_found");
    world.get_as(&token, &format!("{path}/content")).await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn content_that_is_gone_or_has_another_size_is_a_failure_of_ours() {
    let world = World::new().await;
    let (path, blob) = published(&world).await;
    let file = world.app.objects.folder().join(&blob.key);
    std::fs::write(&file, "longer than it was").unwrap();
    world.get(&format!("{path}/content")).await.expect_problem(500, "internal");
    let part = request("GET", &format!("{path}/content"), &world.operator).header("range", "bytes=1-");
    world.send(part.body(Body::empty()).unwrap()).await.expect_problem(500, "internal");
    std::fs::remove_file(&file).unwrap();
    world.get(&format!("{path}/content")).await.expect_problem(500, "internal");
}

#[tokio::test]
async fn content_with_a_changed_byte_does_not_arrive_whole() {
    let world = World::new().await;
    let (path, blob) = published(&world).await;
    let artifact = path.rsplit('/').next().unwrap().parse().unwrap();
    let artifact = world.app.store.artifact_by_id(world.org, artifact).await.unwrap().unwrap();
    std::fs::write(world.app.objects.folder().join(&blob.key), "a,b\n1,3\n").unwrap();
    let (_, pieces) = world.app.objects.stream(&blob.key).await.unwrap();
    let sent: Result<Vec<Bytes>, _> = checked(artifact, pieces).try_collect().await;
    assert!(matches!(sent, Err(ObjectsError::Mismatch(_))));
}
