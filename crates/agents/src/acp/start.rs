//! From nothing to an agent that has its session: folders, door, process, greeting, the session that it had or a new one.
//!
//! Not here: what is said in a turn (`talk`).

use std::collections::{HashMap, VecDeque};
use std::fs::DirBuilder;
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::event::{Event, MessageRole};
use tokio_util::sync::CancellationToken;

use super::kept::Live;
use super::lines::Line;
use super::process::Process;
use super::settings::Places;
use super::talk::Stop;
use super::wire::{self, Said};
use super::{Acp, HOME, Memory, WORK};
use crate::{EventSink, ModelDoor, Turn, sandbox};

/// Told where an agent does not find the session that it had. People see it in the agent's place.
const FORGOTTEN: &str =
    "(The agent could not load its earlier conversation and begins a new one. The files are as they were.)";

/// Starts the agent for a turn. The door that it asks through is there also if it did not start.
pub(super) async fn start(
    acp: &Acp,
    turn: &Turn,
    memory: &mut Memory,
    sink: &mut dyn EventSink,
    cancel: &CancellationToken,
    through: &mut Option<Arc<dyn ModelDoor>>,
) -> Result<Live, Stop> {
    let limit = acp.settings.limits.start;
    let started = async {
        if let Some(provider) = &acp.settings.provider {
            let door = acp.access.open(turn.org, turn.session, provider).await?;
            door.begin(acp.settings.limits.spend, turn.spent).await?;
            *through = Some(door);
        }
        let door = through.clone();
        let mut places =
            places(&turn.workspace).await.map_err(|error| format!("its folders can't be made: {error}"))?;
        places.base_url = door.as_ref().map(|door| door.base_url().to_owned());
        places.door = door.as_ref().map(|door| door.port());
        let process = Process::start(&acp.starter, &acp.settings, &places, door).await?;
        greet(process, &places.workspace, memory).await
    };
    let (live, forgotten) = tokio::select! {
        () = cancel.cancelled() => return Err(Stop::Cancelled),
        started = tokio::time::timeout(limit, started) => match started {
            Ok(started) => started.map_err(Stop::Failed)?,
            Err(_) => return Err(Stop::Failed(format!("it was not ready within {} s", limit.as_secs()))),
        },
    };
    memory.session = Some(live.session.clone());
    if forgotten {
        let message_id = format!("message-{}.{}.0", turn.ordinal, turn.attempt);
        let told = Event::MessageAppended { message_id, role: MessageRole::Agent, text: FORGOTTEN.into() };
        sink.emit(told).await.map_err(Stop::Sink)?;
    }
    Ok(live)
}

/// Also whether the agent had a session and does not find it.
async fn greet(process: Process, workspace: &Path, memory: &mut Memory) -> Result<(Live, bool), String> {
    let mut live = Live {
        process,
        session: String::new(),
        asked: 0,
        prompt: None,
        permissions: VecDeque::new(),
        calls: HashMap::new(),
    };
    let id = live.next_id();
    let greeting = ask(&mut live, id, &wire::initialize(id)).await?;
    let greeting = wire::greeting(greeting.map_err(|error| format!("it would not begin: {error}"))?)?;
    memory.agent = greeting.name;
    if let Some(session) = &memory.session
        && greeting.loads
    {
        let id = live.next_id();
        match ask(&mut live, id, &wire::load_session(id, session, workspace)).await? {
            Ok(_) => {
                live.session.clone_from(session);
                return Ok((live, false));
            }
            Err(error) => tracing::warn!(error, "an agent could not load its session"),
        }
    }
    let id = live.next_id();
    let new = ask(&mut live, id, &wire::new_session(id, workspace)).await?;
    live.session = wire::session_of(new.map_err(|error| format!("it would not begin a session: {error}"))?)?;
    Ok((live, memory.session.is_some()))
}

/// What it answers. What it says meanwhile is of the past, which is known here.
async fn ask(
    live: &mut Live,
    id: u64,
    request: &serde_json::Value,
) -> Result<Result<serde_json::Value, String>, String> {
    // Whoever does not listen has ended, and may have said why.
    let deaf = live.process.say(request).await.is_err();
    loop {
        let line = match live.process.next().await {
            Line::Text(line) => line,
            Line::TooLong => return Err("a line of it is too long".into()),
            Line::End if deaf => return Err(format!("it does not listen{}", live.process.last_words().await)),
            Line::End => return Err(format!("it ended before it began{}", live.process.last_words().await)),
        };
        // Its program could not be started after all.
        if let Some(why) = line.strip_prefix(sandbox::REFUSED.as_bytes()) {
            return Err(String::from_utf8_lossy(why).into_owned());
        }
        match wire::read(&line) {
            Some(Said::Answer { id: answered, result }) if answered == id => return Ok(result),
            Some(Said::Permission { id, .. }) => live.process.say(&wire::permission_cancelled(&id)).await?,
            Some(Said::Request { id, method }) => live.process.say(&wire::unknown_method(&id, &method)).await?,
            _ => {}
        }
    }
}

/// Makes the folders that are not there. What is not saved begins empty.
async fn places(folder: &Path) -> std::io::Result<Places> {
    let (workspace, home, scratch) = (folder.join(WORK), folder.join(HOME), scratch(folder));
    let places = Places { workspace, home, scratch, port: free_port()?, base_url: None, door: None };
    let (folder, workspace) = (folder.to_owned(), places.workspace.clone());
    let (home, scratch) = (places.home.clone(), places.scratch.clone());
    tokio::task::spawn_blocking(move || {
        beneath::remove(&scratch)?;
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        // Its cage opens what these names lead to: a link in the place of one would open the cage.
        [workspace, home, scratch].iter().try_for_each(|folder| beneath::make(folder))
    })
    .await??;
    Ok(places)
}

/// Beside the session's folder, which is saved.
fn scratch(folder: &Path) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(".scratch");
    folder.with_file_name(name)
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
