//! An agent for tests: speaks ACP, does what its prompt says, line by line. It is its own launcher, too: `acp-fake sandbox ...`.
//!
//! It misbehaves on request: dies, floods, is silent, speaks nonsense, leaves processes behind.
//!
//! Not here: anything that a release contains.

#![expect(clippy::disallowed_methods, reason = "a program reads its environment")]

use std::ffi::OsString;
use std::io::{BufRead as _, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode, exit};

use serde_json::{Value, json};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default();
    let arguments: Vec<OsString> = arguments.collect();
    match arguments.first().and_then(|first| first.to_str()) {
        Some("sandbox") => agents::sandbox::main(&[program, "sandbox".into()], arguments[1..].to_vec()),
        Some("agent") => {
            Fake { loads: arguments.iter().any(|argument| argument == "loads"), session: String::new(), asked: 0 }
                .serve();
            ExitCode::SUCCESS
        }
        _ => ExitCode::FAILURE,
    }
}

struct Fake {
    loads: bool,
    session: String,
    asked: u64,
}

/// How a prompt stops before its end.
struct Cancelled;

impl Fake {
    fn serve(&mut self) {
        while let Some(message) = next() {
            let params = &message["params"];
            match message["method"].as_str() {
                Some("initialize") => {
                    let capabilities = json!({ "loadSession": self.loads });
                    let info = json!({ "name": "acp-fake", "version": "1" });
                    let answer = json!({ "protocolVersion": 1, "agentCapabilities": capabilities, "agentInfo": info });
                    answer_to(&message, &answer);
                }
                Some("session/new") => {
                    self.session = format!("fake-{}", std::process::id());
                    answer_to(&message, &json!({ "sessionId": self.session }));
                }
                Some("session/load") => self.load(&message, params["sessionId"].as_str().unwrap_or_default()),
                Some("session/prompt") => {
                    let text = params["prompt"][0]["text"].as_str().unwrap_or_default().to_owned();
                    self.prompt(&message, &text);
                }
                _ => {}
            }
        }
    }

    fn load(&mut self, message: &Value, session: &str) {
        session.clone_into(&mut self.session);
        let Ok(past) = std::fs::read_to_string(self.past()) else {
            say(
                &json!({ "jsonrpc": "2.0", "id": message["id"], "error": { "code": -32002, "message": "no such session" } }),
            );
            return;
        };
        for line in past.lines() {
            self.chunk(&format!("replayed: {line}"));
        }
        answer_to(message, &Value::Null);
    }

    fn past(&self) -> PathBuf {
        PathBuf::from(std::env::var("HOME").unwrap_or_default()).join(&self.session)
    }

    fn prompt(&mut self, message: &Value, text: &str) {
        let mut past = std::fs::read_to_string(self.past()).unwrap_or_default();
        past.push_str(&format!("{text}\n"));
        if let Err(error) = std::fs::write(self.past(), past) {
            self.chunk(&format!("nothing is remembered: {error}"));
        }
        let done = text.lines().try_for_each(|line| self.line(line));
        let reason = if done.is_ok() { "end_turn" } else { "cancelled" };
        let usage = json!({ "totalTokens": 5, "inputTokens": 3, "outputTokens": 2 });
        answer_to(message, &json!({ "stopReason": reason, "usage": usage }));
    }

