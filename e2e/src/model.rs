//! A model that does what it is told: answers OpenAI's `POST /v1/responses` and `POST /v1/chat/completions` as streams.
//!
//! `run COMMAND` is a call of the tool that runs commands; whatever else is said to it, it answers with all that it was ever told in the
//! conversation. `hold` it answers when it is let go.
//!
//! Not here: who asks it.

mod chat;
mod responses;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use serde_json::Value;

/// The words by which it knows what people said from what an agent puts around it.
const WORDS: [&str; 3] = ["run ", "count", "hold"];

/// What it was asked, however that is written.
struct Asked {
    /// What people said, and agents around it, the oldest first.
    texts: Vec<String>,
    /// That the last of them is to be answered, and not what a tool gave.
    last: bool,
    /// There is a tool that runs commands.
    tools: bool,
}

/// What it answers.
enum Answer {
    Run(String),
    Say(String),
}

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
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = if first.starts_with("POST /v1/responses ") {
        responses::written(decide(responses::read(&asked), seen))
    } else if first.starts_with("POST /v1/chat/completions ") {
        chat::written(decide(chat::read(&asked), seen))
    } else {
        return write!(stream, "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    };
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{text}")
}

fn decide(Asked { texts, last, tools }: Asked, seen: &Seen) -> Answer {
    let told: Vec<&str> =
        texts.iter().map(String::as_str).filter(|text| WORDS.iter().any(|word| text.starts_with(word))).collect();
    let now = told.last().copied().filter(|_| last && tools);
    if now == Some("hold") {
        seen.holds.store(true, Ordering::SeqCst);
        let open = seen.open.lock().expect("no holder of this lock can panic");
        drop(seen.opened.wait_while(open, |open| !*open));
    }
    match now.and_then(|text| text.strip_prefix("run ")) {
        Some(command) => Answer::Run(command.to_owned()),
        None => Answer::Say(format!("I was told: {}.", told.join(", "))),
    }
}
