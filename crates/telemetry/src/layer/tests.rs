use std::io::{self, Write};
use std::sync::Mutex;

use clock::Sources;
use redact::Redactor;
use tracing_subscriber::layer::SubscriberExt;

use super::*;

/// A log that can be read while it is written.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The lines that `work` logs, under a redactor that knows `secret`.
fn lines(secret: &str, work: impl FnOnce()) -> Vec<Value> {
    let log = Log::default();
    let redactor = Redactor::new();
    assert!(redactor.register(secret.as_bytes()));
    let sink = Sink::new(Box::new(log.clone()), redactor, Sources::system());
    let subscriber = tracing_subscriber::registry().with(JsonLayer::new(Arc::new(sink)));
    tracing::subscriber::with_default(subscriber, work);
    let bytes = log.0.lock().unwrap();
    let text = std::str::from_utf8(&bytes).unwrap();
    assert!(!text.contains(secret), "{text}");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_line_has_its_fields_with_their_types_and_those_of_its_spans() {
    let lines = lines("unused-secret", || {
        let outer = tracing::info_span!("request", request.id = 7, user = tracing::field::Empty);
        let _outer = outer.enter();
        outer.record("user", "u1");
        let _inner = tracing::info_span!("turn", session.id = "s1").entered();
        tracing::warn!(attempt = 2, ok = false, ratio = 0.5, "it {}", "happened");
    });
    let line = &lines[0];
    assert_eq!(line["level"], "WARN");
    assert_eq!(line["message"], "it happened");
    assert_eq!(line["fields"], json!({"attempt": 2, "ok": false, "ratio": 0.5}));
    assert_eq!(
        line["spans"],
        json!([{"name": "request", "request.id": 7, "user": "u1"}, {"name": "turn", "session.id": "s1"}])
    );
    assert_eq!(line["target"], "telemetry::layer::tests");
    assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn a_secret_gets_out_through_no_field_message_or_span() {
    let secret = "s3cr\"et\\value\u{e9}";
    let wrapped = io::Error::other(io::Error::other(format!("from {secret}")));
    let lines = lines(secret, || {
        let _span = tracing::info_span!("work", key = secret, debug = ?secret).entered();
        tracing::info!(plain = secret, error = &wrapped as &dyn Error, debug = ?vec![secret], "about {secret} here");
        tracing::info!(target: "x", password = "short", mail = "ana@example.org", at = "/home/ana/x");
    });
    assert_eq!(lines[0]["message"], "about [redacted:secret] here");
    assert_eq!(lines[0]["fields"]["plain"], "[redacted:secret]");
    assert_eq!(lines[0]["fields"]["debug"], "[\"[redacted:secret]\"]");
    assert_eq!(lines[0]["spans"][0]["key"], "[redacted:secret]");
    assert_eq!(
        lines[1]["fields"],
        json!({"password": "[redacted:secret]", "mail": "[redacted:email]", "at": "[redacted:host_path]"})
    );
}

#[test]
fn a_secret_number_gets_out_neither() {
    let lines = lines("918273645", || tracing::info!(pin = 918_273_645_u64, "x"));
    assert_eq!(lines[0]["fields"]["pin"], "[redacted:secret]");
}

#[test]
fn a_log_that_cannot_be_written_stops_nobody() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let sink = Sink::new(Box::new(Full), Redactor::new(), Sources::system());
    let subscriber = tracing_subscriber::registry().with(JsonLayer::new(Arc::new(sink)));
    tracing::subscriber::with_default(subscriber, || tracing::info!("lost"));
}
