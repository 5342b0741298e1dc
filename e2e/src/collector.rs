//! A collector of traces: takes OTLP over HTTP as JSON, and remembers every span.
//!
//! Not here: judging what arrived.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// Ends with the test's process.
#[derive(Debug, Clone)]
pub struct Collector {
    address: SocketAddr,
    bodies: Arc<Mutex<Vec<String>>>,
}

/// A span, as far as a story looks at it.
#[derive(Debug, Clone)]
pub struct CollectedSpan {
    pub name: String,
    /// What the process that told it serves.
    pub roles: String,
    pub trace: String,
    pub parent: Option<String>,
}

impl Collector {
    /// # Panics
    /// If there is no free port.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port can be had");
        let address = listener.local_addr().expect("a listener has an address");
        let collector = Self { address, bodies: Arc::default() };
        let bodies = collector.bodies.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let bodies = bodies.clone();
                // Connections stay open. A sender that breaks off is its own affair.
                std::thread::spawn(move || drop(take(&stream, &bodies)));
            }
        });
        collector
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All that arrived, as it was sent.
    ///
    /// # Panics
    /// Never: nobody panics while holding the lock.
    #[must_use]
    pub fn text(&self) -> String {
        self.bodies.lock().expect("no holder of this lock can panic").concat()
    }

    /// # Panics
    /// If something else than spans arrived.
    #[must_use]
    pub fn spans(&self) -> Vec<CollectedSpan> {
        let bodies = self.bodies.lock().expect("no holder of this lock can panic").clone();
        bodies.iter().flat_map(|body| read(&serde_json::from_str(body).expect("it is JSON"))).collect()
    }
}

fn read(body: &Value) -> Vec<CollectedSpan> {
    let of_one_process = &body["resourceSpans"][0];
    let attributes = of_one_process["resource"]["attributes"].as_array().expect("a process says what it is");
    let roles = attributes.iter().find(|one| one["key"] == "cowork.roles").expect("it says what it serves");
    let roles = roles["value"]["stringValue"].as_str().expect("roles are a text");
    let text = |span: &Value, field: &str| span[field].as_str().map(str::to_owned);
    let spans = of_one_process["scopeSpans"][0]["spans"].as_array().expect("there are spans").iter();
    let read = |span: &Value| CollectedSpan {
        name: text(span, "name").expect("a span has a name"),
        roles: roles.to_owned(),
        trace: text(span, "traceId").expect("a span is in a trace"),
        parent: text(span, "parentSpanId"),
    };
    spans.map(read).collect()
}

/// Requests of one connection, until it ends.
fn take(mut stream: &TcpStream, bodies: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut length = 0;
        while !line.trim().is_empty() {
            if let Some((name, value)) = line.split_once(": ")
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap_or(0);
            }
            line.clear();
            reader.read_line(&mut line)?;
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let body = String::from_utf8_lossy(&body).into_owned();
        bodies.lock().expect("no holder of this lock can panic").push(body);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")?;
    }
}
