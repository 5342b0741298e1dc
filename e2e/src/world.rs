//! A small live system whose backups are drilled: a Postgres of the test's own, all roles, and at least one of
//! everything that a drill wants to see.
//!
//! Not here: taking backups (`backups`), the plan that describes it to a drill (`plan`).

use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use client::{Client, NewTrigger, NewWorkflow, Wish};
use ids::{ChannelId, CommandId, OrgId, SessionId, WorkflowId};
use localpg::{Binaries, Cluster, Options};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::installation::{Installation, Served};
use crate::sink::Sink;
use crate::wait::wait_for_async;

/// A file that the smoke session's workspace keeps, and what is in it.
pub const MEMORY: (&str, &str) = ("memory.txt", "kept");
const DATABASE: &str = "cowork";
/// Two attempts, so that a delivery that nobody takes is a dead letter soon.
const IMPATIENT: &str = "max_attempts = 2\nbackoff_ms = 20\nbackoff_max_ms = 40\n";

/// The system.
#[derive(Debug)]
pub struct World {
    folder: PathBuf,
    pub(crate) cluster: Cluster,
    served: Option<Served>,
    pub token: String,
    pub(crate) facts: Facts,
}

/// What somebody has to know of a system who writes a plan for it.
#[derive(Debug)]
pub struct Facts {
    pub org: OrgId,
    /// One whose workspace has the file [`MEMORY`].
    pub session: SessionId,
    /// A paused workflow.
    pub held: WorkflowId,
    pub channel: ChannelId,
    pub signing_secret: SecretString,
    /// What the event `evt-1` of that channel became, with `say hello` in the thread `general`.
    pub repeated: CommandId,
}

impl World {
    /// Builds one in `folder`, with `server` in its Postgres' configuration.
    ///
    /// # Panics
    /// If it does not come to life.
    pub async fn build(folder: &Path, server: &str) -> Self {
        let binaries = Binaries::find(search_path().as_deref()).expect("Postgres' programs are installed");
        let mut cluster =
            Cluster::start(&binaries, &folder.join("postgres"), Options::safe()).expect("a cluster starts");
        cluster.create_database(DATABASE).expect("a database can be made");
        let configured = cluster
            .at_rest(Options::safe(), |data| std::fs::write(data.join("postgresql.auto.conf"), format!("{server}\n")));
        configured.expect("a cluster starts again");
        let more = format!("{IMPATIENT}\n[database]\nurl = {:?}\n", cluster.url(DATABASE));
        let installation = Installation::with_own_secrets(folder, &more);
        let made = installation.tell(&["admin", "init", "--org", "Northwind", "--email", "ada@example.org", "--json"]);
        let made: Value = serde_json::from_str(&made.succeeded().stdout).expect("a new system is told as JSON");
        let token = made["token"].as_str().expect("a new system has a token").to_owned();
        std::fs::write(folder.join("operator-token"), &token).expect("a file can be written");
        let served = installation.serve_as(token.clone());
        let facts = live(&served.operator(), &served.url("gateway")).await;
        Self { folder: folder.to_owned(), cluster, served: Some(served), token, facts }
    }

    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// # Panics
    /// If it was stopped.
    #[must_use]
    pub fn operator(&self) -> Client {
        self.served.as_ref().expect("it is served").operator()
    }

    #[must_use]
    pub fn installation(&self) -> Installation {
        Installation::at(&self.folder)
    }

    #[must_use]
    pub fn objects(&self) -> PathBuf {
        self.folder.join("cowork-data/objects")
    }

    #[must_use]
    pub fn database_url(&self) -> String {
        self.cluster.url(DATABASE)
    }

    /// Makes another database in the same server, and gives its URL.
    ///
    /// # Panics
    /// If it can't.
    #[must_use]
    pub fn another_database(&self, name: &str) -> String {
        self.cluster.create_database(name).expect("a database can be made");
        self.cluster.url(name)
    }

    /// Stops the roles. Its database goes on.
    ///
    /// # Panics
    /// If they don't stop well.
    pub fn stop_roles(&mut self) {
        let stopped = self.served.take().map(Served::stop);
        assert_eq!(stopped, Some(0), "the roles stop when asked to");
    }

    /// A session with this title, so that a recovery to an instant can be seen from both sides.
    ///
    /// # Panics
    /// If the API refuses it.
    pub async fn remember(&self, title: &str) {
        self.operator().session_create(title, "scripted").await.expect("a session can be made");
    }

    /// The instant that its server says it is.
    pub async fn instant(&self) -> DateTime<Utc> {
        self.ask("SELECT clock_timestamp()").await
    }

    /// The answer of one statement, with one value.
    ///
    /// # Panics
    /// If Postgres refuses it.
    pub async fn ask<T>(&self, sql: &str) -> T
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
    {
        let mut connection = PgConnection::connect(&self.database_url()).await.expect("the server answers");
        let answer = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut connection).await;
        connection.close().await.expect("a connection can be closed");
        answer.expect("the statement is one")
    }
}

