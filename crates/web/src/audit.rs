//! The org's audit trail, oldest first.

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use clock::Timestamp;
use ids::AuditId;
use serde::Serialize;
use store::AuditRecord;

use crate::app::App;
use crate::auth::Reader;
use crate::extract::{Json, Query};
use crate::page::{Page, Paging};
use crate::problem::Problem;

pub(crate) fn routes() -> Router<App> {
    Router::new().route("/api/audit", get(list))
}

#[derive(Debug, Serialize)]
struct AuditView {
    audit_id: AuditId,
    position: i64,
    actor: String,
    action: String,
    target: String,
    detail: serde_json::Value,
    recorded_at: Timestamp,
}

impl From<AuditRecord> for AuditView {
    fn from(record: AuditRecord) -> Self {
        let AuditRecord { audit_id, position, actor, action, target, detail, recorded_at } = record;
        Self { audit_id, position, actor, action, target, detail, recorded_at }
    }
}

async fn list(
    State(app): State<App>,
    Reader(caller): Reader,
    Query(paging): Query<Paging<i64>>,
) -> Result<Json<Page<AuditView>>, Problem> {
    let after = paging.cursor.unwrap_or(0);
    let records = app.store.audit_list(caller.org, after, paging.limit()).await?;
    Ok(Json(Page::of(records, paging.limit(), |record| record.position).map(AuditView::from)))
}
