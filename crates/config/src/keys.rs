//! Every key of the configuration, for those who write and check documents about it.

/// In the order of the alphabet. `secrets.NAME.previous` is a list of the same two keys; `plans` has a table
/// for each plan, `worker.agents` one for each agent, `worker.model_addresses` a text for each provider.
pub const KEYS: &[&str] = &[
    "billing.grace_days",
    "billing.stripe.api_key",
    "billing.stripe.return_url",
    "billing.stripe.webhook_secret",
    "data_dir",
    "database.max_connections",
    "database.url",
    "drills.findings_file",
    "drills.folder",
    "drills.public_key",
    "gateway.allowed_networks",
    "gateway.backoff_max_ms",
    "gateway.backoff_ms",
    "gateway.calls_per_minute",
    "gateway.connections_per_address",
    "gateway.listen",
    "gateway.max_attempts",
    "gateway.messages_per_minute",
    "gateway.poll_ms",
    "gateway.redirect_to",
    "gateway.timeout_ms",
    "gateway.wrong_signatures_per_minute",
    "ledger.flush_ms",
    "ledger.folder",
    "ledger.retention_days",
    "log.file",
    "log.level",
    "objects.folder",
    "plans",
    "retention.deliveries_days",
    "retention.session_events_days",
    "scheduler.listen",
    "scheduler.poll_ms",
    "secrets.adapter_key.previous",
    "secrets.adapter_key.reference",
    "secrets.adapter_key.version",
    "secrets.channel.reference",
    "secrets.channel.version",
    "secrets.cookie.reference",
    "secrets.cookie.version",
    "secrets.gateway.reference",
    "secrets.gateway.version",
    "secrets.oidc_client.reference",
    "secrets.oidc_client.version",
    "sign_in.client_id",
    "sign_in.email_domains",
    "sign_in.idle_minutes",
    "sign_in.issuer",
    "sign_in.max_hours",
    "sign_in.redirect_url",
    "telemetry.otlp_endpoint",
    "telemetry.sample_percent",
    "web.connections_per_address",
    "web.listen",
    "web.repository_networks",
    "web.requests_per_minute",
    "web.streams_per_caller",
    "web.wrong_credentials_per_minute",
    "worker.agents",
    "worker.concurrency",
    "worker.lease_ms",
    "worker.listen",
    "worker.model_addresses",
    "worker.poll_ms",
    "worker.workspace_root",
];

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::Path;

    use super::*;
    use crate::Config;

    /// What the reader says of a file with a key that it can't know: it lists those that it knows.
    fn known(table: &str) -> BTreeSet<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cowork.toml");
        let text = if table.is_empty() { "nothing = 1\n".to_owned() } else { format!("[{table}]\nnothing = 1\n") };
        std::fs::write(&path, text).unwrap();
        let error = Config::load(Some(&path), &BTreeMap::new(), Path::new("/")).unwrap_err();
        let list = error.advice.strip_prefix("use one of ").unwrap_or_else(|| panic!("{table}: {error}"));
        list.split(", ").map(str::to_owned).collect()
    }

    /// Keys of `table`, and of the tables below it, as the reader knows them.
    fn read(table: &str, keys: &mut BTreeSet<String>) {
        for name in known(table) {
            let path = if table.is_empty() { name } else { format!("{table}.{name}") };
            let below = format!("{path}.");
            if KEYS.iter().any(|key| key.starts_with(&below)) {
                read(&path, keys);
            } else {
                keys.insert(path);
            }
        }
    }

    #[test]
    fn the_list_is_what_the_reader_knows() {
        let mut keys = BTreeSet::new();
        read("", &mut keys);
        assert_eq!(keys, KEYS.iter().map(|key| (*key).to_owned()).collect());
        assert!(KEYS.is_sorted());
    }
}
