//! The scripted agent: does what the prompt says, line by line, without a model or a network.
//!
//! The same session, ordinal and prompt give the same texts and files, always. So a drill can ask a restored system to
//! do again what the lost one did, and compare.
//!
//! Steered, it hears at once: between two lines, or in the middle of a sleep or a stream, which end there. The lines that it heard
//! come before those that are left, behind others that it heard.
//!
//! Not here: the words that it understands (`script`).

use std::collections::VecDeque;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use beneath::Folder;
use domain::call::lines_without_data;
use domain::command::Wish;
use domain::event::{Event, MessageRole, ToolCallStatus};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::bytes::printable;
use crate::script::{self, Line};
use crate::{Agent, EventSink, Outcome, Publication, SinkError, Steering, Turn, TurnResult, recalled};

/// Does what the prompt says.
#[derive(Debug, Default, Clone, Copy)]
pub struct Scripted;

/// What it remembers from turn to turn.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Memory {
    turns: u64,
    /// What is left of the prompt while a person is waited for.
    rest: Vec<String>,
}

/// Why the script stops before its end.
enum Stop {
    Outcome(Outcome),
    Sink(SinkError),
}

impl From<SinkError> for Stop {
    fn from(error: SinkError) -> Self {
        Self::Sink(error)
    }
}

#[async_trait]
impl Agent for Scripted {
    fn name(&self) -> &str {
        "scripted"
    }

    async fn turn(&self, turn: Turn, sink: &mut dyn EventSink, cancel: &CancellationToken) -> TurnResult {
        let before = turn.state.clone();
        let memory: Memory = match recalled(&turn.state) {
            Ok(memory) => memory,
            Err(failed) => return failed,
        };
        let mut run =
            Run { turn, sink, cancel, steered: VecDeque::new(), rest: Vec::new(), named: 0, heard: 0, spoken: 0 };
        let outcome = run.all(memory.rest).await;
        let state = Memory { turns: memory.turns + 1, rest: run.rest };
        match outcome {
            Ok(()) => TurnResult { state: remembered(&state), outcome: Outcome::Completed },
            Err(Stop::Outcome(Outcome::Aborted) | Stop::Sink(SinkError::Closed)) => {
                TurnResult { state: remembered(&Memory { rest: Vec::new(), ..state }), outcome: Outcome::Aborted }
            }
            Err(Stop::Outcome(outcome)) => TurnResult { state: remembered(&state), outcome },
            Err(Stop::Sink(error)) => TurnResult::failed(before, error.to_string()),
        }
    }
}

fn remembered(memory: &Memory) -> Value {
    serde_json::to_value(memory).expect("a memory is plain data")
}

/// One turn in progress.
struct Run<'a> {
    turn: Turn,
    sink: &'a mut dyn EventSink,
    cancel: &'a CancellationToken,
    /// Lines that people said meanwhile and that are not carried out yet.
    steered: VecDeque<String>,
    rest: Vec<String>,
    /// How many ids were given out.
    named: u32,
    /// Words.
    heard: i64,
    /// Words.
    spoken: i64,
}

