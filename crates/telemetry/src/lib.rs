//! Spans, metrics, and the one log sink.
//!
//! Every log line of every role is JSON and goes through one sink, which redacts it (crate `redact`): it is not the
//! caller's duty. So does a panic, and so does what `/metrics` answers. A secret that the program reads is registered
//! with [`register_secret`] before anything else is done with it.
//!
//! Not guaranteed: that a line is written. A full disk or a closed pipe loses lines and never stops the program;
//! `cowork_log_lines_lost_total` counts them.
//!
//! Not here: which fields a span has (each role names its own), tracing across processes, rotation of log files.

mod layer;
mod metrics;
mod panics;
mod sink;

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use clock::Sources;
use redact::Redactor;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::layer::JsonLayer;
use crate::sink::Sink;

pub use crate::metrics::Metrics;

/// Knows the secrets of this process, whether or not a sink was installed.
static REDACTOR: LazyLock<Redactor> = LazyLock::new(Redactor::new);

/// Where lines go and which.
#[derive(Debug, Clone, Default)]
pub struct LogConfig {
    /// A level, or directives: `info,sqlx=warn`.
    pub level: String,
    /// Lines are appended. `None`: to standard error.
    pub file: Option<PathBuf>,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    #[error("log.level is no level; give it error, warn, info, debug or trace, or directives such as info,sqlx=warn")]
    Level,
    #[error("the log file {path} was not opened; make its folder writable or correct log.file", path = path.display())]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// A bug: a process has one sink.
    #[error("telemetry was initialised twice in one process")]
    Twice,
}

/// Installs the sink, the metrics recorder and the panic hook, for the whole process.
///
/// # Errors
/// If the level is none, the log file can't be opened, or a sink is installed already.
pub fn init(config: &LogConfig, sources: Sources) -> Result<Metrics, InitError> {
    let filter = filter(&config.level).ok_or(InitError::Level)?;
    let out = sink::open(config.file.as_deref())
        .map_err(|source| InitError::File { path: config.file.clone().unwrap_or_default(), source })?;
    let metrics = Metrics::install(redactor()).map_err(|_| InitError::Twice)?;
    let layer = JsonLayer::new(Arc::new(Sink::new(out, redactor(), sources)));
    tracing_subscriber::registry().with(filter).with(layer).try_init().map_err(|_| InitError::Twice)?;
    panics::log_them();
    Ok(metrics)
}

/// At least one directive must be a bare level: a misspelt one would pass for the name of a target, and nothing be logged.
fn filter(directives: &str) -> Option<EnvFilter> {
    let is_level = |part: &str| !part.is_empty() && part.parse::<LevelFilter>().is_ok();
    let has_level = directives.split(',').map(str::trim).any(is_level);
    EnvFilter::try_new(directives).ok().filter(|_| has_level)
}

/// Keeps `value` out of logs, metrics and whatever else is redacted in this process, from now on. False if it is too
/// short to be told from ordinary text ([`redact::MIN_LENGTH`]).
pub fn register_secret(value: &[u8]) -> bool {
    REDACTOR.register(value)
}

/// The redactor that knows this process' secrets, for reports and answers.
#[must_use]
pub fn redactor() -> Redactor {
    REDACTOR.clone()
}

#[cfg(test)]
mod tests {
    use super::filter;

    #[test]
    fn a_misspelt_level_is_refused() {
        for good in ["info", "WARN", "off", "info,sqlx=warn", "sqlx=warn, debug"] {
            assert!(filter(good).is_some(), "{good}");
        }
        for bad in ["", "inof", "sqlx=warn", "info,sqlx=lod"] {
            assert!(filter(bad).is_none(), "{bad}");
        }
    }
}
