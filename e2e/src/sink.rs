//! The far side of a channel: takes deliveries over HTTP, and accepts or refuses them by their path.
//!
//! Not here: looking at what arrived. A drill's own recorder does that.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// `/accept` takes everything, any other path nothing. Ends with the test's process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sink {
    address: SocketAddr,
}

impl Sink {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port can be had");
        let address = listener.local_addr().expect("a listener has an address");
        // A sender that breaks off is its own affair.
        std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| drop(answer(&stream))));
        Self { address }
    }

    pub(crate) fn url(self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }
}

/// One request, one connection.
fn answer(mut stream: &TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut length = 0;
    for line in reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ").unwrap_or_default();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().unwrap_or(0);
        }
    }
    std::io::copy(&mut reader.take(length), &mut std::io::sink())?;
    let status = if first.contains(" /accept ") { "204 No Content" } else { "500 Internal Server Error" };
    stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes())
}
