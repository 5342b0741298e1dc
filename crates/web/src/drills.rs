//! Drills that were run, and the findings that they left: read from the folder and the file that an operator names in the
//! configuration.
//!
//! A drill is of the whole system, whatever orgs it has, so its records are shown to those who see the installation and to nobody
//! by being in an org (decision 0088). What is read is what `cowork drill run` publishes: the journal, `report.json`, the
//! envelope and the findings file. Nothing is written.
//!
//! Not promised: that a report is true. `passed` is what the report says; whether it is what was signed is said in `seal`, and only
//! after looking.
//!
//! Not here: reading a drill's folder (`folder`), the findings file (`findings`), running drills (`drill`, in the binary).

mod findings;
mod folder;

use std::io;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use attest::{PublicKey, VerifyError};
use axum::extract::State;
use clock::Timestamp;
use ids::DrillId;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::folder::{Check, Look, Place, Report, Stage, Told, Unknown};
use crate::app::App;
use crate::extract::{Json, Path, Query};
use crate::page::{Page, Paging};
use crate::problem::Problem;

/// Each row of a page takes a look into a folder.
const LIMIT_MAX: i64 = 50;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(view))
        .routes(routes!(findings::list))
        .routes(routes!(findings::view))
}

/// Where drills are read from.
#[derive(Debug, Clone)]
pub struct DrillRecords {
    folder: Option<PathBuf>,
    findings: Option<PathBuf>,
    key: Option<PublicKey>,
    /// One reader at a time: a folder may hold much, and whoever reads it waits for nothing but the disk.
    turn: Arc<Semaphore>,
}

impl DrillRecords {
    /// `folder` is where drills leave their reports, `findings` their findings file, `key` whose seals are good.
    #[must_use]
    pub fn new(folder: Option<PathBuf>, findings: Option<PathBuf>, key: Option<PublicKey>) -> Self {
        Self { folder, findings, key, turn: Arc::new(Semaphore::new(1)) }
    }

    /// The drill that began last. `None`: there is none, or no folder is named.
    ///
    /// # Errors
    /// If the folder can't be read.
    pub async fn last(&self) -> io::Result<Option<LastDrill>> {
        let Some(folder) = self.folder.clone() else { return Ok(None) };
        self.aside(move || folder::look(&folder).map(|look| look.places.first().map(LastDrill::of))).await?
    }

    /// Whether a folder is named.
    pub(crate) fn named(&self) -> bool {
        self.folder.is_some()
    }

    async fn read<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
        self.aside(work).await.map_err(Problem::internal)
    }

    /// Reads files, so it leaves the async threads alone.
    async fn aside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let turn = self.turn.clone().acquire_owned().await.map_err(io::Error::other)?;
        let read = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        read.await.map_err(io::Error::other)
    }

    async fn look(&self) -> Result<Look, Problem> {
        let folder = self.folder.clone().ok_or_else(|| Problem::not_configured("drills.folder", "drills"))?;
        self.read(move || folder::look(&folder)).await?.map_err(Problem::unavailable)
    }
}

/// How a drill ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = DrillVerdict)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Passed,
    Failed,
    CouldNotVerify,
}

/// What a drill's folder holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = DrillState)]
#[serde(rename_all = "snake_case")]
pub enum DrillState {
    /// Its journal is closed and its report is there.
    Concluded,
    /// It never came to its end, or is still going on.
    Interrupted,
    /// What lies there can't be understood; `reason` says why.
    Unreadable,
}

/// The drill that began last, as its folder tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LastDrill {
    pub drill_id: DrillId,
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    pub state: DrillState,
    /// As the report says. `null`: it is not concluded.
    pub verdict: Option<Verdict>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
}

impl LastDrill {
    fn of(place: &Place) -> Self {
        let DrillView { drill_id, started_at, state, verdict, finished_at, .. } = DrillView::of(place, place.told()).0;
        Self { drill_id, started_at, state, verdict, finished_at }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Drill)]
struct DrillView {
    drill_id: DrillId,
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    state: DrillState,
    /// Why it can't be understood.
    reason: Option<String>,
    /// As the report says. `null`: it is not concluded.
    verdict: Option<Verdict>,
    #[schema(value_type = Option<String>, format = DateTime)]
    finished_at: Option<Timestamp>,
    /// Version and commit of the program that was drilled.
    build: Option<String>,
    findings_total: Option<u64>,
    /// What the recovery took, in seconds, and how long it may take.
    rto_s: Option<f64>,
    rto_objective_s: Option<f64>,
    /// What was lost, in seconds before the disaster, and how much may be.
    rpo_s: Option<f64>,
    rpo_objective_s: Option<f64>,
    /// Whether there is an envelope. A list does not look into it.
    sealed: bool,
}

impl DrillView {
    fn of(place: &Place, told: Told) -> (Self, Vec<Check>, Vec<Stage>) {
        let mut view = Self {
            drill_id: place.drill,
            started_at: place.started_at,
            state: DrillState::Interrupted,
            reason: None,
            verdict: None,
            finished_at: None,
            build: place.build.clone(),
            findings_total: None,
            rto_s: None,
            rto_objective_s: None,
            rpo_s: None,
            rpo_objective_s: None,
            sealed: place.sealed(),
        };
        match told {
            Told::Interrupted => (view, Vec::new(), Vec::new()),
            Told::Unreadable(reason) => {
                view.state = DrillState::Unreadable;
                view.reason = Some(reason);
                (view, Vec::new(), Vec::new())
            }
            Told::Concluded(report) => view.concluded(*report),
        }
    }

