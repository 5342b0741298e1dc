//! One trace across processes: a request, the turn that carries it out, and the delivery that tells of it.

use chrono::{TimeDelta, Utc};
use client::{NewTrigger, NewWorkflow};
use e2e::{CollectedSpan, Collector, Folder, Installation, Sink, wait_for_async};
use localpg::{Binaries, Cluster, Options};
use serde_json::json;
use tokio::task::block_in_place;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// In no span: what people say is not what happened.
const SAID: &str = "say the harbour is closed";

#[tokio::test(flavor = "multi_thread")]
async fn what_processes_do_for_one_request_is_one_trace() {
    let folder = Folder::new();
    let binaries = Binaries::find(e2e::search_path().as_deref()).expect("Postgres' programs are installed");
    let cluster = Cluster::start(&binaries, &folder.path().join("postgres"), Options::fast()).expect("it starts");
    cluster.create_database("cowork").expect("a database can be made");
    let (collector, sink) = (Collector::start(), Sink::start());
    let (url, endpoint) = (cluster.url("cowork"), collector.url());
    let more = format!("[database]\nurl = {url:?}\n[telemetry]\notlp_endpoint = {endpoint:?}\n");
    let installation = Installation::new(&folder.make("installation"), &more);
    let _ = installation.init();
    let served =
        ["web", "worker", "scheduler", "gateway"].map(|role| block_in_place(|| installation.serve_roles(role)));
    let operator = served[0].operator();

    let channel = operator.channel_create("ops", &sink.url("accept")).await.unwrap();
    let session = operator.session_create("t", "scripted").await.unwrap().session_id;
    operator.binding_create(channel.channel_id, "general", session).await.unwrap();
    let prompt = reqwest::Client::new()
        .post(format!("{}/api/sessions/{session}/commands", served[0].url("web")))
        .bearer_auth(served[0].token())
        .header("traceparent", PARENT)
        .json(&json!({"kind": "prompt", "payload": {"text": SAID}}));
    assert_eq!(prompt.send().await.unwrap().status(), 202);
    let of_request = wait_for_async("request, turn and delivery are told", async || {
        let spans = of_trace(&collector, &PARENT[3..35]);
        (spans.len() >= 3).then_some(spans)
    })
    .await;
    let told = |name: &str, role: &str| of_request.iter().any(|span| span.name == name && span.roles == role);
    assert!(told("POST /api/sessions/{session_id}/commands", "web"), "{of_request:?}");
    assert!(told("turn", "worker") && told("delivery", "gateway"), "{of_request:?}");

    operator.workflow_create(&hourly()).await.unwrap();
    wait_for_async("a slot fires, and its turn is in the same trace", async || {
        let spans = collector.spans();
        let firing = spans.iter().find(|span| span.name == "firing" && span.roles == "scheduler")?;
        let of_firing = of_trace(&collector, &firing.trace);
        of_firing.iter().any(|span| span.name == "turn" && span.parent.is_some()).then_some(())
    })
    .await;

    for one in served {
        assert_eq!(block_in_place(|| one.stop()), 0);
    }
    let all = collector.text();
    let token = std::fs::read_to_string(installation.data().join("operator-token")).unwrap();
    assert!(!all.contains("harbour") && !all.contains(token.trim()), "{all}");
}

fn of_trace(collector: &Collector, trace: &str) -> Vec<CollectedSpan> {
    collector.spans().into_iter().filter(|span| span.trace == trace).collect()
}

/// Due at once.
#[expect(clippy::disallowed_methods, reason = "a story's schedule begins now")]
fn hourly() -> NewWorkflow {
    let trigger = NewTrigger::Interval { every_s: 3_600, anchor_at: Some(Utc::now() + TimeDelta::seconds(1)) };
    NewWorkflow {
        name: "digest".into(),
        prompt: "say good morning".into(),
        triggers: vec![trigger],
        ..NewWorkflow::default()
    }
}
