//! The sealed records of an org, as a stream, in the order of the chain.
//!
//! Whoever goes on after the last number gets what was sealed since, and misses nothing. A page of records is held at a time,
//! whoever reads slowly; what is sealed after the export began is not in it, so it ends.
//!
//! Promised of CSV: no field begins with a character that a spreadsheet takes for a formula. Such a field has an apostrophe
//! before it, which JSON does not have.

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::Stream;
use ids::OrgId;
use serde::{Deserialize, Serialize};
use store::{SealedRecord, Store, StoreError};
use utoipa::{IntoParams, ToSchema};

use super::AuditView;
use crate::app::App;
use crate::auth::Caller;
use crate::extract::Query;
use crate::problem::Problem;

/// Records that are read at a time.
const PAGE: i64 = 500;
/// Records of one export.
const LIMIT_MAX: i64 = 1_000_000;

const COLUMNS: &str = "number,position,recorded_at,actor,action,target,detail,audit_id,hash\r\n";

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    /// A JSON object on each line.
    #[default]
    Jsonl,
    /// RFC 4180, with a line of names.
    Csv,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    #[param(inline)]
    #[serde(default)]
    format: Format,
    /// The number of the last record of the export before. 0 if it is not given.
    #[param(minimum = 0)]
    after: Option<i64>,
    /// Records, at most, 1 to 1,000,000; what is out of bounds is brought to the nearest bound.
    limit: Option<i64>,
}

#[derive(Debug, Serialize)]
struct Line {
    number: i64,
    #[serde(flatten)]
    record: AuditView,
    hash: String,
}

impl From<SealedRecord> for Line {
    fn from(sealed: SealedRecord) -> Self {
        Self { number: sealed.number, record: sealed.record.into(), hash: hex::encode(sealed.hash) }
    }
}

/// The sealed records of the org's audit trail, each with its number and hash in the chain, as JSON lines or CSV.
///
/// Numbers have no holes. In CSV a field that a spreadsheet would take for a formula has an apostrophe before it.
#[utoipa::path(
    get,
    path = "/api/audit/export",
    operation_id = "audit_export",
    tag = "audit",
    params(Wanted),
    responses((status = 200, description = "A line for each record, in the order of the chain. A connection that breaks before the end leaves whole lines; go on after the last number.", content((String = "application/jsonl"), (String = "text/csv")))),
    security(("token" = ["audit.read"])),
)]
pub(super) async fn export(
    State(app): State<App>,
    caller: Caller,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    let last = app.store.audit_head(caller.org).await?.number;
    let limit = wanted.limit.unwrap_or(LIMIT_MAX).clamp(1, LIMIT_MAX);
    let after = wanted.after.unwrap_or(0).max(0);
    let last = last.min(after.saturating_add(limit));
    let (media_type, name) = match wanted.format {
        Format::Jsonl => ("application/jsonl", "attachment; filename=\"audit.jsonl\""),
        Format::Csv => ("text/csv; charset=utf-8; header=present", "attachment; filename=\"audit.csv\""),
    };
    let headers = [
        (header::CONTENT_TYPE, media_type),
        (header::CONTENT_DISPOSITION, name),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    let pieces = pieces(app.store.clone(), caller.org, wanted.format, after, last);
    Ok((headers, Body::from_stream(pieces)).into_response())
}

/// Whole lines, a page at a time. The next page is read when the one before has been taken.
fn pieces(
    store: Store,
    org: OrgId,
    format: Format,
    mut after: i64,
    last: i64,
) -> impl Stream<Item = Result<Bytes, StoreError>> {
    async_stream::try_stream! {
        if format == Format::Csv {
            yield Bytes::from_static(COLUMNS.as_bytes());
        }
        while after < last {
            let page = store.audit_sealed(org, after, PAGE.min(last - after)).await?;
            let Some(newest) = page.last() else { break };
            after = newest.number;
            yield page.into_iter().map(|sealed| format.line(&sealed.into())).collect::<String>().into();
        }
    }
}

impl Format {
    fn line(self, line: &Line) -> String {
        match self {
            Self::Jsonl => serde_json::to_string(line).expect("a record has a JSON form") + "\n",
            Self::Csv => {
                let record = &line.record;
                let fields = [
                    line.number.to_string(),
                    record.position.to_string(),
                    record.recorded_at.to_rfc3339(),
                    record.actor.clone(),
                    record.action.clone(),
                    record.target.clone(),
                    record.detail.to_string(),
                    record.audit_id.to_string(),
                    line.hash.clone(),
                ];
                fields.map(|field| csv_field(&field)).join(",") + "\r\n"
            }
        }
    }
}

fn csv_field(text: &str) -> String {
    let formula =
        text.trim_start_matches([' ', '\u{feff}']).starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '|', '%']);
    let guard = if formula { "'" } else { "" };
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_field_is_a_formula_or_breaks_out_of_its_quotes() {
        for (text, field) in [
            ("plain", "\"plain\""),
            ("a \"b\",\r\nc", "\"a \"\"b\"\",\r\nc\""),
            ("=1+1", "\"'=1+1\""),
            ("  @SUM(A1)", "\"'  @SUM(A1)\""),
            ("-2", "\"'-2\""),
            ("\tx", "\"'\tx\""),
            ("", "\"\""),
        ] {
            assert_eq!(csv_field(text), field);
        }
    }
}
