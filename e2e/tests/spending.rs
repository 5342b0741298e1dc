//! What an agent spends with a model: metered once whoever is killed, and stopped by a quota in the middle of a turn.
//!
//! The agent does what it is told (`acp-fake`); a real one is in `agents`.

use client::{Client, UsageModel, UsagePeriod, Wish};
use e2e::{Folder, Installation, Model, Served, wait_for_async};
use ids::{CommandId, SessionId};
use localpg::{Binaries, Cluster, Options};
use tokio::task::block_in_place;

/// A request that its model answers at once: 3 tokens in, 2 out.
const ASK: &str = "model POST /v1/responses {}";
/// One that it answers when it is let go.
const HOLD: &str =
    r#"model POST /v1/responses {"input":[{"type":"message","role":"user","content":[{"text":"hold"}]}]}"#;

fn configured(model: &Model) -> String {
    let fake = e2e::binary().with_file_name("acp-fake");
    assert!(fake.is_file(), "build the workspace with its tests first");
    format!(
        "[worker.model_addresses]\nopenai = {:?}\n\n[[worker.agents]]\nname = \"fake\"\ncommand = {fake:?}\n\
         args = [\"agent\"]\nprovider = \"openai\"\nturn_requests = 5\nenv = {{ MODEL_BASE_URL = \"{{base_url}}\" }}\n",
        model.url()
    )
}

async fn session(web: &Served) -> SessionId {
    let operator = web.operator();
    operator.byok_key_create("openai", "ours", &format!("sk-{}", "0".repeat(32))).await.unwrap();
    operator.session_create("t", "fake").await.unwrap().session_id
}

async fn prompt(web: &Served, session: SessionId, lines: &[&str]) -> CommandId {
    let wish = Wish::Prompt { text: lines.join("\n") };
    web.operator().command_submit(session, &format!("{} lines", lines.len()), &wish).await.unwrap().command_id
}

/// State and outcome, once it has ended.
async fn ended(web: &Served, session: SessionId, command: CommandId) -> (String, String) {
    let operator = web.operator();
    wait_for_async("the turn ends", async || {
        let command = operator.command_get(session, command).await.ok()?;
        (command.state != "pending").then(|| (command.state.clone(), command.outcome.clone().unwrap_or_default()))
    })
    .await
}

/// Tokens in and out, and what is known by model.
async fn used(web: &Served) -> (i64, i64, Vec<UsageModel>) {
    let usage = web.operator().usage().await.unwrap();
    let of = |kind: &str| usage.items.iter().find(|total| total.kind == kind).map_or(0, |total| total.quantity);
    (of("input_tokens"), of("output_tokens"), usage.models.clone())
}