impl Run<'_> {
    async fn all(&mut self, rest: Vec<String>) -> Result<(), Stop> {
        let lines = self.lines(rest).await?;
        let done = self.lines_in_turn(lines).await;
        // Metered also if the script stops: what was said was said.
        let usage = Event::UsageRecorded { input_tokens: self.heard, output_tokens: self.spoken, model: None };
        if !matches!(done, Err(Stop::Sink(_))) {
            self.sink.emit(usage).await?;
        }
        done
    }

    /// What is to be done.
    async fn lines(&mut self, rest: Vec<String>) -> Result<Vec<String>, Stop> {
        let (lines, heard) = match self.turn.wish.clone() {
            Wish::Prompt { text } => (lines_of(&text), words(&text)),
            Wish::Answer { answer, .. } => {
                self.say(&format!("the answer is: {answer}")).await?;
                (rest, words(&answer))
            }
            Wish::Approve { .. } => (rest, 1),
            Wish::Reject { .. } | Wish::Abort {} => (Vec::new(), 1),
        };
        self.heard += heard;
        Ok(lines)
    }

    async fn lines_in_turn(&mut self, lines: Vec<String>) -> Result<(), Stop> {
        let mut lines = lines.into_iter();
        while let Some(line) = self.next_line(&mut lines).await? {
            let stop = self.line(script::parse(line.trim())).await;
            if let Err(Stop::Outcome(Outcome::AwaitingAnswer | Outcome::AwaitingApproval)) = stop {
                self.rest = self.steered.drain(..).chain(lines).collect();
                return stop;
            }
            stop?;
        }
        Ok(())
    }

    /// What was said meanwhile goes before what is left.
    async fn next_line(&mut self, lines: &mut impl Iterator<Item = String>) -> Result<Option<String>, Stop> {
        if self.cancel.is_cancelled() {
            return Err(Stop::Outcome(Outcome::Aborted));
        }
        while let Some(steering) = self.turn.inbox.take() {
            self.hear(steering).await?;
        }
        Ok(self.steered.pop_front().or_else(|| lines.next()))
    }

    async fn hear(&mut self, steering: Steering) -> Result<(), Stop> {
        let text = self.sink.heard(steering).await?;
        self.heard += words(&text);
        self.steered.extend(lines_of(&text));
        Ok(())
    }

    async fn line(&mut self, line: Line<'_>) -> Result<(), Stop> {
        match line {
            Line::Say("") => {}
            Line::Say(text) => self.say(text).await?,
            Line::Stream { pieces, bytes } => self.stream(pieces, bytes).await?,
            Line::Write { path, size } => self.write(path, size).await?,
            Line::Note { path, text } => self.note(path, text).await?,
            Line::Link { path, target } => self.link(path, target).await?,
            Line::Read { path } => self.read(path).await?,
            Line::Ask(question) => {
                let asked = Event::QuestionAsked { request_id: self.name("request"), question: question.into() };
                self.sink.emit(asked).await?;
                return Err(Stop::Outcome(Outcome::AwaitingAnswer));
            }
            Line::Approve(title) => {
                let requested = Event::ApprovalRequested { request_id: self.name("request"), title: title.into() };
                self.sink.emit(requested).await?;
                return Err(Stop::Outcome(Outcome::AwaitingApproval));
            }
            Line::Fail(reason) => return Err(Stop::Outcome(Outcome::Failed { error: reason.into() })),
            Line::Sleep(time) => {
                tokio::select! {
                    () = self.cancel.cancelled() => return Err(Stop::Outcome(Outcome::Aborted)),
                    steering = self.turn.inbox.next() => self.hear(steering).await?,
                    () = tokio::time::sleep(time) => {}
                }
            }
            Line::Crash => panic!("the script says crash"),
        }
        Ok(())
    }

    async fn say(&mut self, text: &str) -> Result<(), Stop> {
        let message_id = self.name("message");
        self.append(message_id, text.to_owned()).await
    }

    async fn append(&mut self, message_id: String, text: String) -> Result<(), Stop> {
        self.spoken += words(&text);
        Ok(self.sink.emit(Event::MessageAppended { message_id, role: MessageRole::Agent, text }).await?)
    }

    async fn stream(&mut self, pieces: usize, bytes: usize) -> Result<(), Stop> {
        let message_id = self.name("message");
        for piece in 0..pieces {
            if self.cancel.is_cancelled() {
                return Err(Stop::Outcome(Outcome::Aborted));
            }
            if let Some(steering) = self.turn.inbox.take() {
                return self.hear(steering).await;
            }
            let text = printable(&self.seed(&format!("stream {piece}")), bytes);
            self.append(message_id.clone(), text).await?;
        }
        Ok(())
    }

    async fn write(&mut self, path: &str, size: usize) -> Result<(), Stop> {
        let call = self.call("write", path).await?;
        let content = printable(&self.seed(path), size);
        let sha256 = hex::encode(Sha256::digest(&content));
        match put(&self.turn.workspace, path, content).await {
            Ok(()) => {
                let name = path.to_owned();
                let publication = Publication { name, media_type: media_type(path).into(), path: path.into() };
                self.sink.publish(publication).await?;
                self.called(call, ToolCallStatus::Completed, format!("{size} bytes, SHA-256 {sha256}")).await
            }
            Err(error) => self.called(call, ToolCallStatus::Failed, error.to_string()).await,
        }
    }

    async fn note(&mut self, path: &str, text: &str) -> Result<(), Stop> {
        let noted = put(&self.turn.workspace, path, text.to_owned()).await;
        noted.map_err(|error| Stop::Outcome(Outcome::Failed { error: format!("{path} was not noted: {error}") }))
    }

    async fn link(&mut self, path: &str, target: &str) -> Result<(), Stop> {
        let (at, to) = (PathBuf::from(path), target.to_owned());
        let linked = within(&self.turn.workspace, move |workspace| workspace.link(&at, &to)).await;
        linked.map_err(|error| Stop::Outcome(Outcome::Failed { error: format!("{path} was not made a link: {error}") }))
    }

    async fn read(&mut self, path: &str) -> Result<(), Stop> {
        let call = self.call("read", path).await?;
        let at = PathBuf::from(path);
        match within(&self.turn.workspace, move |workspace| look(workspace, &at)).await {
            Ok((what, content)) => {
                let sha256 = hex::encode(Sha256::digest(&content));
                let said = format!("{path}: {what}{} bytes, SHA-256 {sha256}", content.len());
                self.called(call, ToolCallStatus::Completed, said.clone()).await?;
                self.say(&said).await
            }
            Err(error) => {
                self.called(call, ToolCallStatus::Failed, error.to_string()).await?;
                self.say(&format!("{path} can't be read: {error}")).await
            }
        }
    }

    async fn call(&mut self, tool: &str, path: &str) -> Result<String, Stop> {
        let tool_call_id = self.name("call");
        self.sink
            .emit(Event::ToolCallUpserted {
                tool_call_id: tool_call_id.clone(),
                title: Some(format!("{tool} {path}")),
                status: ToolCallStatus::InProgress,
                output: None,
            })
            .await?;
        Ok(tool_call_id)
    }

    async fn called(&mut self, tool_call_id: String, status: ToolCallStatus, output: String) -> Result<(), Stop> {
        let event = Event::ToolCallUpserted { tool_call_id, title: None, status, output: Some(output) };
        Ok(self.sink.emit(event).await?)
    }

    /// An id that no other attempt, turn or line of this session has.
    fn name(&mut self, what: &str) -> String {
        self.named += 1;
        format!("{what}-{}.{}.{}", self.turn.ordinal, self.turn.attempt, self.named)
    }

    /// The same for every attempt.
    fn seed(&self, what: &str) -> String {
        format!("{} {} {what}", self.turn.session, self.turn.ordinal)
    }
}

