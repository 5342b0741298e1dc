//! The org's audit trail: looked through, handed out, verified.
//!
//! Not here: sealing it (`scheduler`), what a seal is (`store::audit`).

mod export;
mod verification;

use axum::extract::State;
use clock::Timestamp;
use ids::AuditId;
use serde::{Deserialize, Serialize};
use store::{AuditFilter, AuditRecord};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::Caller;
use crate::extract::{Json, Query};
use crate::page::{Page, Paging};
use crate::problem::Problem;
use crate::text::Text;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(export::export)).routes(routes!(verification::verify))
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditRecord)]
struct AuditView {
    audit_id: AuditId,
    position: i64,
    actor: String,
    action: String,
    target: String,
    detail: serde_json::Value,
    #[schema(value_type = String, format = DateTime)]
    recorded_at: Timestamp,
}

impl From<AuditRecord> for AuditView {
    fn from(record: AuditRecord) -> Self {
        let AuditRecord { audit_id, position, actor, action, target, detail, recorded_at } = record;
        Self { audit_id, position, actor, action, target, detail, recorded_at }
    }
}

/// What is compared with what was recorded.
type Recorded = Text<1, 200>;

/// What a record must be to be listed: all of it.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// The whole of it, such as `account:ID`, `token:ID` or `role:NAME`.
    #[param(inline)]
    actor: Option<Recorded>,
    /// The whole of it, such as `session.create`.
    #[param(inline)]
    action: Option<Recorded>,
    /// The whole of it, such as `session:ID`.
    #[param(inline)]
    target: Option<Recorded>,
    /// Recorded at this time or later.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// Recorded before this time.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
}

impl Filter {
    fn named(&self) -> AuditFilter {
        let text = |text: &Option<Recorded>| text.as_ref().map(Recorded::trimmed);
        let (actor, action, target) = (text(&self.actor), text(&self.action), text(&self.target));
        AuditFilter { actor, action, target, since: self.since, until: self.until }
    }
}

/// The org's audit trail, oldest first; all of it, or what matches.
///
/// A page may have fewer records than its limit, or none, though there are more: go on until `next_cursor` is `null`. A record may
/// appear before one that was seen already, if it was committed later; an export misses none.
#[utoipa::path(
    get,
    path = "/api/audit",
    operation_id = "audit_list",
    tag = "audit",
    params(Paging<i64>, Filter),
    responses((status = 200, description = "A page of them.", body = Page<AuditView>)),
    security(("token" = ["audit.read"])),
)]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(paging): Query<Paging<i64>>,
    Query(filter): Query<Filter>,
) -> Result<Json<Page<AuditView>>, Problem> {
    let after = paging.cursor.unwrap_or(0);
    let (records, next) = app.store.audit_list(caller.org, &filter.named(), after, paging.limit()).await?;
    let items = records.into_iter().map(AuditView::from).collect();
    Ok(Json(Page { items, next_cursor: next.map(|position| position.to_string()) }))
}

#[cfg(test)]
mod tests;
