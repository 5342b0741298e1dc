//! A model that does what it is told: answers OpenAI's `POST /v1/responses` as a stream of events.
//!
//! `make FILE` is a call of the tool that runs commands; whatever else is said to it, it answers with all that it was ever told in the
//! conversation. `hold` it answers when it is let go.
//!
//! Not here: who asks it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use serde_json::{Value, json};

/// The words by which it knows what people said from what an agent puts around it.
const WORDS: [&str; 3] = ["make ", "count", "hold"];

/// Ends with the test's process.
#[derive(Debug, Clone)]
pub struct Model {
    address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// What each request had as `Authorization`.
    keys: Mutex<Vec<String>>,
    holds: AtomicBool,
    open: Mutex<bool>,
    opened: Condvar,
}

impl Model {
    /// # Panics
    /// If there is no free port.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port can be had");
        let address = listener.local_addr().expect("a listener has an address");
        let model = Self { address, seen: Arc::default() };
        let seen = model.seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = seen.clone();
                // Whoever breaks off has a reason.
                std::thread::spawn(move || drop(answer(&stream, &seen)));
            }
        });
        model
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What each request had as `Authorization`.
    ///
    /// # Panics
    /// Never: nobody panics while holding the lock.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.seen.keys.lock().expect("no holder of this lock can panic").clone()
    }

    /// Whether somebody waits for an answer to `hold`.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.seen.holds.load(Ordering::SeqCst)
    }

    /// Answers `hold` from now on.
    ///
    /// # Panics
    /// Never: nobody panics while holding the lock.
    pub fn let_go(&self) {
        *self.seen.open.lock().expect("no holder of this lock can panic") = true;
        self.seen.opened.notify_all();
    }
}

/// One request, one connection.
fn answer(mut stream: &TcpStream, seen: &Seen) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut length = 0;
    for line in reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ").unwrap_or_default();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().unwrap_or(0);
        } else if name.eq_ignore_ascii_case("authorization") {
            seen.keys.lock().expect("no holder of this lock can panic").push(value.to_owned());
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    if !first.starts_with("POST /v1/responses ") {
        return write!(stream, "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    }
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    let events = said(&asked["input"], seen);
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")?;
    for event in events {
        write!(stream, "event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default())?;
    }
    Ok(())
}

fn said(input: &Value, seen: &Seen) -> Vec<Value> {
    let items: Vec<&Value> = input.as_array().into_iter().flatten().collect();
    let users = items.iter().filter(|item| item["type"] == "message" && item["role"] == "user");
    let texts = users.filter_map(|item| item["content"][0]["text"].as_str());
    let told: Vec<&str> = texts.filter(|text| WORDS.iter().any(|word| text.starts_with(word))).collect();
    let last = items.last().is_some_and(|item| item["type"] == "message");
    let file = told.last().and_then(|text| text.strip_prefix("make ")).filter(|_| last);
    if told.last() == Some(&"hold") && last {
        seen.holds.store(true, Ordering::SeqCst);
        let open = seen.open.lock().expect("no holder of this lock can panic");
        drop(seen.opened.wait_while(open, |open| !*open));
    }
    match file {
        Some(file) => call(file),
        None => message(&format!("I was told: {}.", told.join(", "))),
    }
}

fn call(file: &str) -> Vec<Value> {
    let arguments = json!({ "cmd": format!("echo hello > {file}") }).to_string();
    let call = json!({
        "type": "function_call", "id": "f1", "call_id": "c1", "name": "exec_command", "arguments": arguments,
    });
    around(vec![json!({ "type": "response.output_item.done", "item": call })])
}

fn message(text: &str) -> Vec<Value> {
    let item = |content| json!({ "type": "message", "role": "assistant", "id": "m1", "content": content });
    around(vec![
        json!({ "type": "response.output_item.added", "item": item(json!([])) }),
        json!({ "type": "response.output_text.delta", "delta": text }),
        json!({ "type": "response.output_item.done", "item": item(json!([{ "type": "output_text", "text": text }])) }),
    ])
}

fn around(events: Vec<Value>) -> Vec<Value> {
    let usage = json!({ "input_tokens": 3, "output_tokens": 2, "total_tokens": 5 });
    let first = json!({ "type": "response.created", "response": { "id": "r1" } });
    let last = json!({ "type": "response.completed", "response": { "id": "r1", "model": "gpt-5", "usage": usage } });
    std::iter::once(first).chain(events).chain([last]).collect()
}
