//! Row 4, web-only boot: the four reads of the seed answer, and say what the backup lets expect; no worker, scheduler
//! or gateway is there; and for a while nothing moves.
//!
//! Not here: lists and projections (`parity`), files (`artifacts`).

use std::collections::BTreeMap;
use std::time::Duration;

use archive::Manifest;
use client::{Client, Diagnostics, Workspace};
use serde_json::{Value, json};

use super::Inquiry;
use super::postgres::OTHERS;
use crate::report::{Code, TableCount};
use crate::target::{Target, moved};

/// Tables whose rows the restore itself adds to, or that only the living write.
const NOT_COMPARED: [&str; 3] = ["generations", "restore_reports", "role_instances"];

/// Reads the four, and judges each.
///
/// Whether the rows are those of the backup is row 1's question; here it is whether diagnostics and metrics tell what
/// is there, so they are compared with what the judge counted itself (`counted`).
pub(crate) async fn reads(inquiry: &mut Inquiry, manifest: &Manifest, counted: &[TableCount], operator: &Client) {
    let healthy = inquiry.learn("GET /healthz", operator.healthz().await);
    inquiry.expect(healthy == Some(true), Code::Healthz, || "GET /healthz does not say that all is well".to_owned());
    if let Some(workspace) = inquiry.learn("GET /api/workspace", operator.workspace().await) {
        judge_workspace(inquiry, manifest, &workspace);
    }
    if let Some(diagnostics) = inquiry.learn("GET /api/diagnostics", operator.diagnostics().await) {
        judge_diagnostics(inquiry, counted, &diagnostics);
    }
    if let Some(metrics) = inquiry.learn("GET /api/metrics", operator.metrics().await) {
        inquiry.record_text("metrics", &metrics);
        judge_metrics(inquiry, manifest, counted, &metrics);
    }
}

fn judge_workspace(inquiry: &mut Inquiry, manifest: &Manifest, workspace: &Workspace) {
    let system = &manifest.system;
    inquiry.record(
        "workspace",
        &json!({"system_id": workspace.system_id, "generation": workspace.generation,
            "environment": workspace.environment, "schema_version": workspace.schema_version, "build": workspace.build}),
    );
    inquiry.expect(workspace.system_id == system.system_id, Code::SystemId, || {
        format!("the system says that it is {}, the backup was of {}", workspace.system_id, system.system_id)
    });
    inquiry.expect(workspace.generation == system.generation + 1, Code::Generation, || {
        format!("the system is in generation {}, expected {}", workspace.generation, system.generation + 1)
    });
    inquiry.expect(workspace.environment == "drill", Code::Environment, || {
        format!("the system says that its environment is {}, not a drill", workspace.environment)
    });
    inquiry.expect(workspace.schema_version == system.schema_version, Code::SchemaVersion, || {
        format!("the schema is at {}, the backup's was at {}", workspace.schema_version, system.schema_version)
    });
}

fn judge_diagnostics(inquiry: &mut Inquiry, counted: &[TableCount], diagnostics: &Diagnostics) {
    inquiry.record("diagnostics", &json!({"roles": diagnostics.roles, "counts": diagnostics.counts}));
    let instances = |role: &str| diagnostics.roles.get(role).copied();
    inquiry.expect(instances("web") == Some(1), Code::WebInstances, || {
        format!("diagnostics counts {:?} web roles, one was started", instances("web"))
    });
    for role in ["worker", "scheduler", "gateway"] {
        inquiry.expect(instances(role) == Some(0), Code::RoleNotIdle, || {
            format!("diagnostics counts {:?} instances of {role}, none was started", instances(role))
        });
    }
    // Diagnostics knows the system's own tables, which are those in a group; an operator may have others beside them.
    let own = counted.iter().filter(|count| count.group != OTHERS);
    let compared = own.filter(|count| !NOT_COMPARED.contains(&count.table.as_str()));
    for count in compared.filter(|count| !count.table.starts_with('_')) {
        let told = diagnostics.counts.get(&count.table).and_then(|rows| u64::try_from(*rows).ok());
        inquiry.expect(told.is_some() && told == count.restored_rows, Code::DiagnosticsCount, || {
            let told = told.map_or("no count".to_owned(), |rows| rows.to_string());
            format!(
                "diagnostics gives {told} for table {}, the judge counts {:?} rows",
                count.table, count.restored_rows
            )
        });
    }
    for secret in diagnostics.secrets.iter().filter(|secret| !secret.resolved) {
        inquiry.fault(Code::SecretUnresolved, format!("diagnostics says that secret {} does not resolve", secret.name));
    }
}

