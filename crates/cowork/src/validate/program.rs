//! What the program has: names that documents may use, and have to.
//!
//! The list of metrics is held to the sources by `e2e/tests/architecture.rs`; routes come from the descriptions that web
//! and gateway have of themselves, commands from the parser, configuration keys from `config`.

use std::sync::LazyLock;

use clap::{Command, CommandFactory as _};

use crate::cli::Cli;

/// Everything that any role, or a drill's export, measures. One ending in `_ms` is a histogram.
pub(crate) const METRICS: &[&str] = &[
    "cowork_audit_sealed_total",
    "cowork_backup_taken_timestamp_seconds",
    "cowork_billing_events_total",
    "cowork_calls_total",
    "cowork_checkpoints_saved_total",
    "cowork_commands_pending",
    "cowork_connections_refused_total",
    "cowork_deliveries_dead",
    "cowork_decisions_refused_total",
    "cowork_deliveries_dead_total",
    "cowork_deliveries_deleted_total",
    "cowork_deliveries_due_age_seconds",
    "cowork_deliveries_pending",
    "cowork_deliveries_refused_total",
    "cowork_deliveries_sent_total",
    "cowork_deliveries_unknown",
    "cowork_deliveries_unknown_age_seconds",
    "cowork_deliveries_unknown_total",
    "cowork_delivery_attempts_failed_total",
    "cowork_delivery_latency_ms",
    "cowork_drill_check",
    "cowork_drill_findings",
    "cowork_drill_finished_timestamp_seconds",
    "cowork_drill_passed",
    "cowork_drill_rpo_objective_seconds",
    "cowork_drill_rpo_seconds",
    "cowork_drill_rto_objective_seconds",
    "cowork_drill_rto_seconds",
    "cowork_drill_signed",
    "cowork_drill_started_timestamp_seconds",
    "cowork_erasure_errors_total",
    "cowork_events_appended_total",
    "cowork_events_compacted_total",
    "cowork_generation",
    "cowork_guesses_refused_total",
    "cowork_http_request_ms",
    "cowork_http_requests_total",
    "cowork_inbound_duplicates_total",
    "cowork_inbound_messages_total",
    "cowork_inbound_refused_total",
    "cowork_lease_lost_total",
    "cowork_leases_held",
    "cowork_leases_lapsed",
    "cowork_leases_lapsed_age_seconds",
    "cowork_ledger_bundled_total",
    "cowork_ledger_compaction_errors_total",
    "cowork_ledger_dropped_total",
    "cowork_ledger_outbox",
    "cowork_ledger_outbox_age_seconds",
    "cowork_ledger_records_total",
    "cowork_ledger_segments_total",
    "cowork_ledger_unavailable",
    "cowork_ledger_write_failures_total",
    "cowork_ledger_write_ms",
    "cowork_log_lines_lost_total",
    "cowork_maintenance",
    "cowork_model_refusals_total",
    "cowork_model_requests_total",
    "cowork_model_tokens_total",
    "cowork_objects_deleted_total",
    "cowork_retention_errors_total",
    "cowork_role_instances",
    "cowork_scheduler_errors_total",
    "cowork_scheduler_lag_ms",
    "cowork_sessions",
    "cowork_sign_ins_total",
    "cowork_slots_fired_total",
    "cowork_slots_skipped_total",
    "cowork_spans_exported_total",
    "cowork_spans_lost_total",
    "cowork_streams_open",
    "cowork_streams_refused_total",
    "cowork_triggers_due",
    "cowork_triggers_due_age_seconds",
    "cowork_turn_duration_ms",
    "cowork_turns_total",
];

/// Every path that a role answers; a segment in braces is any.
pub(crate) fn routes() -> &'static [String] {
    static ROUTES: LazyLock<Vec<String>> = LazyLock::new(|| {
        let paths = |description: String| -> Vec<String> {
            let json: serde_json::Value = serde_json::from_str(&description).expect("a role describes itself in JSON");
            json["paths"].as_object().into_iter().flatten().map(|(path, _)| path.clone()).collect()
        };
        [paths(web::openapi()), paths(gateway::openapi())].concat()
    });
    &ROUTES
}

/// Variables of the environment that are no configuration keys.
pub(crate) const VARIABLES: &[&str] = &[
    "DATABASE_URL",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "COWORK_DRILL_CONFIG",
    "COWORK_DRILL_FOLDER",
    "COWORK_DRILL_INSTANCE",
    "COWORK_DRILL_ROLE",
    "COWORK_TEST_POSTGRES",
];

/// Whether there is such a metric, by its name or that of one of a histogram's series.
pub(crate) fn is_metric(name: &str) -> bool {
    let plain = ["_bucket", "_sum", "_count"].iter().find_map(|ending| name.strip_suffix(ending));
    METRICS.contains(&name) || plain.is_some_and(|plain| plain.ends_with("_ms") && METRICS.contains(&plain))
}

/// Whether a role answers `path`; what stands for a value in it is taken for one.
pub(crate) fn is_route(path: &str) -> bool {
    let segments: Vec<&str> = path.trim_end_matches('/').split('/').collect();
    routes().iter().any(|route| {
        let parts: Vec<&str> = route.split('/').collect();
        let fits = |(part, segment): (&&str, &&str)| part == segment || (part.starts_with('{') && !segment.is_empty());
        parts.len() == segments.len() && parts.iter().zip(&segments).all(fits)
    })
}

/// `COWORK_WEB__LISTEN` for `web.listen`.
pub(crate) fn variable_of(key: &str) -> String {
    format!("COWORK_{}", key.replace('.', "__").to_ascii_uppercase())
}

/// Whether the environment variable means something to the program.
pub(crate) fn is_variable(name: &str) -> bool {
    VARIABLES.contains(&name) || config::KEYS.iter().any(|key| variable_of(key) == name)
}

/// The program's commands, as its parser knows them.
pub(crate) fn cli() -> Command {
    let mut cli = Cli::command();
    cli.build();
    cli
}

/// Every command that does something, as it is typed: `cowork drill plan check`.
pub(crate) fn commands() -> Vec<String> {
    let mut found = Vec::new();
    let mut ahead = vec![(String::from("cowork"), cli())];
    while let Some((name, command)) = ahead.pop() {
        let inner: Vec<_> = command.get_subcommands().filter(|inner| inner.get_name() != "help").cloned().collect();
        if inner.is_empty() {
            found.push(name);
            continue;
        }
        ahead.extend(inner.into_iter().map(|inner| (format!("{name} {}", inner.get_name()), inner)));
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_the_ways_that_they_are_written() {
        assert!(is_metric("cowork_sessions") && is_metric("cowork_turn_duration_ms_bucket"));
        assert!(!is_metric("cowork_sessions_bucket") && !is_metric("cowork_nothing"));
        assert!(is_route("/api/sessions/$SESSION/commands") && is_route("/healthz"));
        assert!(is_route("/hooks/triggers/ID") && is_route("/webhooks/billing") && is_route("/auth/sign-in"));
        assert!(!is_route("/api/sessions/ID/nothing") && !is_route("/api"));
        assert!(is_variable("COWORK_WEB__LISTEN") && is_variable("COWORK_DATA_DIR"));
        assert!(!is_variable("COWORK_WEB__LISTNE"));
        assert!(commands().contains(&"cowork drill plan check".to_owned()));
    }
}
