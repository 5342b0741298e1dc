//! Of which days is told what, and to whom.

use chrono::TimeDelta;
use domain::command::CommandState;
use domain::event::TurnOutcome;
use domain::spend::{ModelSpend, ModelUse};
use ids::InstanceId;
use serde_json::{Value, json};
use store::{Append, Finish};

use crate::testing::World;

/// A turn as a worker carries it out, now: a quarter of a second at work, with one request to a model.
async fn turn(world: &World) {
    let created = world.post("/api/sessions", json!({"title": "Plan"})).await.expect(201);
    let commands = format!("/api/sessions/{}/commands", created["session_id"].as_str().unwrap());
    world.post(&commands, json!({"kind": "prompt", "payload": {"text": "say hi"}})).await.expect(202);
    let store = &world.app.store;
    let (holder, until): (InstanceId, _) = (store.sources().id(), store.sources().now() + TimeDelta::minutes(1));
    let lease = store.lease_claim(1, holder, until, 1).await.unwrap().remove(0);
    let held = store.lease_load(&lease).await.unwrap();
    let (provider, name) = ("openai".to_owned(), Some("m".to_owned()));
    let model = ModelUse { provider, name, cached_tokens: 0, requests: 1, requests_unknown: 0 };
    let finish = Finish {
        append: Append { after: held.last_sequence, events: &[], projection: &held.projection },
        command: held.next.unwrap().command,
        state: CommandState::Done,
        sentence: "the turn is complete".into(),
        turn: Some(TurnOutcome::Completed),
        checkpoint: None,
        turn_ms: 250,
        input_tokens: 3,
        output_tokens: 2,
        models: vec![ModelSpend { input_tokens: 3, output_tokens: 2, model }],
        heard: Vec::new(),
    };
    store.turn_finish(&lease, &finish, &[]).await.unwrap();
}

fn quantity(usage: &Value, kind: &str) -> Option<i64> {
    usage["items"].as_array().unwrap().iter().find(|item| item["kind"] == kind)?["quantity"].as_i64()
}

#[tokio::test]
async fn an_org_that_used_nothing_still_has_a_plan() {
    let world = World::new().await;
    insta::assert_json_snapshot!(world.get("/api/usage").await.expect(200), @r#"
    {
      "items": [],
      "models": [],
      "period": null,
      "subscription": {
        "plan": "self-hosted",
        "started_at": "2024-10-04T00:00:00Z",
        "state": "active"
      }
    }
    "#);
}

#[tokio::test]
async fn a_range_tells_what_was_used_on_its_days_and_no_others() {
    let world = World::new().await;
    turn(&world).await;
    world.clock.advance(TimeDelta::days(1) - TimeDelta::microseconds(1));
    turn(&world).await;
    world.clock.advance(TimeDelta::microseconds(1));
    turn(&world).await;

    for (from, to, turns) in [
        ("2024-10-04", "2024-10-05", 2),
        ("2024-10-05", "2024-10-06", 1),
        ("2024-10-01", "2024-11-01", 3),
        ("2024-10-04", "2024-10-04", 0),
        ("2024-10-06", "2024-10-07", 0),
    ] {
        let usage = world.get(&format!("/api/usage?from={from}&to={to}")).await.expect(200);
        assert_eq!(usage["period"], json!({"from": from, "to": to}));
        let some = |quantity: i64| Some(quantity).filter(|_| turns > 0);
        assert_eq!(quantity(&usage, "turns"), some(turns), "{usage}");
        assert_eq!(quantity(&usage, "turn_ms"), some(250 * turns), "{usage}");
        assert_eq!(usage["models"][0]["requests"].as_i64(), some(turns), "{usage}");
        assert_eq!(usage["subscription"]["plan"], "self-hosted");
    }
    assert_eq!(quantity(&world.get("/api/usage").await.expect(200), "turns"), Some(3));

    let days = world.get("/api/usage/days?from=2024-10-04&to=2024-10-06").await.expect(200);
    assert_eq!(days["period"], json!({"from": "2024-10-04", "to": "2024-10-06"}));
    let of_turns = |item: &&Value| item["kind"] == "turns";
    let turns: Vec<_> = days["items"].as_array().unwrap().iter().filter(of_turns).cloned().collect();
    let expect = json!([
        {"day": "2024-10-04", "kind": "turns", "quantity": 2},
        {"day": "2024-10-05", "kind": "turns", "quantity": 1},
    ]);
    assert_eq!(Value::from(turns), expect);
    let later = world.get("/api/usage/days?from=2024-10-06&to=2024-10-08").await.expect(200);
    assert_eq!(later["items"], json!([]));
}

#[tokio::test]
async fn days_that_are_no_range_are_refused() {
    let world = World::new().await;
    for wrong in [
        "from=2024-10-05&to=2024-10-04",
        "from=2024-01-01&to=2025-02-05",
        "from=0000-01-01&to=9999-12-31",
        "from=2024-10-04",
        "to=2024-10-04",
        "from=&to=2024-10-04",
        "from=yesterday&to=2024-10-04",
        "from=2024-02-30&to=2024-03-01",
        "from=2024-2-1&to=2024-03-01",
        "from=2024-10-04T00:00:00Z&to=2024-10-05",
        "from=-99999-01-01&to=-99999-01-02",
        "from=%2B99999-01-01&to=%2B99999-01-02",
    ] {
        for path in ["/api/usage", "/api/usage/days"] {
            world.get(&format!("{path}?{wrong}")).await.expect_problem(422, "invalid");
        }
    }
    world.get("/api/usage/days").await.expect_problem(422, "invalid");
    for (from, to) in [("2024-01-01", "2025-02-04"), ("0000-01-01", "0000-01-02"), ("9999-12-30", "9999-12-31")] {
        for path in ["/api/usage", "/api/usage/days"] {
            world.get(&format!("{path}?from={from}&to={to}")).await.expect(200);
        }
    }
}

#[tokio::test]
async fn another_org_sees_nothing_of_what_was_used() {
    let world = World::new().await;
    turn(&world).await;
    let (_, stranger) = world.other_org().await;
    for path in ["/api/usage", "/api/usage?from=2024-10-04&to=2024-10-05"] {
        let usage = world.get_as(&stranger, path).await.expect(200);
        assert_eq!((&usage["items"], &usage["models"]), (&json!([]), &json!([])));
    }
    let days = world.get_as(&stranger, "/api/usage/days?from=2024-10-04&to=2024-10-05").await.expect(200);
    assert_eq!(days["items"], json!([]));
}
