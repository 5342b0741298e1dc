//! Orgs: tenants of the installation. For operators.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use clock::Timestamp;
use ids::OrgId;
use serde::{Deserialize, Serialize};
use store::Org;

use crate::app::App;
use crate::auth::Operator;
use crate::extract::{Json, Query};
use crate::page::{Page, Paging};
use crate::problem::Problem;
use crate::validate;

pub(crate) fn routes() -> Router<App> {
    Router::new().route("/api/orgs", get(list).post(create))
}

#[derive(Debug, Serialize)]
struct OrgView {
    org_id: OrgId,
    name: String,
    created_at: Timestamp,
}

impl From<Org> for OrgView {
    fn from(org: Org) -> Self {
        Self { org_id: org.org_id, name: org.name, created_at: org.created_at }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewOrg {
    name: String,
}

/// An org begins without members; its creator adds the first with the header `Cowork-Org`.
async fn create(
    State(app): State<App>,
    Operator(caller): Operator,
    Json(new): Json<NewOrg>,
) -> Result<(StatusCode, Json<OrgView>), Problem> {
    let name = validate::text("name", &new.name, 1..=200)?;
    let org = app.store.org_create(&name, &caller.actor()).await?;
    Ok((StatusCode::CREATED, Json(org.into())))
}

async fn list(
    State(app): State<App>,
    _: Operator,
    Query(paging): Query<Paging<OrgId>>,
) -> Result<Json<Page<OrgView>>, Problem> {
    let orgs = app.store.org_list(paging.cursor, paging.limit()).await?;
    Ok(Json(Page::of(orgs, paging.limit(), |org| org.org_id).map(OrgView::from)))
}
