//! The installed telemetry of a process. One test: a process has one sink.

use telemetry::{InitError, LogConfig};

#[test]
fn everything_a_process_says_goes_through_the_redacting_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("role.log");
    let config = LogConfig { level: "info,quiet=warn".into(), file: Some(file.clone()) };
    let telemetry::Telemetry { metrics, traces } = telemetry::init(&config, None, clock::Sources::system()).unwrap();
    assert!(traces.is_none());

    assert!(telemetry::register_secret(b"correct horse battery"));
    tracing::info!("the pass phrase is correct horse battery");
    tracing::info!(target: "quiet", "not of interest");
    std::thread::spawn(|| panic!("lost the correct horse battery")).join().unwrap_err();
    // From here on this test's own failures are for standard error.
    drop(std::panic::take_hook());
    metrics::counter!("cowork_things_total").increment(3);

    let log = std::fs::read_to_string(&file).unwrap();
    assert_eq!(log.lines().count(), 2, "{log}");
    assert!(log.contains("the pass phrase is [redacted:secret]"), "{log}");
    assert!(log.contains("lost the [redacted:secret]") && log.contains("\"panic\""), "{log}");
    assert!(!log.contains("horse"), "{log}");
    assert!(metrics.render().contains("cowork_things_total 3"));
    assert_eq!(telemetry::redactor().redact("correct horse battery"), "[redacted:secret]");

    assert!(matches!(telemetry::init(&config, None, clock::Sources::system()), Err(InitError::Twice)));
    let bad = LogConfig { level: "loud".into(), file: None };
    assert!(matches!(telemetry::init(&bad, None, clock::Sources::system()), Err(InitError::Level)));
    let bad = LogConfig { level: "info".into(), file: Some(folder.path().join("none/x.log")) };
    assert!(matches!(telemetry::init(&bad, None, clock::Sources::system()), Err(InitError::File { .. })));
}
