//! The far side of a channel: takes deliveries over HTTP, accepts or refuses them by their path, and remembers which it
//! accepted.
//!
//! Not here: judging what arrived. A drill's own recorder does that, or the story.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// `/accept` takes everything, `/later` everything once it was opened, any other path nothing. Ends with the test's
/// process.
#[derive(Debug, Clone)]
pub struct Sink {
    address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    open: AtomicBool,
    /// How often each id was accepted.
    accepted: Mutex<BTreeMap<String, u32>>,
}

impl Sink {
    /// # Panics
    /// If there is no free port.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port can be had");
        let address = listener.local_addr().expect("a listener has an address");
        let sink = Self { address, seen: Arc::default() };
        let seen = sink.seen.clone();
        // A sender that breaks off is its own affair.
        std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| drop(answer(&stream, &seen))));
        sink
    }

    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// From now on `/later` accepts.
    pub fn open(&self) {
        self.seen.open.store(true, Ordering::SeqCst);
    }

    /// How often each delivery was accepted, by its id.
    ///
    /// # Panics
    /// Never: nobody panics while holding the lock.
    #[must_use]
    pub fn accepted(&self) -> BTreeMap<String, u32> {
        self.seen.accepted.lock().expect("no holder of this lock can panic").clone()
    }
}

/// One request, one connection.
fn answer(mut stream: &TcpStream, seen: &Seen) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let (mut length, mut id) = (0, String::new());
    for line in reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ").unwrap_or_default();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().unwrap_or(0);
        } else if name.eq_ignore_ascii_case("webhook-id") {
            value.clone_into(&mut id);
        }
    }
    std::io::copy(&mut reader.take(length), &mut std::io::sink())?;
    let accepts = first.contains(" /accept ") || (first.contains(" /later ") && seen.open.load(Ordering::SeqCst));
    if accepts {
        *seen.accepted.lock().expect("no holder of this lock can panic").entry(id).or_default() += 1;
    }
    let status = if accepts { "204 No Content" } else { "500 Internal Server Error" };
    stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes())
}
