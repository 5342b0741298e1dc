//! The findings file, as `cowork drill run --findings` and `cowork findings` write it: what drills found, who sees to it, what became
//! of it.
//!
//! Not here: changing it, which people do with `cowork findings` where the file is.

use std::io;
use std::path::Path as FilePath;

use axum::extract::State;
use chrono::NaiveDate;
use clock::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::folder::small;
use crate::app::App;
use crate::extract::{Json, Path, Query};
use crate::page::{Page, Paging};
use crate::problem::Problem;

/// The format of the file.
const VERSION: u32 = 1;
/// How large the file may be, in bytes.
const BYTES: u64 = 16 << 20;

#[derive(Debug, Deserialize)]
struct Register {
    version: u32,
    findings: Vec<Known>,
}

#[derive(Debug, Deserialize)]
struct Known {
    id: String,
    check: String,
    code: String,
    finding: String,
    severity: Severity,
    owner: String,
    due_date: Option<NaiveDate>,
    status: Status,
    first_seen: Seen,
    last_seen: Seen,
    gone_since: Option<Seen>,
}

/// How much it weighs: a high one that is open stands against a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = FindingSeverity)]
#[serde(rename_all = "snake_case")]
enum Severity {
    High,
    Medium,
    Low,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
enum Status {
    Open,
    Deferred { reason: String, until: NaiveDate },
    Closed { reason: String, by: String, at: Timestamp },
}

/// Which drill.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = FindingSeen)]
struct Seen {
    drill_id: String,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = FindingState)]
#[serde(rename_all = "snake_case")]
enum FindingState {
    /// Also one whose deferral has ended.
    Open,
    /// Its owner bears the risk, to the end of the day `until`.
    Deferred,
    Closed,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Finding)]
pub(super) struct FindingView {
    /// The same in every drill that finds it.
    id: String,
    /// The id of the row that found it, or `drill`.
    check: String,
    /// Which comparison did not hold; docs/reference/finding-codes.md lists them.
    code: String,
    /// As the last drill that found it put it.
    finding: String,
    severity: Severity,
    owner: String,
    #[schema(value_type = Option<String>, format = Date)]
    due_date: Option<NaiveDate>,
    state: FindingState,
    /// Why it was put off or closed.
    reason: Option<String>,
    /// The last day of its deferral, also of one that has ended.
    #[schema(value_type = Option<String>, format = Date)]
    until: Option<NaiveDate>,
    closed_by: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    closed_at: Option<Timestamp>,
    first_seen: Seen,
    last_seen: Seen,
    /// The first drill since then in which its row passed. `null`: none has.
    gone_since: Option<Seen>,
}

impl FindingView {
    fn of(known: Known, today: NaiveDate) -> Self {
        let Known { id, check, code, finding, severity, owner, due_date, status, first_seen, last_seen, gone_since } =
            known;
        let (state, reason, until, closed_by, closed_at) = match status {
            Status::Open => (FindingState::Open, None, None, None, None),
            Status::Deferred { reason, until } => {
                let state = if until < today { FindingState::Open } else { FindingState::Deferred };
                (state, Some(reason), Some(until), None, None)
            }
            Status::Closed { reason, by, at } => (FindingState::Closed, Some(reason), None, Some(by), Some(at)),
        };
        Self {
            id,
            check,
            code,
            finding,
            severity,
            owner,
            due_date,
            state,
            reason,
            until,
            closed_by,
            closed_at,
            first_seen,
            last_seen,
            gone_since,
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Only those.
    state: Option<FindingState>,
}

/// What drills of the installation found, and what became of it, by id.
#[utoipa::path(
    get,
    path = "/api/findings",
    operation_id = "finding_list",
    tag = "installation",
    params(Paging<String>, Which),
    responses((status = 200, description = "A page of them.", body = Page<FindingView>), (status = 404, description = "No findings file is configured (`not_configured`)."), (status = 409, description = "The findings file can't be understood (`unreadable`).")),
    security(("token" = ["installation.read"])),
)]
pub(super) async fn list(
    State(app): State<App>,
    Query(paging): Query<Paging<String>>,
    Query(which): Query<Which>,
) -> Result<Json<Page<FindingView>>, Problem> {
    let (today, limit) = (app.store.sources().now().date_naive(), paging.limit());
    let known = known(&app).await?.into_iter();
    let after = known.filter(|known| paging.cursor.as_ref().is_none_or(|cursor| known.id > *cursor));
    let views = after.map(|known| FindingView::of(known, today));
    let shown = views.filter(|view| which.state.is_none_or(|state| view.state == state));
    let items = shown.take(usize::try_from(limit).unwrap_or_default()).collect();
    Ok(Json(Page::of(items, limit, |finding: &FindingView| finding.id.clone())))
}

/// A finding, and what became of it.
#[utoipa::path(
    get,
    path = "/api/findings/{finding_id}",
    operation_id = "finding_view",
    tag = "installation",
    responses((status = 200, description = "As it is now.", body = FindingView), (status = 404, description = "There is no such finding, or no findings file is configured (`not_configured`)."), (status = 409, description = "The findings file can't be understood (`unreadable`).")),
    security(("token" = ["installation.read"])),
)]
pub(super) async fn view(State(app): State<App>, Path(finding): Path<String>) -> Result<Json<FindingView>, Problem> {
    let found = known(&app).await?.into_iter().find(|known| known.id == finding);
    let found = found.ok_or_else(|| Problem::not_found("finding"))?;
    Ok(Json(FindingView::of(found, app.store.sources().now().date_naive())))
}

async fn known(app: &App) -> Result<Vec<Known>, Problem> {
    let file = app.drills.findings.clone();
    let file = file.ok_or_else(|| Problem::not_configured("drills.findings_file", "findings"))?;
    app.drills.read(move || read(&file)).await?.map_err(Problem::unreadable)
}

/// By id. A file that is not there yet has none.
fn read(file: &FilePath) -> Result<Vec<Known>, String> {
    let missing = std::fs::symlink_metadata(file).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    if missing {
        return Ok(Vec::new());
    }
    let bytes = small(file, BYTES).map_err(|reason| format!("the findings file {reason}"))?;
    let foreign =
        |error: serde_json::Error| format!("the findings file is in another format, from line {} on", error.line());
    let mut register: Register = serde_json::from_slice(&bytes).map_err(foreign)?;
    if register.version != VERSION {
        return Err(format!("the findings file has version {}, and version {VERSION} is read", register.version));
    }
    register.findings.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(register.findings)
}