    fn line(&mut self, line: &str) -> Result<(), Cancelled> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "echo" => rest.split_inclusive(' ').for_each(|piece| self.chunk(piece)),
            "write" => {
                let (path, text) = rest.split_once(' ').unwrap_or((rest, ""));
                self.update(
                    &json!({ "sessionUpdate": "tool_call", "toolCallId": "c1", "title": format!("Write {path}") }),
                );
                let status = if std::fs::write(path, text).is_ok() { "completed" } else { "failed" };
                self.update(&json!({ "sessionUpdate": "tool_call_update", "toolCallId": "c1", "status": status }));
            }
            "read" => match std::fs::read_to_string(rest) {
                Ok(text) => self.chunk(&format!("{rest}: {}", text.trim())),
                Err(error) => self.chunk(&format!("{rest}: {:?}", error.kind())),
            },
            "past" => {
                let past = std::fs::read_to_string(self.past()).unwrap_or_default();
                self.chunk(&format!("{} prompts", past.lines().filter(|line| *line == "past").count()));
            }
            "pid" => self.chunk(&format!("pid {}", std::process::id())),
            "plan" => {
                let entry = |content, status| json!({ "content": content, "priority": "low", "status": status });
                let entries = json!([entry("look", "completed"), entry("leap", "pending")]);
                self.update(&json!({ "sessionUpdate": "plan", "entries": entries }));
            }
            "permission" => return self.permission(rest),
            "wait_for_cancel" => loop {
                let message = next().unwrap_or_else(|| exit(0));
                if message["method"] == "session/cancel" {
                    return Err(Cancelled);
                }
            },
            "ignore_cancel" | "silence" => while next().is_some() {},
            "flood" => {
                let text = "x".repeat(1 << 20);
                (0..rest.parse().unwrap_or(0)).for_each(|_| self.chunk(&text));
            }
            "long_line" => {
                println!("{}", "x".repeat(rest.parse().unwrap_or(0)));
            }
            "nonsense" => (0..rest.parse().unwrap_or(0)).for_each(|_| println!("what?")),
            "ask" => say(&json!({ "jsonrpc": "2.0", "id": "a", "method": rest, "params": {} })),
            "die" => {
                eprintln!("it hurts");
                exit(3);
            }
            "leave" => self.leave(),
            "env" => {
                let all: Vec<String> = std::env::vars().map(|(name, value)| format!("{name}={value}")).collect();
                self.chunk(&all.join("\n"));
            }
            "connect" => {
                let connected = TcpStream::connect(rest);
                self.chunk(&connected.map_or_else(|error| format!("{:?}", error.kind()), |_| "connected".into()));
            }
            "model" => self.model(rest),
            _ => self.chunk(line),
        }
        Ok(())
    }

    fn permission(&mut self, title: &str) -> Result<(), Cancelled> {
        self.asked += 1;
        let id = format!("p{}", self.asked);
        let option = |id, kind| json!({ "optionId": id, "name": id, "kind": kind });
        let options = json!([option("once", "allow_once"), option("no", "reject_once")]);
        let call = json!({ "toolCallId": id, "title": title });
        let params = json!({ "sessionId": self.session, "toolCall": call, "options": options });
        say(&json!({ "jsonrpc": "2.0", "id": id, "method": "session/request_permission", "params": params }));
        loop {
            let message = next().unwrap_or_else(|| exit(0));
            if message["id"] == id.as_str() {
                let outcome = &message["result"]["outcome"];
                if outcome["outcome"] == "cancelled" {
                    return Err(Cancelled);
                }
                self.chunk(&format!("{title}: {}", outcome["optionId"].as_str().unwrap_or("?")));
                return Ok(());
            }
        }
    }

    /// Starts something that leaves its parent and its group, and outlives it.
    fn leave(&self) {
        let script = "setsid sleep 1000 & echo $!";
        let mut left = Command::new("/bin/sh")
            .args(["-c", script])
            .process_group(0)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("a shell is there");
        let mut pid = String::new();
        let _ = std::io::BufReader::new(left.stdout.take().expect("it is piped")).read_line(&mut pid);
        let _ = left.wait();
        self.chunk(&format!("left {}", pid.trim()));
    }

    /// Asks its model: `METHOD PATH BODY`.
    fn model(&self, rest: &str) {
        let mut words = rest.splitn(3, ' ');
        let (method, path, body) =
            (words.next().unwrap_or("GET"), words.next().unwrap_or("/"), words.next().unwrap_or(""));
        let base = std::env::var("MODEL_BASE_URL").unwrap_or_default();
        let (address, prefix) =
            base.strip_prefix("http://").and_then(|rest| rest.split_once('/')).unwrap_or((&base, ""));
        let answer = TcpStream::connect(address).and_then(|mut stream| {
            let length = body.len();
            write!(stream, "{method} /{prefix}{path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer mine\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        });
        self.chunk(&answer.unwrap_or_else(|error| error.to_string()));
    }

    fn chunk(&self, text: &str) {
        self.update(&json!({ "sessionUpdate": "agent_message_chunk", "content": { "type": "text", "text": text } }));
    }

    fn update(&self, update: &Value) {
        let params = json!({ "sessionId": self.session, "update": update });
        say(&json!({ "jsonrpc": "2.0", "method": "session/update", "params": params }));
    }
}

fn next() -> Option<Value> {
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line).ok()?;
    (read > 0).then(|| serde_json::from_str(&line).unwrap_or_default())
}

fn answer_to(message: &Value, result: &Value) {
    say(&json!({ "jsonrpc": "2.0", "id": message["id"], "result": result }));
}

fn say(message: &Value) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{message}").and_then(|()| out.flush()).is_err() {
        exit(0);
    }
}
