//! Each rule refuses what it is about, says so, and leaves everything as it was.

use chrono::TimeDelta;
use domain::tenancy::{Role, Scope};
use serde_json::{Value, json};

use crate::testing::{Answer, World};

async fn rule(world: &World, policy: Value) {
    world.put("/api/policy", policy).await.expect(200);
}

/// Checks that the answer refuses because of the rule that `names` it.
#[track_caller]
fn refused(answer: &Answer, names: &str) {
    let problem = answer.expect_problem(403, "refused_by_policy");
    assert!(problem["detail"].as_str().unwrap().contains(names), "{problem}");
}

async fn listed(world: &World, path: &str) -> usize {
    world.get(path).await.expect(200)["items"].as_array().unwrap().len()
}

#[tokio::test]
async fn an_org_without_a_policy_has_one_without_rules() {
    let world = World::new().await;
    insta::assert_json_snapshot!(world.get("/api/policy").await.expect(200), @r#"
    {
      "agents": null,
      "channel_hosts": null,
      "member_domains": null,
      "token_days_max": null,
      "updated_at": null
    }
    "#);
}

#[tokio::test]
async fn of_two_who_set_the_policy_the_second_is_told_and_nothing_changes() {
    let world = World::new().await;
    let tag = world.get("/api/policy").await.headers["etag"].clone();
    let put = async |header: &str, policy: Value| {
        let request = crate::testing::request("PUT", "/api/policy", &world.operator).header(header, tag.clone());
        let request = request.header("content-type", "application/json");
        world.send(request.body(axum::body::Body::from(policy.to_string())).unwrap()).await
    };
    let first = put("if-match", json!({"token_days_max": 90})).await;
    first.expect(200);
    put("if-match", json!({"token_days_max": 30})).await.expect_problem(412, "precondition_failed");
    let seen = world.get("/api/policy").await;
    assert_eq!(
        (seen.expect(200)["token_days_max"].clone(), &seen.headers["etag"]),
        (json!(90), &first.headers["etag"])
    );
    let same = world.put("/api/policy", json!({"token_days_max": 90})).await;
    assert_eq!(same.headers["etag"], first.headers["etag"], "nothing changed");
    let emptied = world.put("/api/policy", json!({})).await.expect(200);
    assert_eq!(emptied["token_days_max"], Value::Null);
}

#[tokio::test]
async fn everybody_in_the_org_reads_the_policy_and_who_may_sets_it() {
    let world = World::new().await;
    let (member, admin) = (
        world.member(world.org, Role::Member, &[Scope::Read, Scope::Write]).await,
        world.member(world.org, Role::Admin, &[Scope::Read, Scope::Write]).await,
    );
    world.put_as(&member, "/api/policy", json!({})).await.expect_problem(403, "forbidden");
    world.put_as(&admin, "/api/policy", json!({"agents": ["painter"]})).await.expect(200);
    assert_eq!(world.get_as(&member, "/api/policy").await.expect(200)["agents"], json!(["painter"]));
    let (_, stranger) = world.other_org().await;
    assert_eq!(world.get_as(&stranger, "/api/policy").await.expect(200)["agents"], Value::Null);
}

#[tokio::test]
async fn a_change_is_audited_with_what_was_before_and_what_is_now() {
    let world = World::new().await;
    rule(&world, json!({"agents": ["scripted"]})).await;
    rule(&world, json!({"agents": ["scripted"]})).await;
    rule(&world, json!({"channel_hosts": ["*.Chat.example", "*.chat.example"]})).await;
    let audit = world.get("/api/audit?limit=200").await.expect(200);
    let put = |one: &&Value| one["action"] == "policy.put";
    let entries: Vec<&Value> = audit["items"].as_array().unwrap().iter().filter(put).collect();
    assert_eq!(entries.len(), 2);
    let newest = entries.iter().find(|one| one["detail"]["before"]["agents"] == json!(["scripted"])).unwrap();
    assert_eq!(newest["detail"]["after"]["channel_hosts"], json!(["*.chat.example"]));
    assert_eq!(newest["target"], format!("org:{}", world.org));
}

#[tokio::test]
async fn what_is_no_policy_is_refused() {
    let world = World::new().await;
    for policy in [
        json!({"agents": [""]}),
        json!({"agents": vec!["a"; 101]}),
        json!({"token_days_max": 0}),
        json!({"token_days_max": 3651}),
        json!({"channel_hosts": ["https://chat.example"]}),
        json!({"member_domains": ["@example.org"]}),
        json!({"hosts": []}),
    ] {
        world.put("/api/policy", policy).await.expect_problem(422, "invalid");
    }
    assert_eq!(world.get("/api/policy").await.expect(200)["updated_at"], Value::Null);
}

#[tokio::test]
async fn nothing_begins_with_an_agent_that_is_not_allowed() {
    let world = World::new().await;
    let new = |agent: &str| json!({"name": "n", "agent": agent, "prompt": "say hi", "triggers": []});
    let made = world.post("/api/workflows", new("dancer")).await.expect(201);
    let details = format!("/api/workflows/{}/details", made["workflow_id"].as_str().unwrap());
    rule(&world, json!({"agents": ["painter"]})).await;

    refused(&world.post("/api/sessions", json!({"title": "t"})).await, "agents");
    refused(&world.post("/api/sessions", json!({"title": "t", "agent": "dancer"})).await, "agents");
    let import = json!({"title": "t", "source": "s", "messages": [{"role": "user", "text": "hi"}]});
    refused(&world.post("/api/sessions/import", import).await, "agents");
    refused(&world.post("/api/workflows", new("dancer")).await, "agents");
    refused(&world.patch(&details, json!({"agent": "scripted"})).await, "agents");
    refused(&world.put("/api/profiles/studio", json!({"agent": "dancer"})).await, "agents");
    let counts = [listed(&world, "/api/sessions").await, listed(&world, "/api/workflows").await];
    assert_eq!((counts, listed(&world, "/api/profiles").await), ([0, 1], 0));

    world.post("/api/sessions", json!({"title": "t", "agent": "painter"})).await.expect(201);
    world.patch(&details, json!({"agent": "painter"})).await.expect(200);
}

#[tokio::test]
async fn a_session_whose_agent_is_not_allowed_any_more_takes_no_prompts_and_is_read_and_aborted() {
    let world = World::new().await;
    let session = world.post("/api/sessions", json!({"title": "t"})).await.expect(201);
    let path = format!("/api/sessions/{}", session["session_id"].as_str().unwrap());
    let commands = format!("{path}/commands");
    let prompt = json!({"kind": "prompt", "payload": {"text": "say hi"}});
    world.post(&commands, prompt.clone()).await.expect(202);
    rule(&world, json!({"agents": ["painter"]})).await;
    for while_running in ["queue", "reject", "interrupt"] {
        let payload = json!({"text": "say hi", "while_running": while_running});
        refused(&world.post(&commands, json!({"kind": "prompt", "payload": payload})).await, "agents");
    }
    assert_eq!(listed(&world, &commands).await, 1);
    world.get(&path).await.expect(200);
    world.post(&commands, json!({"kind": "abort", "payload": {}})).await.expect(202);
    rule(&world, json!({})).await;
    world.post(&commands, prompt).await.expect(202);
}

#[tokio::test]
async fn a_workflow_whose_agent_is_not_allowed_is_not_started() {
    let world = World::new().await;
    let new = json!({"name": "n", "agent": "scripted", "prompt": "say hi", "triggers": []});
    let made = world.post("/api/workflows", new).await.expect(201);
    let start = format!("/api/workflows/{}/start", made["workflow_id"].as_str().unwrap());
    rule(&world, json!({"agents": []})).await;
    refused(&world.post(&start, json!({})).await, "agents");
    assert_eq!(listed(&world, "/api/runs").await, 0);
    rule(&world, json!({"agents": ["scripted"]})).await;
    world.post(&start, json!({})).await.expect(201);
}

#[tokio::test]
async fn no_token_is_made_that_lives_longer_than_it_may() {
    let world = World::new().await;
    rule(&world, json!({"token_days_max": 30})).await;
    let (now, tokens) = (world.app.store.sources().now(), listed(&world, "/api/tokens").await);
    let new = |expires_at: Value| json!({"name": "ci", "scopes": ["read"], "expires_at": expires_at});
    refused(&world.post("/api/tokens", new(Value::Null)).await, "30 days");
    refused(&world.post("/api/tokens", new(json!(now + TimeDelta::days(31)))).await, "30 days");
    assert_eq!(listed(&world, "/api/tokens").await, tokens);
    world.post("/api/tokens", new(json!(now + TimeDelta::days(30)))).await.expect(201);
}

#[tokio::test]
async fn no_channel_leads_to_a_host_that_is_not_allowed() {
    let world = World::new().await;
    let new = |host: &str| json!({"kind": "webhook", "name": "ops", "destination": format!("https://{host}/hook")});
    let made = world.post("/api/channels", new("chat.example")).await.expect(201);
    let path = format!("/api/channels/{}", made["channel_id"].as_str().unwrap());
    rule(&world, json!({"channel_hosts": ["*.hooks.example"]})).await;
    refused(&world.post("/api/channels", new("chat.example")).await, "channel_hosts");
    refused(&world.patch(&path, json!({"destination": "https://other.example/"})).await, "channel_hosts");
    assert_eq!(listed(&world, "/api/channels").await, 1);
    assert_eq!(world.get(&path).await.expect(200)["destination"], "https://chat.example/hook");
    world.patch(&path, json!({"name": "operators"})).await.expect(200);
    world.patch(&path, json!({"destination": "https://a.hooks.example/"})).await.expect(200);
}

#[tokio::test]
async fn nobody_is_invited_or_added_whose_address_is_of_another_domain() {
    let world = World::new().await;
    rule(&world, json!({"member_domains": ["example.org"]})).await;
    let invite = |email: &str| json!({"email": email, "role": "member"});
    refused(&world.post("/api/invitations", invite("eve@example.com")).await, "member_domains");
    let add = |email: &str| json!({"email": email, "display_name": "Eve", "role": "member"});
    refused(&world.post("/api/members", add("eve@example.com")).await, "member_domains");
    assert_eq!((listed(&world, "/api/invitations").await, listed(&world, "/api/members").await), (0, 1));
    world.post("/api/invitations", invite("carol@example.org")).await.expect(201);
    world.post("/api/members", add("bob@Example.org")).await.expect(201);
}