/// Where Postgres' programs are, besides the usual places.
#[expect(clippy::disallowed_methods, reason = "a test finds its server programs as a shell would")]
#[must_use]
pub fn search_path() -> Option<std::ffi::OsString> {
    std::env::var_os("PATH")
}

/// Lives in it until there is one of everything.
async fn live(operator: &Client, gateway: &str) -> Facts {
    let sink = Sink::start();
    let org = operator.workspace().await.expect("the web role answers").org.org_id;
    operator.member_create("bob@example.org", "Bob", "member").await.expect("a member can be made");
    operator.byok_key_create("openai", "team key", "sk-0123456789abcdefghijklmnop").await.expect("a key is taken");
    for number in 0..6 {
        prompted(operator, &format!("Report {number} · отчёт"), &["stream 20 300\nwrite report.txt 4096"]).await;
    }
    let (file, content) = MEMORY;
    let note = format!("note {file} {content}");
    let session = prompted(operator, "A long memory", &[note.as_str(), "write summary.md 2048"]).await;
    let held = workflows(operator).await;
    let accept = operator.channel_create("accept", &sink.url("accept")).await.expect("a channel can be made");
    let refuse = operator.channel_create("refuse", &sink.url("refuse")).await.expect("a channel can be made");
    let secret = |channel: &client::Channel| channel.signing_secret.clone().expect("a new channel has a secret");
    let signing_secret = secret(&accept);
    let repeated = post(gateway, accept.channel_id, &signing_secret, "evt-1", "general", "say hello").await;
    post(gateway, refuse.channel_id, &secret(&refuse), "evt-2", "nobody", "say is anybody there").await;
    for state in ["sent", "dead"] {
        wait_for_async(&format!("a delivery is {state}"), async || {
            let page = operator.delivery_list(Some(state), None, 1).await.ok()?;
            (!page.items.is_empty()).then_some(())
        })
        .await;
    }
    wait_for_async("a workflow has run", async || {
        (operator.run_list(None, 10).await.ok()?.items.len() >= 2).then_some(())
    })
    .await;
    Facts { org, session, held, channel: accept.channel_id, signing_secret, repeated }
}

async fn prompted(operator: &Client, title: &str, prompts: &[&str]) -> SessionId {
    let session = operator.session_create(title, "scripted").await.expect("a session can be made").session_id;
    for (number, text) in prompts.iter().enumerate() {
        let wish = Wish::Prompt { text: (*text).to_owned() };
        let taken = operator.command_submit(session, &number.to_string(), &wish).await.expect("a prompt is taken");
        wait_for_async("the prompt is carried out", async || {
            let command = operator.command_get(session, taken.command_id).await.ok()?;
            (command.state == "done").then_some(())
        })
        .await;
    }
    session
}

/// One that is always busy; and one that waits, paused, for a drill to resume it.
#[expect(clippy::disallowed_methods, reason = "a story's schedule begins now")]
async fn workflows(operator: &Client) -> WorkflowId {
    let now = Utc::now();
    let plan = async |name: &str, state: &str, policy: &str, trigger: NewTrigger| {
        let workflow = NewWorkflow {
            name: name.to_owned(),
            prompt: format!("say {name} ran"),
            missed_policy: Some(policy.to_owned()),
            state: Some(state.to_owned()),
            triggers: vec![trigger],
            ..NewWorkflow::default()
        };
        operator.workflow_create(&workflow).await.expect("a workflow can be made").workflow_id
    };
    let hourly = NewTrigger::Interval { every_s: 3_600, anchor_at: Some(now + TimeDelta::seconds(1)) };
    plan("pulse", "active", "skip", NewTrigger::Interval { every_s: 1, anchor_at: Some(now) }).await;
    plan("held hourly", "paused", "run_once", hourly).await
}

/// A message from outside, signed as its provider would.
#[expect(clippy::disallowed_methods, reason = "a message is signed with the time of the machine")]
async fn post(
    gateway: &str,
    channel: ChannelId,
    secret: &SecretString,
    event: &str,
    thread: &str,
    text: &str,
) -> CommandId {
    let body = json!({"thread": thread, "text": text}).to_string();
    let timestamp = Utc::now().timestamp();
    let webhook = standardwebhooks::Webhook::new(secret.expose_secret()).expect("a channel's secret can sign");
    let signature = webhook.sign(event, timestamp, body.as_bytes()).expect("a body can be signed");
    let request = reqwest::Client::new().post(format!("{gateway}/hooks/{channel}"));
    let request = request.header("content-type", "application/json").header("webhook-id", event);
    let request = request.header("webhook-timestamp", timestamp.to_string()).header("webhook-signature", signature);
    let answer = request.body(body).send().await.expect("the gateway answers");
    let answer: Value = answer.json().await.expect("the gateway takes the message");
    let command = answer["command_id"].as_str().unwrap_or_else(|| panic!("the gateway answers {answer}"));
    serde_json::from_value(json!(command)).expect("a command has an id")
}
