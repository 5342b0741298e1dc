//! Whom a door leads to, and what goes through it.

mod spending;

use std::io::{Read, Write};
use std::net::TcpStream;

use domain::spend::{Bounds, Spent};

use super::*;

fn key() -> String {
    format!("sk-{}", hex::encode(clock::Sources::system().bytes::<16>()))
}

fn token() -> String {
    hex::encode(clock::Sources::system().bytes::<32>())
}

/// Somebody who is asked once, answers, and gives back what was asked.
fn provider(answer: &'static str) -> (String, std::thread::JoinHandle<String>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/behind", listener.local_addr().unwrap());
    let asked = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let mut request = [0; 8192];
        let mut read = 0;
        while !request[..read].ends_with(b"{\"x\":1}") {
            read += stream.read(&mut request[read..]).unwrap();
        }
        stream.write_all(answer.as_bytes()).unwrap();
        String::from_utf8_lossy(&request[..read]).into_owned()
    });
    (address, asked)
}

fn doors(name: &str, address: &str, egress: &Egress) -> Doors {
    Doors::over_http(egress, &[(name.to_owned(), address.to_owned())].into()).unwrap()
}

fn here() -> Egress {
    Egress::allowing(vec!["127.0.0.0/8".parse().unwrap()])
}

/// The whole answer, as it came.
async fn ask(door: &Door, path: &str) -> String {
    let (port, path) = (door.port(), path.to_owned());
    tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer mine\r\nx-api-key: mine\r\ncookie: a=b\r\n\
             content-type: application/json\r\nopenai-beta: y\r\ncontent-length: 7\r\nconnection: close\r\n\r\n{{\"x\":1}}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_request_goes_on_with_the_orgs_key_and_nothing_else_that_opens_anything() {
    let answer =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nset-cookie: a=b\r\ncontent-length: 4\r\n\r\ndata";
    for (name, header) in [("openai", "authorization: Bearer "), ("anthropic", "x-api-key: ")] {
        let (address, asked) = provider(answer);
        let (key, token) = (key(), token());
        let doors = doors(name, &address, &here());
        let door = doors.open(name, SecretString::from(key.clone()), &token).await.unwrap().unwrap();
        door.meter().begin(Bounds::default(), Spent::default());
        assert_eq!(door.base_url(), format!("http://127.0.0.1:{}/{token}", door.port()));
        let answered = ask(&door, &format!("/{token}/v1/messages?beta=true")).await;
        let asked = asked.join().unwrap();
        assert!(asked.starts_with("POST /behind/v1/messages?beta=true HTTP/1.1\r\n"), "{asked}");
        assert!(
            asked.contains(&format!("{header}{key}\r\n")) && asked.contains("openai-beta: y\r\n"),
            "the key is missing"
        );
        assert!(!asked.contains("mine") && !asked.contains("cookie") && !asked.contains(&token), "{name}");
        assert!(answered.starts_with("HTTP/1.1 200 OK") && answered.contains("\r\n4\r\ndata\r\n"), "{answered}");
        assert!(answered.contains("text/event-stream") && !answered.contains("set-cookie"), "{answered}");
    }
}

#[tokio::test]
async fn a_door_opens_for_its_token_only_and_leads_nowhere_else() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = format!("http://{}/behind", listener.local_addr().unwrap());
    let (doors, token) = (doors("openai", &address, &here()), token());
    let door = doors.open("openai", SecretString::from(key()), &token).await.unwrap().unwrap();
    let other = "0".repeat(token.len());
    for path in [
        "/v1/models".to_owned(),
        format!("/{other}/v1/models"),
        format!("/{}/v1/models", &token[1..]),
        format!("/{token}"),
        format!("/{token}/v2/models"),
        format!("/{token}/v1/../../secret/v1/"),
        format!("/{token}/v1/%2e%2e/%2e%2e/secret"),
        format!("/{token}@elsewhere/v1/models"),
    ] {
        let answer = ask(&door, &path).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
    }
    assert!(listener.accept().is_err(), "somebody was called");
}

#[tokio::test]
async fn no_key_goes_where_nothing_is_called_from_here() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    for address in [format!("http://127.0.0.1:{port}"), format!("http://localhost:{port}")] {
        let (doors, token) = (doors("openai", &address, &Egress::default()), token());
        let door = doors.open("openai", SecretString::from(key()), &token).await.unwrap().unwrap();
        let answer = ask(&door, &format!("/{token}/v1/models")).await;
        assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    }
    assert!(listener.accept().is_err(), "somebody was called");
}

#[tokio::test]
async fn a_door_is_closed_when_it_is_dropped_and_a_copy_for_a_drill_has_none() {
    let doors = doors("openai", "http://127.0.0.1:9", &here());
    let door = doors.open("openai", SecretString::from(key()), &token()).await.unwrap().unwrap();
    let port = door.port();
    drop(door);
    tokio::time::timeout(Duration::from_secs(30), async {
        while TcpStream::connect(("127.0.0.1", port)).is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert!(Doors::none().open("openai", SecretString::from(key()), &token()).await.unwrap().is_none());
}
