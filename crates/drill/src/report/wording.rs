//! Sentences that `report.md` and `report.html` share. Unescaped; whoever writes them out escapes.

use super::model::{grouped, instant};
use super::{Measured, Report};

/// The measured recovery time against the objective.
pub(super) fn rto(measured: &Measured, objective: f64) -> String {
    let Some(rto) = measured.rto_s else { return format!("not measured; the objective is {objective:.0} s") };
    let met = if measured.rto_met { "met" } else { "NOT met" };
    format!("{rto:.1} s, objective {objective:.0} s: {met} ({:.1} s of it quiet windows)", measured.rto_quiet_s)
}

/// The measured recovery point against the objective.
pub(super) fn rpo(measured: &Measured, objective: f64) -> String {
    let Some(rpo) = measured.rpo_s else { return format!("not measured; the objective is {objective:.0} s") };
    let met = if measured.rpo_met { "met" } else { "NOT met" };
    format!("{rpo:.1} s, objective {objective:.0} s: {met}")
}

/// Where the drill ran.
pub(super) fn environment(report: &Report) -> String {
    let environment = &report.environment;
    let os = environment.os.as_deref().map(|os| format!(", {os}")).unwrap_or_default();
    format!("Postgres {}, {} cores{os}", environment.postgres_version, environment.cores)
}

/// What was restored.
pub(super) fn backup(report: &Report) -> String {
    let Some(backup) = &report.backup else { return "none: the drill ended before".to_owned() };
    let (tables, rows, bytes) = (grouped(backup.tables), grouped(backup.rows), grouped(backup.bytes));
    let (blobs, blob_bytes) = (grouped(backup.blobs), grouped(backup.blob_bytes));
    let (id, taken) = (&backup.backup_id, instant(backup.taken_at));
    format!("{id} of {taken}: {tables} tables, {rows} rows, {bytes} bytes; {blobs} blobs, {blob_bytes} bytes")
}

/// Who answers for the report.
pub(super) fn signature(report: &Report) -> String {
    match &report.signed_by {
        Some(key) => format!("signed with the key {key}; `cowork drill verify` checks it"),
        None => "unsigned: no signing key was given, so nobody can check who wrote this report".to_owned(),
    }
}

/// A count that may not have been taken.
pub(super) fn number_or_unknown(number: Option<u64>) -> String {
    number.map_or_else(|| "unknown".to_owned(), grouped)
}
