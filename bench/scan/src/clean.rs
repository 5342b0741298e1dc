//! A corpus without secrets: what this repository is and was made of, and what an installation of it says at its most
//! talkative.
//!
//! The installation serves until its log is long enough: sessions, prompts, reads, refused calls.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

const BYTES: u64 = 100_000_000;
/// Who talk to it at the same time.
const PEOPLE: usize = 8;
/// How long the installation may take for it.
const PATIENCE: Duration = Duration::from_secs(1_200);

pub(crate) struct Corpus {
    folder: PathBuf,
    pub(crate) files: Vec<PathBuf>,
    pub(crate) log_bytes: u64,
    /// What the installation keeps secret.
    pub(crate) secrets: Vec<(&'static str, String)>,
}

impl Corpus {
    /// One that is there already.
    pub(crate) fn of(folder: &Path) -> Self {
        Self { files: super::files_below(folder), folder: folder.to_owned(), log_bytes: 0, secrets: Vec::new() }
    }

    /// One file after the other.
    pub(crate) fn text(&self) -> std::io::Result<Vec<u8>> {
        let mut text = Vec::new();
        for file in &self.files {
            File::open(file)?.read_to_end(&mut text)?;
        }
        Ok(text)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Ends with its owner.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.0.id()) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
        }
        let _ = self.0.wait();
    }
}

pub(crate) fn corpus(work: &Path, binary: &Path) -> anyhow::Result<Corpus> {
    let folder = work.join("clean");
    std::fs::create_dir(&folder)?;
    let sources = copy_sources(&folder.join("sources.patch"))?;
    let log = folder.join("serve.log");
    let secrets = talk(work, binary, &log, BYTES.saturating_sub(sources))?;
    let log_bytes = std::fs::metadata(&log)?.len();
    Ok(Corpus { files: super::files_below(&folder), folder, log_bytes, secrets })
}

/// Every file of every commit, one after the other. Gives back how many bytes that is.
fn copy_sources(to: &Path) -> anyhow::Result<u64> {
    let mut command = Command::new("git");
    command.args(["log", "--all", "--reverse", "--patch", "--text", "--no-color"]).stdout(File::create(to)?);
    ensure!(command.status()?.success(), "`git log` failed");
    Ok(std::fs::metadata(to)?.len())
}

/// Serves and is asked until the log has so many bytes. Gives back the installation's secrets.
fn talk(work: &Path, binary: &Path, log: &Path, bytes: u64) -> anyhow::Result<Vec<(&'static str, String)>> {
    let home = work.join("installation");
    std::fs::create_dir(&home)?;
    for folder in [work, &home] {
        // Postgres runs as another account if we are root.
        std::fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    }
    let out = File::create(log)?;
    let mut command = Command::new(binary);
    let ready_file = home.join("ready.json");
    command.args(["serve", "--ready-file"]).arg(&ready_file).current_dir(&home).env("COWORK_LOG__LEVEL", "trace");
    for role in ["WEB", "WORKER", "SCHEDULER", "GATEWAY"] {
        command.env(format!("COWORK_{role}__LISTEN"), "127.0.0.1:0");
    }
    command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
    let mut serving = Serving(command.spawn().context("`cowork serve` can't be started")?);
    let web = address(&mut serving, &ready_file)?;
    let token_file = home.join("cowork-data/operator-token");
    let asked = ask(&web, &token_file, log, bytes);
    drop(serving);
    asked?;
    let mut secrets = vec![("the operator's token", std::fs::read_to_string(&token_file)?.trim().to_owned())];
    for file in super::files_below(&home.join("cowork-data/secrets")) {
        secrets.push(("a generated secret", std::fs::read_to_string(file)?.trim().to_owned()));
    }
    Ok(secrets)
}

/// Where the web role listens, once all roles are ready.
fn address(serving: &mut Serving, ready_file: &Path) -> anyhow::Result<String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let ready = std::fs::read(ready_file).ok().and_then(|json| serde_json::from_slice::<Value>(&json).ok());
        if let Some(web) = ready.as_ref().and_then(|ready| ready["roles"]["web"].as_str()) {
            return Ok(web.to_owned());
        }
        ensure!(serving.0.try_wait()?.is_none() && Instant::now() < deadline, "the installation never served");
        std::thread::yield_now();
    }
}

fn ask(web: &str, token_file: &Path, log: &Path, bytes: u64) -> anyhow::Result<()> {
    let token = std::fs::read_to_string(token_file)?.trim().to_owned();
    std::thread::scope(|scope| {
        let people: Vec<_> = (0..PEOPLE).map(|_| scope.spawn(|| talk_on(web, &token, log, bytes))).collect();
        people.into_iter().try_for_each(|one| one.join().expect("nobody panics"))
    })
}

fn talk_on(web: &str, token: &str, log: &Path, bytes: u64) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut round = 0_u64;
    while std::fs::metadata(log)?.len() < bytes {
        ensure!(Instant::now() < deadline, "the log has only {} bytes", std::fs::metadata(log)?.len());
        let title = json!({"title": format!("Round {round}")});
        let created = call(web, "POST", "/api/sessions", token, "", Some(title))?;
        let session = created.split("\"session_id\":\"").nth(1).and_then(|rest| rest.get(..36));
        let session = session.with_context(|| format!("no session was made: {created}"))?;
        let prompt = json!({"kind": "prompt", "payload": {"text": "say hello\nstream 20 200\nwrite report.txt 900"}});
        let path = format!("/api/sessions/{session}/commands");
        call(web, "POST", &path, token, "Idempotency-Key: one\r\n", Some(prompt))?;
        for path in ["/api/workspace", "/api/diagnostics", "/api/sessions", "/api/artifacts", "/api/audit", "/metrics"]
        {
            call(web, "GET", path, token, "", None)?;
            call(web, "GET", path, "cow_of-nobody", "", None)?;
        }
        round += 1;
    }
    Ok(())
}

/// The whole answer, as it comes.
fn call(web: &str, method: &str, path: &str, token: &str, extra: &str, body: Option<Value>) -> anyhow::Result<String> {
    let body = body.map_or_else(String::new, |body| body.to_string());
    let mut stream = TcpStream::connect(web)?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n{extra}\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
