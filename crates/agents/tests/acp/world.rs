//! The world of these tests: a session's folder, an agent that does what it is told, and whoever writes down what happens.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agents::{
    Acp, AcpLimits, AcpSettings, Agent as _, Confinement, EventSink, Inbox, NoAccess, Outcome, Publication, SinkError,
    Steering, Turn, TurnResult,
};
use async_trait::async_trait;
use domain::command::Wish;
use domain::event::{Event, ToolCallStatus};
use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Whatever these tests wait for comes sooner, or does not come.
const LIMIT: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) events: Vec<Event>,
    /// Cancelled when something is told first.
    at_first: Option<CancellationToken>,
}

#[async_trait]
impl EventSink for Recorder {
    async fn emit(&mut self, event: Event) -> Result<(), SinkError> {
        self.events.push(event);
        if let Some(cancel) = self.at_first.take() {
            cancel.cancel();
        }
        Ok(())
    }

    async fn publish(&mut self, _: Publication) -> Result<(), SinkError> {
        Ok(())
    }

    async fn heard(&mut self, steering: Steering) -> Result<String, SinkError> {
        Ok(steering.text)
    }
}

impl Recorder {
    /// All text, put together.
    pub(crate) fn said(&self) -> String {
        let texts = self.events.iter().filter_map(|event| match event {
            Event::MessageAppended { text, .. } => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    }

    pub(crate) fn approvals(&self) -> Vec<&str> {
        let titles = self.events.iter().filter_map(|event| match event {
            Event::ApprovalRequested { title, .. } => Some(title.as_str()),
            _ => None,
        });
        titles.collect()
    }

    pub(crate) fn calls(&self) -> Vec<(Option<&str>, ToolCallStatus)> {
        let calls = self.events.iter().filter_map(|event| match event {
            Event::ToolCallUpserted { title, status, .. } => Some((title.as_deref(), *status)),
            _ => None,
        });
        calls.collect()
    }
}

pub(crate) struct World {
    pub(crate) agent: Acp,
    folder: TempDir,
    state: Value,
    ordinal: i64,
}

/// The agent of these tests, which no sandbox confines.
pub(crate) fn settings() -> AcpSettings {
    let fake = env!("CARGO_BIN_EXE_acp-fake");
    AcpSettings {
        name: "fake".into(),
        command: fake.into(),
        args: vec!["agent".into(), "loads".into()],
        env: std::collections::BTreeMap::new(),
        provider: None,
        confinement: Confinement { files: false, ..Confinement::default() },
        launcher: vec![fake.into(), "sandbox".into()],
        limits: AcpLimits::default(),
    }
}

impl World {
    pub(crate) fn new(settings: AcpSettings) -> Self {
        let agent = Acp::new(settings, Arc::new(NoAccess));
        Self { agent, folder: tempfile::tempdir().unwrap(), state: Value::Null, ordinal: 0 }
    }

    /// The session's folder, which is saved.
    pub(crate) fn session(&self) -> PathBuf {
        self.folder.path().join("session")
    }

    pub(crate) fn outside(&self) -> &Path {
        self.folder.path()
    }

    /// As if another worker had made the folder anew: nothing that was kept is gone on with.
    pub(crate) fn elsewhere(&mut self, settings: AcpSettings) {
        self.agent = Acp::new(settings, Arc::new(NoAccess));
    }

    pub(crate) async fn prompt(&mut self, text: &str) -> (Outcome, Recorder) {
        self.turn(Wish::Prompt { text: text.into() }, Recorder::default(), &CancellationToken::new()).await
    }

    /// A prompt that is cancelled when the agent says something first.
    pub(crate) async fn prompt_and_cancel(&mut self, text: &str) -> (Outcome, Recorder) {
        let cancel = CancellationToken::new();
        let recorder = Recorder { at_first: Some(cancel.clone()), ..Recorder::default() };
        self.turn(Wish::Prompt { text: text.into() }, recorder, &cancel).await
    }

    pub(crate) async fn approve(&mut self) -> (Outcome, Recorder) {
        let wish = Wish::Approve { request_id: String::new() };
        self.turn(wish, Recorder::default(), &CancellationToken::new()).await
    }

    pub(crate) async fn reject(&mut self) -> (Outcome, Recorder) {
        let wish = Wish::Reject { request_id: String::new() };
        self.turn(wish, Recorder::default(), &CancellationToken::new()).await
    }

    async fn turn(&mut self, wish: Wish, mut sink: Recorder, cancel: &CancellationToken) -> (Outcome, Recorder) {
        self.ordinal += 1;
        let turn = Turn {
            org: Uuid::from_u128(1).into(),
            session: Uuid::from_u128(2).into(),
            ordinal: self.ordinal,
            attempt: 1,
            workspace: self.session(),
            untouched: self.ordinal > 1,
            state: self.state.clone(),
            wish,
            spent: domain::spend::Spent::default(),
            inbox: Inbox::default(),
        };
        let turn = self.agent.turn(turn, &mut sink, cancel);
        let TurnResult { state, outcome } = tokio::time::timeout(LIMIT, turn).await.expect("a turn ends");
        self.state = state;
        (outcome, sink)
    }
}

/// Waits until a process is gone, or is one whose end nobody has looked at.
pub(crate) async fn gone(pid: &str) {
    let path = format!("/proc/{pid}/stat");
    let living = || std::fs::read_to_string(&path).is_ok_and(|stat| !stat.contains(") Z "));
    tokio::time::timeout(LIMIT, async {
        while living() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the process ends");
}