    fn concluded(self, report: Report) -> (Self, Vec<Check>, Vec<Stage>) {
        let Report { started_at, finished_at, verdict, build, objectives, measured, checks, stages, drill_id: _ } =
            report;
        let view = Self {
            started_at,
            state: DrillState::Concluded,
            verdict: Some(verdict),
            finished_at: Some(finished_at),
            build: Some(build),
            findings_total: Some(checks.iter().map(|check| check.findings_total).fold(0, u64::saturating_add)),
            rto_s: measured.rto_s,
            rto_objective_s: objectives.rto_s,
            rpo_s: measured.rpo_s,
            rpo_objective_s: objectives.rpo_s,
            ..self
        };
        (view, checks, stages)
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct Drills {
    #[schema(max_items = 50)]
    items: Vec<DrillView>,
    /// The `cursor` of the next page. `null`: this was the last one.
    next_cursor: Option<String>,
    /// Folders that look like a drill's and say nothing of which: the first 20 of them.
    #[schema(max_items = 20)]
    unreadable: Vec<Unknown>,
    unreadable_total: usize,
}

/// What is known of a seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum SealState {
    /// There is no envelope.
    Unsealed,
    /// There is one, and no key is configured to check it with.
    NotChecked,
    /// It was checked now, with the configured key, over every file: this is what was signed.
    Verified,
    /// It was checked, and does not hold; `problems` says why.
    Refused,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Seal)]
struct SealView {
    state: SealState,
    /// SHA-256 of the public key that it was checked with.
    key: Option<String>,
    /// The first 50.
    #[schema(max_items = 50)]
    problems: Vec<SealProblem>,
}

#[derive(Debug, Serialize, ToSchema)]
struct SealProblem {
    code: String,
    sentence: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DrillDetails)]
struct Details {
    #[serde(flatten)]
    drill: DrillView,
    seal: SealView,
    /// The ten rows of the report, in its order. Empty: it is not concluded.
    checks: Vec<Check>,
    stages: Vec<Stage>,
}

/// The drills of the installation, newest first, as their folders tell.
#[utoipa::path(
    get,
    path = "/api/drills",
    operation_id = "drill_list",
    tag = "installation",
    params(Paging<DrillId>),
    responses((status = 200, description = "A page of them, 50 at most.", body = Drills), (status = 404, description = "No folder of drills is configured (`not_configured`)."), (status = 503, description = "The folder can't be read.")),
    security(("token" = ["installation.read"])),
)]
async fn list(State(app): State<App>, Query(paging): Query<Paging<DrillId>>) -> Result<Json<Drills>, Problem> {
    let Look { mut places, unreadable, unreadable_total } = app.drills.look().await?;
    let limit = paging.limit_within(LIMIT_MAX);
    places.retain(|place| paging.cursor.is_none_or(|cursor| place.drill < cursor));
    places.truncate(usize::try_from(limit).unwrap_or_default());
    let read = move || places.into_iter().map(|place| DrillView::of(&place, place.told()).0).collect();
    let Page { items, next_cursor } = Page::of(app.drills.read(read).await?, limit, |drill: &DrillView| drill.drill_id);
    Ok(Json(Drills { items, next_cursor, unreadable, unreadable_total }))
}

/// A drill with its rows and its seal. If a public key is configured, the seal is checked now, over every file.
#[utoipa::path(
    get,
    path = "/api/drills/{drill_id}",
    operation_id = "drill_view",
    tag = "installation",
    responses((status = 200, description = "What its folder tells.", body = Details), (status = 404, description = "There is no such drill, or no folder of drills is configured (`not_configured`)."), (status = 503, description = "The folder can't be read.")),
    security(("token" = ["installation.read"])),
)]
async fn view(State(app): State<App>, Path(drill): Path<DrillId>) -> Result<Json<Details>, Problem> {
    let place = app.drills.look().await?.places.into_iter().find(|place| place.drill == drill);
    let (place, key) = (place.ok_or_else(|| Problem::not_found("drill"))?, app.drills.key);
    let read = move || {
        let (drill, checks, stages) = DrillView::of(&place, place.told());
        let seal = SealView::of(&place.folder, drill.sealed, key.as_ref());
        Details { drill, seal, checks, stages }
    };
    Ok(Json(app.drills.read(read).await?))
}

impl SealView {
    fn of(folder: &FilePath, sealed: bool, key: Option<&PublicKey>) -> Self {
        let (state, key, problems) = match (sealed, key) {
            (false, _) => (SealState::Unsealed, None, Vec::new()),
            (true, None) => (SealState::NotChecked, None, Vec::new()),
            (true, Some(key)) => {
                let problems = attest::bundle::verify(folder, key).map_or_else(problems, |_| Vec::new());
                let state = if problems.is_empty() { SealState::Verified } else { SealState::Refused };
                (state, Some(key.fingerprint()), problems)
            }
        };
        Self { state, key, problems }
    }
}

/// At least one.
fn problems(error: VerifyError) -> Vec<SealProblem> {
    let problem = |code: &str, sentence: String| SealProblem { code: code.to_owned(), sentence };
    match error {
        VerifyError::Refused(refusal) if !refusal.problems.is_empty() => {
            refusal.problems.into_iter().map(|one| problem(one.code, one.sentence)).collect()
        }
        other => vec![problem("unreadable", other.to_string())],
    }
}

#[cfg(test)]
pub(crate) mod tests;