fn lines_of(text: &str) -> Vec<String> {
    lines_without_data(text).map(str::to_owned).collect()
}

fn words(text: &str) -> i64 {
    i64::try_from(text.split_whitespace().count()).expect("a text has fewer words")
}

async fn put(workspace: &Path, path: &str, content: String) -> io::Result<()> {
    let path = PathBuf::from(path);
    within(workspace, move |workspace| workspace.write(&path, content.as_bytes())).await
}

/// The script has the rights of the worker, so it goes through no link.
async fn within<T: Send + 'static>(
    workspace: &Path,
    act: impl FnOnce(&Folder) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let workspace = workspace.to_owned();
    tokio::task::spawn_blocking(move || act(&Folder::open(&workspace)?)).await?
}

/// What stands there, if it is no file, and its content.
fn look(workspace: &Folder, path: &Path) -> io::Result<(&'static str, Vec<u8>)> {
    if let Some(target) = workspace.target(path)? {
        return Ok(("a link, ", target.into_encoded_bytes()));
    }
    let mut content = Vec::new();
    workspace.read(path)?.read_to_end(&mut content)?;
    Ok(("", content))
}

fn media_type(path: &str) -> &'static str {
    match Path::new(path).extension().and_then(|extension| extension.to_str()) {
        Some("txt" | "log") => "text/plain",
        Some("md") => "text/markdown",
        Some("csv") => "text/csv",
        Some("json") => "application/json",
        Some("html") => "text/html",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests;
