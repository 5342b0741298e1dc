use axum::body::Body;
use serde_json::{Value, json};

use super::*;
use crate::testing::{Answer, World, request};

fn content() -> Vec<u8> {
    (0..u32::try_from(PART_SIZE).unwrap() / 2).flat_map(u32::to_le_bytes).chain(*b"and a bit").collect()
}

async fn begin(world: &World, change: Value) -> Answer {
    let session = world.post("/api/sessions", json!({"title": "Plan"})).await.expect(201)["session_id"].clone();
    let content = content();
    let sha256 = hex::encode(Sha256::digest(&content));
    let mut new =
        json!({"name": "a.bin", "media_type": "application/octet-stream", "size": content.len(), "sha256": sha256});
    for (field, value) in change.as_object().unwrap() {
        new[field] = value.clone();
    }
    world.post(&format!("/api/sessions/{}/uploads", session.as_str().unwrap()), new).await
}

fn path(upload: &Value) -> String {
    format!("/api/uploads/{}", upload["upload_id"].as_str().unwrap())
}

async fn put(world: &World, path: &str, part: usize, bytes: &[u8]) -> Answer {
    let request = request("PUT", &format!("{path}/parts/{part}"), &world.operator);
    world.send(request.body(Body::from(bytes.to_vec())).unwrap()).await
}

#[tokio::test]
async fn a_file_that_came_in_parts_is_an_artifact_byte_for_byte() {
    let world = World::new().await;
    let (content, upload) = (content(), begin(&world, json!({})).await.expect(201));
    assert_eq!((&upload["part_count"], &upload["parts"]), (&json!(3), &json!([])));
    let (path, size) = (path(&upload), usize::try_from(PART_SIZE).unwrap());
    let pieces: Vec<&[u8]> = content.chunks(size).collect();
    // In any order, and again.
    for part in [3, 1, 3] {
        put(&world, &path, part, pieces[part - 1]).await.expect(204);
    }
    world.post(&format!("{path}/complete"), json!({})).await.expect_problem(409, "conflict");
    assert_eq!(world.get(&path).await.expect(200)["parts"], json!([1, 3]));
    put(&world, &path, 2, pieces[1]).await.expect(204);
    let artifact = world.post(&format!("{path}/complete"), json!({})).await.expect(201);
    assert_eq!(world.post(&format!("{path}/complete"), json!({})).await.expect(201), artifact);
    assert_eq!((&artifact["name"], &artifact["sha256"]), (&upload["name"], &upload["sha256"]));
    let stored = world.get(&format!("/api/artifacts/{}/content", artifact["artifact_id"].as_str().unwrap())).await;
    assert!(stored.body == content, "the bytes differ");
    assert_eq!(world.get(&path).await.expect(200)["artifact_id"], artifact["artifact_id"]);
    put(&world, &path, 1, pieces[0]).await.expect_problem(409, "conflict");
    world.delete(&path).await.expect(204);
    assert_eq!(world.get("/api/artifacts").await.expect(200)["items"], json!([artifact]));
}

#[tokio::test]
async fn a_file_that_is_not_what_was_declared_becomes_nothing() {
    let world = World::new().await;
    let upload = begin(&world, json!({"size": 3})).await.expect(201);
    let path = path(&upload);
    put(&world, &path, 1, b"four").await.expect_problem(422, "invalid");
    put(&world, &path, 2, b"abc").await.expect_problem(404, "not_found");
    put(&world, &path, 1, b"abc").await.expect(204);
    put(&world, &path, 1, b"abd").await.expect_problem(409, "conflict");
    let refused = world.post(&format!("{path}/complete"), json!({})).await.expect_problem(409, "conflict");
    assert!(refused["detail"].as_str().unwrap().contains("SHA-256"), "{refused}");
    assert_eq!(world.get("/api/artifacts").await.expect(200)["items"], json!([]));
    world.delete(&path).await.expect(204);
    world.get(&path).await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn an_empty_file_has_no_part_and_what_is_out_of_bounds_is_refused() {
    let world = World::new().await;
    let sha256 = hex::encode(Sha256::digest(b""));
    let upload = begin(&world, json!({"size": 0, "sha256": sha256})).await.expect(201);
    let artifact = world.post(&format!("{}/complete", path(&upload)), json!({})).await.expect(201);
    assert_eq!(artifact["size"], 0);
    for change in [
        json!({"size": SIZE_MAX + 1}),
        json!({"size": -1}),
        json!({"sha256": "00"}),
        json!({"name": ""}),
        json!({"kind": "file"}),
    ] {
        begin(&world, change).await.expect_problem(422, "invalid");
    }
}

#[tokio::test]
async fn an_upload_belongs_to_its_org() {
    let world = World::new().await;
    let path = path(&begin(&world, json!({})).await.expect(201));
    let (_, stranger) = world.other_org().await;
    world.get_as(&stranger, &path).await.expect_problem(404, "not_found");
    world.post_as(&stranger, &format!("{path}/complete"), json!({})).await.expect_problem(404, "not_found");
    world.delete_as(&stranger, &path).await.expect_problem(404, "not_found");
}
