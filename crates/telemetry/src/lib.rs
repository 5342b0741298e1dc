//! Spans, metrics, and the one log sink.
//!
//! Every log line of every role is JSON and goes through one sink, which redacts it (crate `redact`): it is not the
//! caller's duty. So does a panic, and so does what `/metrics` answers. A secret that the program reads is registered
//! with [`register_secret`] before anything else is done with it.
//!
//! Not guaranteed: that a line is written. A full disk or a closed pipe loses lines and never stops the program;
//! `cowork_log_lines_lost_total` counts them.
//!
//! Not here: which fields a span has (each role names its own), what links spans across processes (`traces`, the crate),
//! rotation of log files.

mod layer;
mod metrics;
mod panics;
mod sink;
mod traces;
mod wanted;

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
use crate::wanted::Wanted;

pub use crate::metrics::Metrics;
pub use crate::traces::{TraceConfig, Traces};

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
    #[error("telemetry.otlp_endpoint can't be used")]
    Endpoint(#[source] reqwest::Error),
    /// A bug: a process has one sink.
    #[error("telemetry was initialised twice in one process")]
    Twice,
}

/// What a process measures and tells.
#[derive(Debug)]
pub struct Telemetry {
    pub metrics: Metrics,
    /// `None`: spans stay in the process.
    pub traces: Option<Traces>,
}

/// Installs the sink, the metrics recorder, the panic hook and, if spans are to leave, their export, for the whole process.
/// With `traces` it must be called within a runtime.
///
/// # Errors
/// If the level is none, the log file can't be opened, or a sink is installed already.
pub fn init(config: &LogConfig, traces: Option<&TraceConfig>, sources: Sources) -> Result<Telemetry, InitError> {
    let filter = filter(&config.level).ok_or(InitError::Level)?;
    let out = sink::open(config.file.as_deref())
        .map_err(|source| InitError::File { path: config.file.clone().unwrap_or_default(), source })?;
    let metrics = Metrics::install(redactor()).map_err(|_| InitError::Twice)?;
    sink::describe();
    traces::describe();
    let wanted = Wanted::new(filter, traces.is_some());
    let log = JsonLayer::new(Arc::new(Sink::new(out, redactor(), sources.clone())));
    let export = traces.map(|traces| traces::start(traces, sources, redactor())).transpose();
    let (export, traces) = export.map_err(InitError::Endpoint)?.unzip();
    tracing_subscriber::registry().with(wanted).with(log).with(export).try_init().map_err(|_| InitError::Twice)?;
    panics::log_them();
    Ok(Telemetry { metrics, traces })
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