fn judge_metrics(inquiry: &mut Inquiry, manifest: &Manifest, counted: &[TableCount], metrics: &str) {
    let sessions = counted.iter().find(|count| count.table == "sessions").and_then(|count| count.restored_rows);
    inquiry.expect(gauge(metrics, "cowork_sessions") == sessions, Code::MetricsSessions, || {
        format!("cowork_sessions is {:?}, the judge counts {sessions:?}", gauge(metrics, "cowork_sessions"))
    });
    let generation = u64::try_from(manifest.system.generation + 1).ok();
    inquiry.expect(gauge(metrics, "cowork_generation") == generation, Code::MetricsGeneration, || {
        format!("cowork_generation is {:?}, expected {generation:?}", gauge(metrics, "cowork_generation"))
    });
}

/// The value of the series `name` without labels.
fn gauge(metrics: &str, name: &str) -> Option<u64> {
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    value.trim().split('.').next()?.parse().ok()
}

/// What a while of watching gave.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) counters: BTreeMap<String, Value>,
    moved: Vec<String>,
    /// How often `/healthz` was asked, and how often it did not say that all is well.
    asked: usize,
    unwell: usize,
}

/// How often `/healthz` is asked while nothing may move.
const HEALTH_EVERY: Duration = Duration::from_millis(50);

/// Watches that nothing moves while only the web role is there, and that it goes on to be well.
pub(crate) async fn quiet_window(
    target: &Target,
    operator: &Client,
    sql: &str,
    window: Duration,
) -> anyhow::Result<Watched> {
    let before = target.activity(sql).await?;
    let end = tokio::time::Instant::now() + window;
    let (mut asked, mut unwell) = (0, 0);
    while tokio::time::Instant::now() < end {
        asked += 1;
        unwell += usize::from(!matches!(operator.healthz().await, Ok(true)));
        tokio::time::sleep(HEALTH_EVERY).await;
    }
    let counters = target.activity(sql).await?;
    Ok(Watched { moved: moved(&before, &counters), counters, asked, unwell })
}

pub(crate) fn judge_quiet(inquiry: &mut Inquiry, seen: &Watched) {
    let Watched { counters, moved, asked, unwell } = seen;
    inquiry.record(
        "quiet-window",
        &json!({"window_s": inquiry.pace().quiet.as_secs_f64(), "counters": counters, "moved": moved,
            "health_asked": asked, "health_not_well": unwell}),
    );
    inquiry.held(counters.len().saturating_sub(moved.len()));
    for name in moved {
        inquiry.fault(Code::NotQuiet, format!("{name} moved although only the web role was there"));
    }
    inquiry.expect(*unwell == 0, Code::HealthUnstable, || {
        format!("GET /healthz did not say that all is well {unwell} of {asked} times while nothing happened")
    });
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_gauge_is_read_by_its_whole_name() {
        let metrics = "# TYPE cowork_sessions gauge\ncowork_sessions_total 4\ncowork_sessions 200\n";
        assert_eq!(super::gauge(metrics, "cowork_sessions"), Some(200));
        assert_eq!(super::gauge(metrics, "cowork"), None);
    }
}