fn asked(requests: i64) -> (i64, i64, Vec<UsageModel>) {
    let (input_tokens, output_tokens) = (3 * requests, 2 * requests);
    let (provider, model) = ("openai".to_owned(), Some("gpt-5".to_owned()));
    let model =
        UsageModel { provider, model, input_tokens, output_tokens, cached_tokens: 0, requests, requests_unknown: 0 };
    (input_tokens, output_tokens, vec![model])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_worker_had_spent_is_metered_once() {
    let (folder, model) = (Folder::new(), Model::start());
    let binaries = Binaries::find(e2e::search_path().as_deref()).expect("Postgres' programs are installed");
    let cluster = Cluster::start(&binaries, &folder.path().join("postgres"), Options::fast()).expect("it starts");
    cluster.create_database("cowork").expect("a database can be made");
    let database = format!("[database]\nurl = {:?}\n[worker]\nlease_ms = 1000\n", cluster.url("cowork"));
    let installation = Installation::new(folder.path(), &format!("{database}{}", configured(&model)));
    let (web, worker) = block_in_place(|| {
        let _ = installation.init();
        (installation.serve_roles("web,scheduler,gateway"), installation.serve_roles("worker"))
    });
    let session = session(&web).await;

    let command = prompt(&web, session, &[ASK, ASK, HOLD]).await;
    let events = async || web.operator().event_list(session, 0, 1_000).await.unwrap().items;
    let told = async || {
        let usage = events().await.into_iter().filter(|event| event.kind == "usage_recorded");
        usage.map(|event| event.payload["model"]["requests"].as_i64().unwrap()).sum::<i64>()
    };
    wait_for_async("two answers are written", async || (told().await == 2 && model.holds()).then_some(())).await;
    assert_eq!(used(&web).await.0, 0, "a turn counts when it has ended");
    let worker = block_in_place(|| {
        worker.kill();
        model.let_go();
        installation.serve_roles("worker")
    });
    let (state, outcome) = ended(&web, session, command).await;
    assert_eq!(state, "done", "{outcome}");
    assert_eq!(used(&web).await, asked(5), "two before the kill, three after it, and nothing twice");
    assert_eq!(told().await, 5);
    assert_eq!(block_in_place(|| worker.stop()), 0);
    assert_eq!(block_in_place(|| web.stop()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_of_tokens_ends_a_turn_in_its_middle_and_a_larger_one_lets_it_go_on() {
    let (folder, model) = (Folder::new(), Model::start());
    let served = block_in_place(|| Installation::new(folder.path(), &configured(&model)).serve());
    let (operator, session) = (served.operator(), session(&served).await);
    operator.quota_put("input_tokens", "month", 4, None).await.unwrap();
    let command = prompt(&served, session, &[ASK, ASK, ASK, "wait_for_cancel"]).await;
    let (state, outcome) = ended(&served, session, command).await;
    assert_eq!(state, "failed");
    assert!(outcome.starts_with("fake: the org's quota of input tokens for this month is used up"), "{outcome}");
    assert_eq!((used(&served).await, model.keys().len()), (asked(2), 2), "the second began while something was left");
    let metrics = operator.metrics().await.unwrap();
    let refused = r#"cowork_model_refusals_total{provider="openai",reason="quota"} "#;
    let refused = metrics.lines().find_map(|line| line.strip_prefix(refused));
    assert!(refused.is_some_and(|count| count != "0"), "{metrics}");
    assert!(metrics.contains(r#"cowork_model_tokens_total{provider="openai",kind="input"} 6"#), "{metrics}");

    operator.quota_put("input_tokens", "month", 1_000, None).await.unwrap();
    let command = prompt(&served, session, &[ASK, "echo all is well"]).await;
    assert_eq!(ended(&served, session, command).await.0, "done");
    let command = prompt(&served, session, &[ASK; 6]).await;
    let (state, outcome) = ended(&served, session, command).await;
    assert!(state == "failed" && outcome.contains("asked its model 5 times"), "{outcome}");
    assert_eq!((used(&served).await, model.keys().len()), (asked(8), 8));
    let (models, turn_ms, turn_ms_by_day) = used_lately(&operator).await;
    assert_eq!(models, asked(8).2);
    assert!(turn_ms > 0 && turn_ms_by_day == turn_ms, "{turn_ms} {turn_ms_by_day}");
    assert_eq!(block_in_place(|| served.stop()), 0);
}

/// What is known by model, and the time of turns as a whole and added up by day, of the days up to the end of this month. There is a
/// quota for it.
async fn used_lately(operator: &Client) -> (Vec<UsageModel>, i64, i64) {
    let to = operator.quota_list().await.unwrap()[0].ends_at.date_naive();
    let period = UsagePeriod { from: (0..40).fold(to, |day, _| day.pred_opt().unwrap()), to };
    let usage = operator.usage_within(period).await.unwrap();
    assert_eq!(usage.period, Some(period));
    let turn_ms = usage.items.iter().find(|total| total.kind == "turn_ms").map_or(0, |total| total.quantity);
    let days = operator.usage_days(period).await.unwrap();
    let by_day = days.iter().filter(|total| total.kind == "turn_ms").map(|total| total.quantity);
    (usage.models, turn_ms, by_day.sum())
}
