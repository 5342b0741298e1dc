//! Values that are of the right type and still can't work.

use url::Url;

use crate::{Config, ConfigError, agents};

/// A lease shorter than this ends between two heartbeats on a busy machine.
const SHORTEST_LEASE_MS: u64 = 100;
/// A restore reads the recovery ledger from an hour before the backup on, and what was under way then began in that hour.
const LONGEST_TIMEOUT_MS: u64 = 600_000;
/// A century: more than any backup is kept.
const LONGEST_RETENTION_DAYS: u64 = 36_525;

impl Config {
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        at_least("database.max_connections", self.database.max_connections.into(), 1)?;
        at_least("ledger.flush_ms", self.ledger.flush_ms, 1)?;
        at_least("ledger.retention_days", self.ledger.retention_days.into(), 1)?;
        at_most("ledger.retention_days", self.ledger.retention_days.into(), LONGEST_RETENTION_DAYS)?;
        for (name, days) in [
            ("retention.deliveries_days", self.retention.deliveries_days),
            ("retention.session_events_days", self.retention.session_events_days),
        ] {
            if let Some(days) = days {
                at_least(name, days.into(), 1)?;
                at_most(name, days.into(), LONGEST_RETENTION_DAYS)?;
            }
        }
        at_least("worker.concurrency", self.worker.concurrency as u64, 1)?;
        at_least("worker.lease_ms", self.worker.lease_ms, SHORTEST_LEASE_MS)?;
        at_least("worker.poll_ms", self.worker.poll_ms, 1)?;
        agents::validate(&self.worker.agents, &self.worker.model_addresses)?;
        at_least("scheduler.poll_ms", self.scheduler.poll_ms, 1)?;
        at_least("gateway.poll_ms", self.gateway.poll_ms, 1)?;
        at_least("gateway.max_attempts", self.gateway.max_attempts.into(), 1)?;
        at_least("gateway.timeout_ms", self.gateway.timeout_ms, 1)?;
        at_most("gateway.timeout_ms", self.gateway.timeout_ms, LONGEST_TIMEOUT_MS)?;
        at_least("gateway.backoff_ms", self.gateway.backoff_ms, 1)?;
        at_least("gateway.backoff_max_ms", self.gateway.backoff_max_ms, self.gateway.backoff_ms)?;
        at_most("telemetry.sample_percent", self.telemetry.sample_percent.into(), 100)?;
        if let Some(endpoint) = &self.telemetry.otlp_endpoint {
            collector(endpoint)?;
        }
        if let Some(sign_in) = &self.sign_in {
            sign_in.validate()?;
        }
        self.billing.validate(&self.plans)?;
        match &self.gateway.redirect_to {
            Some(url) if !url.starts_with("http://") && !url.starts_with("https://") => Err(unusable(
                "gateway.redirect_to",
                "it is no web address",
                "give it a URL that starts with http:// or https://",
            )),
            _ => Ok(()),
        }
    }
}

/// What is added to it is a path, and what stands in it is in every process' configuration: no place for a secret.
fn collector(endpoint: &str) -> Result<(), ConfigError> {
    let bare = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    };
    if Url::parse(endpoint).is_ok_and(|url| bare(&url)) {
        return Ok(());
    }
    let advice =
        "give it the collector's base address, such as http://127.0.0.1:4318, without user, query and fragment";
    Err(unusable("telemetry.otlp_endpoint", "it is no plain web address", advice))
}

pub(crate) fn at_least(key: &str, value: u64, least: u64) -> Result<(), ConfigError> {
    if value >= least {
        return Ok(());
    }
    Err(unusable(key, &format!("it is {value}"), &format!("give it {least} or more")))
}

pub(crate) fn at_most(key: &str, value: u64, most: u64) -> Result<(), ConfigError> {
    if value <= most {
        return Ok(());
    }
    Err(unusable(key, &format!("it is {value}"), &format!("give it {most} or less")))
}

pub(crate) fn unusable(key: &str, detail: &str, advice: &str) -> ConfigError {
    ConfigError::new(format!("configuration {key} cannot be used"), detail, advice)
}
