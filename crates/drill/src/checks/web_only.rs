//! Row 4, web-only boot: the four reads of the seed answer, and say what the backup lets expect; no worker, scheduler
//! or gateway is there; the lost system does not answer; and for a while nothing moves.
//!
//! Not here: lists and projections (`parity`), files (`artifacts`).

use std::collections::BTreeMap;
use std::time::Duration;

use archive::Manifest;
use client::{Client, Diagnostics, Workspace};
use futures::future::join_all;
use serde_json::Value;

use super::Inquiry;
use super::postgres::OTHERS;
use crate::rehearsal::Elsewhere;
use crate::report::{Code, TableCount};
use crate::said::{Heard, Name, Transcript, facts, others, say};
use crate::target::{Target, moved};
use crate::territory;

/// Tables whose rows the restore itself adds to, that it makes anew, or that only the living write.
const NOT_COMPARED: [&str; 4] = ["due_threads", "generations", "restore_reports", "role_instances"];

/// Reads the four, and judges each.
///
/// Whether the rows are those of the backup is row 1's question; here it is whether diagnostics and metrics tell what
/// is there, so they are compared with what the judge counted itself (`counted`).
pub(crate) async fn reads(inquiry: &mut Inquiry, manifest: &Manifest, counted: &[TableCount], operator: &Client) {
    let healthy = inquiry.learn("GET /healthz", operator.healthz().await);
    inquiry.expect(healthy == Some(true), Code::Healthz, || "GET /healthz does not say that all is well".into());
    if let Some(workspace) = inquiry.learn("GET /api/workspace", operator.workspace().await) {
        judge_workspace(inquiry, manifest, &workspace);
    }
    if let Some(diagnostics) = inquiry.learn("GET /api/diagnostics", operator.diagnostics().await) {
        judge_diagnostics(inquiry, counted, &diagnostics);
    }
    if let Some(metrics) = inquiry.learn("GET /api/metrics", operator.metrics().await) {
        inquiry.record_text("metrics", &Transcript::metrics(&metrics));
        judge_metrics(inquiry, manifest, counted, &metrics);
    }
}

fn judge_workspace(inquiry: &mut Inquiry, manifest: &Manifest, workspace: &Workspace) {
    let system = &manifest.system;
    let build = say!("{}", inquiry.keyed(&workspace.build));
    let build = if workspace.build == system.build { say!("{}", Name::given(&system.build)) } else { build };
    inquiry.record(
        "workspace",
        &facts!({"system_id": workspace.system_id, "generation": workspace.generation,
            "environment": Heard::of(&workspace.environment), "schema_version": workspace.schema_version,
            "build": build}),
    );
    inquiry.expect(workspace.system_id == system.system_id, Code::SystemId, || {
        say!("the system says that it is {}, the backup was of {}", workspace.system_id, system.system_id)
    });
    inquiry.expect(workspace.generation == system.generation + 1, Code::Generation, || {
        say!("the system is in generation {}, expected {}", workspace.generation, system.generation + 1)
    });
    inquiry.expect(workspace.environment == "drill", Code::Environment, || {
        say!("the system says that its environment is {}, not a drill", Heard::of(&workspace.environment))
    });
    inquiry.expect(workspace.schema_version == system.schema_version, Code::SchemaVersion, || {
        say!("the schema is at {}, the backup's was at {}", workspace.schema_version, system.schema_version)
    });
}

fn judge_diagnostics(inquiry: &mut Inquiry, counted: &[TableCount], diagnostics: &Diagnostics) {
    let named = |counts: &BTreeMap<String, i64>| -> BTreeMap<Name, i64> {
        counts.iter().map(|(name, count)| (Name::catalogued(name), *count)).collect()
    };
    inquiry.record("diagnostics", &facts!({"roles": named(&diagnostics.roles), "counts": named(&diagnostics.counts)}));
    let instances = |role: &str| diagnostics.roles.get(role).copied();
    inquiry.expect(instances("web") == Some(1), Code::WebInstances, || {
        say!("diagnostics counts {} web roles, one was started", instances("web"))
    });
    for role in ["worker", "scheduler", "gateway"] {
        inquiry.expect(instances(role) == Some(0), Code::RoleNotIdle, || {
            say!("diagnostics counts {} instances of {}, none was started", instances(role), role)
        });
    }
    // Diagnostics knows the system's own tables, which are those in a group; an operator may have others beside them.
    let own = counted.iter().filter(|count| count.group != OTHERS);
    let compared = own.filter(|count| !NOT_COMPARED.contains(&count.table.as_str()));
    for count in compared.filter(|count| !count.table.starts_with('_')) {
        let told = diagnostics.counts.get(count.table.as_str()).and_then(|rows| u64::try_from(*rows).ok());
        inquiry.expect(told.is_some() && told == count.restored_rows, Code::DiagnosticsCount, || {
            let told = told.map_or("no count".into(), |rows| say!("{}", rows));
            say!("diagnostics gives {} for table {}, the judge counts {} rows", told, count.table, count.restored_rows)
        });
    }
    for secret in diagnostics.secrets.iter().filter(|secret| !secret.resolved) {
        inquiry.fault(
            Code::SecretUnresolved,
            say!("diagnostics says that secret {} does not resolve", Name::given(&secret.name)),
        );
    }
}

fn judge_metrics(inquiry: &mut Inquiry, manifest: &Manifest, counted: &[TableCount], metrics: &str) {
    let sessions = counted.iter().find(|count| count.table == "sessions").and_then(|count| count.restored_rows);
    inquiry.expect(gauge(metrics, "cowork_sessions") == sessions, Code::MetricsSessions, || {
        say!("cowork_sessions is {}, the judge counts {}", gauge(metrics, "cowork_sessions"), sessions)
    });
    let generation = u64::try_from(manifest.system.generation + 1).ok();
    inquiry.expect(gauge(metrics, "cowork_generation") == generation, Code::MetricsGeneration, || {
        say!("cowork_generation is {}, expected {}", gauge(metrics, "cowork_generation"), generation)
    });
}

/// Nobody answers who must not, while a role of the target runs.
pub(crate) async fn judge_silence(inquiry: &mut Inquiry, elsewhere: &[Elsewhere]) {
    let answers = join_all(elsewhere.iter().map(territory::answers)).await;
    let answered = answers.iter().filter(|answers| **answers).count();
    for (place, answers) in elsewhere.iter().zip(answers) {
        inquiry.expect(!answers, Code::SourceReachable, || {
            say!("{} answers where the restored system runs", Heard::of(place.to_string()))
        });
    }
    inquiry.record("elsewhere", &facts!({"places_asked": elsewhere.len(), "answered": answered}));
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
    let names: Vec<Name> = moved.iter().map(|name| Name::catalogued(name)).collect();
    inquiry.record(
        "quiet-window",
        &facts!({"window_s": inquiry.pace().quiet.as_secs_f64(),
            "counters": others(&serde_json::to_value(counters).unwrap_or_default()), "moved": names,
            "health_asked": asked, "health_not_well": unwell}),
    );
    inquiry.held(counters.len().saturating_sub(moved.len()));
    for name in names {
        inquiry.fault(Code::NotQuiet, say!("{} moved although only the web role was there", name));
    }
    inquiry.expect(*unwell == 0, Code::HealthUnstable, || {
        say!("GET /healthz did not say that all is well {} of {} times while nothing happened", unwell, asked)
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
