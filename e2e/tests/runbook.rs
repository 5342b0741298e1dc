//! The runbook `docs/runbooks/backup-restore.md`, carried out: its blocks are extracted and run as they stand, in order,
//! against a live system of the embedded default. A runbook that nobody runs is wrong by the time it is needed.
//!
//! Not here: comparing every row and every blob. A drill does that.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use client::{Client, Wish};
use e2e::{Folder, Installation, binary, living_below, wait_for_async};
use serde_json::Value;

const RUNBOOK: &str = include_str!("../../docs/runbooks/backup-restore.md");
/// One attempt, so that a delivery to nowhere is a dead letter at once.
const IMPATIENT: &str = "max_attempts = 1\n";
/// What the shell does before the first block. Roles that a failed block leaves behind end with it.
const BEFORE: &str = r#"PATH="$BINARIES:$PATH"; trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT"#;

/// The runbook's blocks, each as it stands.
fn blocks() -> Vec<&'static str> {
    let parts = RUNBOOK.split("\n```sh\n").skip(1);
    parts.map(|part| part.split_once("\n```").expect("a block is closed").0).collect()
}

/// Carries out `blocks` in one shell, on the system in `folder/source`.
fn carry_out(blocks: &[&str], folder: &Path, recorder: &str) -> Output {
    let script = format!("{BEFORE}\n{}\n", blocks.join("\n"));
    let binaries = binary().parent().expect("a binary lies in a folder").to_owned();
    let mut shell = Command::new("bash");
    for (name, place) in [("SOURCE", "source"), ("ARCHIVE", "archive"), ("KEPT", "kept"), ("TARGET", "target")] {
        shell.env(name, folder.join(place));
    }
    shell.env("BINARIES", binaries).env("RECORDER", recorder).env_remove("DATABASE_URL").current_dir(folder);
    shell.args(["-ex", "-c", &script]).output().expect("there is a bash")
}

fn said(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A message as it arrived.
#[derive(Debug, Clone)]
struct Received {
    id: String,
    text: String,
}

/// The runbook's recorder: accepts every POST and keeps it. Ends with the test's process.
#[derive(Debug, Clone)]
struct Recorder {
    url: String,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Recorder {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let recorder = Self { url, received: Arc::default() };
        let keeper = recorder.clone();
        std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| keeper.take(&stream)));
        recorder
    }

    /// One request, one connection.
    fn take(&self, mut stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        let (mut id, mut length) = (String::new(), 0);
        for line in reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()) {
            let (name, value) = line.split_once(": ").unwrap_or_default();
            match name.to_ascii_lowercase().as_str() {
                "webhook-id" => value.clone_into(&mut id),
                "content-length" => length = value.parse().unwrap(),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let text = body["data"]["text"].as_str().unwrap_or_default().to_owned();
        self.received.lock().unwrap().push(Received { id, text });
        stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").unwrap();
    }

    fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

/// Sessions with an artifact and a checkpoint, and a delivery that found nobody. Gives back the dead letter's id.
async fn live_in(operator: &Client) -> String {
    for title in ["First", "Second"] {
        let session = operator.session_create(title, "scripted").await.unwrap().session_id;
        let channel = operator.channel_create(title, "http://127.0.0.1:9/").await.unwrap().channel_id;
        operator.binding_create(channel, "a thread", session).await.unwrap();
        let wish = Wish::Prompt { text: "say made before the backup\nwrite report.txt 2000".to_owned() };
        let command = operator.command_submit(session, "k", &wish).await.unwrap().command_id;
        wait_for_async("the prompt is carried out", async || {
            let command = operator.command_get(session, command).await.unwrap();
            (command.state == "done").then_some(())
        })
        .await;
    }
    wait_for_async("both deliveries are dead letters", async || {
        let dead = operator.delivery_list(Some("dead"), None, 10).await.unwrap().items;
        (dead.len() == 2).then(|| dead[0].delivery_id.to_string())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_runbooks_commands_bring_a_system_back() {
    let folder = Folder::new();
    let source = Installation::new(&folder.make("source"), IMPATIENT).serve();
    let dead = live_in(&source.operator()).await;
    let recorder = Recorder::start();

    let done = carry_out(&blocks(), folder.path(), &recorder.url);
    assert!(done.status.success(), "{}", said(&done));

    let diagnostics = std::fs::read(folder.path().join("target/diagnostics.json")).unwrap();
    let diagnostics: Value = serde_json::from_slice(&diagnostics).unwrap();
    for (table, rows) in [("sessions", 2), ("artifacts", 2), ("checkpoints", 2), ("deliveries", 2)] {
        assert_eq!(diagnostics["counts"][table], rows, "{table}");
    }
    assert!(said(&done).contains("target/artifact: OK"), "{}", said(&done));
    let received = recorder.received();
    assert_eq!(received.iter().filter(|one| one.text == "sent").count(), 1, "{received:?}");
    let again: Vec<_> = received.iter().filter(|one| one.text != "sent").collect();
    assert!(matches!(again[..], [one] if one.id == dead), "{received:?}");

    let left = living_below(&folder.path().join("target"));
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(source.operator().session_list(None, 10).await.unwrap().items.len(), 2);
    assert_eq!(source.stop(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_backup_stops_the_runbook_before_anything_is_restored() {
    let folder = Folder::new();
    let source = Installation::new(&folder.make("source"), IMPATIENT).serve();
    let blocks = blocks();
    let backup = blocks.iter().position(|block| block.contains("cowork backup ")).unwrap();
    let mut sabotaged = blocks.clone();
    sabotaged.insert(backup + 1, r#"printf x >>"$ARCHIVE/backups/$BACKUP/database.dump""#);

    let done = carry_out(&sabotaged, folder.path(), "http://127.0.0.1:9/");
    assert_eq!(done.status.code(), Some(1), "{}", said(&done));
    assert!(said(&done).contains("database.dump"), "{}", said(&done));
    assert!(!folder.path().join("target").exists());
    assert_eq!(source.stop(), 0);
}

#[test]
fn every_block_is_of_a_language_that_is_run() {
    let fences = RUNBOOK.lines().filter(|line| line.starts_with("```")).count();
    assert_eq!(fences, 2 * blocks().len(), "a fence that is not `sh` is not tried by anybody");
}
