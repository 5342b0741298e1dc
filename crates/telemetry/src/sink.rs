//! Where lines are redacted and written.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use clock::Sources;
use redact::Redactor;
use serde_json::Value;

/// Writes redacted lines, each with one write, so that processes that append to the same file don't mix theirs.
pub(crate) struct Sink {
    out: Mutex<Box<dyn Write + Send>>,
    redactor: Redactor,
    sources: Sources,
}

/// Standard error, or a file to append to.
pub(crate) fn open(file: Option<&Path>) -> io::Result<Box<dyn Write + Send>> {
    let Some(path) = file else { return Ok(Box::new(io::stderr())) };
    let file = OpenOptions::new().create(true).append(true).mode(0o640).open(path)?;
    Ok(Box::new(file))
}

/// Says what is counted.
pub(crate) fn describe() {
    measures::counter("cowork_log_lines_lost_total", "log lines that could not be written");
}

impl Sink {
    pub(crate) fn new(out: Box<dyn Write + Send>, redactor: Redactor, sources: Sources) -> Self {
        Self { out: Mutex::new(out), redactor, sources }
    }

    /// Now, as lines give it.
    pub(crate) fn timestamp(&self) -> String {
        self.sources.now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
    }

    /// Redacts and writes. The lock is held for nothing but the write, so that a panic's own line can be written.
    pub(crate) fn write(&self, mut line: Value) {
        self.redactor.redact_json(&mut line);
        let mut bytes = line.to_string().into_bytes();
        bytes.push(b'\n');
        let written = self.out.lock().unwrap_or_else(PoisonError::into_inner).write_all(&bytes);
        if written.is_err() {
            metrics::counter!("cowork_log_lines_lost_total").increment(1);
        }
    }
}
