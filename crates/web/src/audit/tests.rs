use serde_json::{Value, json};

use crate::testing::World;

#[tokio::test]
async fn every_change_is_told_of_and_an_org_reads_its_own_only() {
    let world = World::new().await;
    let (_, stranger) = world.other_org().await;
    world.post("/api/tokens", json!({"name": "t", "scopes": ["read"]})).await.expect(201);
    let trail = world.get("/api/audit").await.expect(200);
    let actions: Vec<&Value> = trail["items"].as_array().unwrap().iter().map(|item| &item["action"]).collect();
    assert_eq!(actions, ["org.create", "token.create"]);
    let theirs = world.get_as(&stranger, "/api/audit").await.expect(200);
    let actions: Vec<&Value> = theirs["items"].as_array().unwrap().iter().map(|item| &item["action"]).collect();
    assert_eq!(actions, ["org.create", "member.add", "token.create"]);
}

#[tokio::test]
async fn a_page_goes_on_after_the_position_it_ended_at() {
    let world = World::new().await;
    for _ in 0..3 {
        world.post("/api/tokens", json!({"name": "t", "scopes": ["read"]})).await.expect(201);
    }
    let first = world.get("/api/audit?limit=3").await.expect(200);
    let next = format!("/api/audit?limit=3&cursor={}", first["next_cursor"].as_str().unwrap());
    assert_eq!(world.get(&next).await.expect(200)["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_trail_is_searched_by_who_did_what() {
    let world = World::new().await;
    world.post("/api/tokens", json!({"name": "t", "scopes": ["read"]})).await.expect(201);
    let actions = async |query: &str| {
        let listed = world.get(&format!("/api/audit?{query}")).await.expect(200);
        listed["items"].as_array().unwrap().iter().map(|item| item["action"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(actions("action=token.create").await, ["token.create"]);
    assert_eq!(actions("actor=role%3Aadmin").await, ["org.create"]);
    assert_eq!(actions("until=2024-01-01T00:00:00Z").await, Vec::<Value>::new());
    for query in ["since=yesterday", "actor=", "cursor=x"] {
        world.get(&format!("/api/audit?{query}")).await.expect_problem(422, "invalid");
    }
}

#[tokio::test]
async fn an_export_has_every_sealed_record_once_in_both_forms() {
    let world = World::new().await;
    for name in ["=1+1", "b", "c"] {
        world.post("/api/sessions", json!({"title": name})).await.expect(201);
    }
    assert_eq!(world.get("/api/audit/export").await.body, "", "nothing is sealed yet");
    world.app.store.audit_seal(world.org).await.unwrap();
    let lines = async |query: &str| {
        let body = world.get(&format!("/api/audit/export?{query}")).await.body;
        String::from_utf8(body.to_vec()).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let all = lines("").await;
    let numbers = |lines: &[String]| -> Vec<Value> {
        lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap()["number"].clone()).collect()
    };
    assert_eq!(numbers(&all), [1, 2, 3, 4]);
    assert_eq!(numbers(&lines("after=1&limit=2").await), [2, 3]);
    let table = lines("format=csv").await;
    assert_eq!(table.len(), all.len() + 1);
    assert!(table[0].starts_with("number,position,") && table[1].contains("\"org.create\""), "{table:?}");
    world.get("/api/audit/export?format=xlsx").await.expect_problem(422, "invalid");
    let (_, stranger) = world.other_org().await;
    assert_eq!(world.get_as(&stranger, "/api/audit/export").await.body, "");
}

#[tokio::test]
async fn a_verification_says_where_the_trail_ends_and_goes_on_from_there() {
    let world = World::new().await;
    let seen = world.get("/api/audit/verification").await.expect(200);
    assert_eq!((&seen["verified"], &seen["unsealed"]), (&json!(0), &json!(1)));
    world.app.store.audit_seal(world.org).await.unwrap();
    let seen = world.get("/api/audit/verification").await.expect(200);
    assert_eq!((&seen["intact"], &seen["complete"], &seen["verified"]), (&json!(true), &json!(true), &json!(1)));
    let hash = seen["hash"].as_str().unwrap();
    let noted = format!("/api/audit/verification?number=1&hash={hash}");
    assert_eq!(world.get(&noted).await.expect(200)["verified"], 0);
    let other = format!("/api/audit/verification?number=1&hash={}", "0".repeat(64));
    let other = world.get(&other).await.expect(200);
    assert_eq!((&other["intact"], &other["fault"]["kind"]), (&json!(false), &json!("not_found")));
    for query in ["number=1", "hash=00", "number=-1&hash=00", "number=1&hash=zz"] {
        world.get(&format!("/api/audit/verification?{query}")).await.expect_problem(422, "invalid");
    }
}
