//! Where a caller finds itself: which installation, which org, who it is and what it may do.

use axum::extract::State;
use domain::permission::Permission;
use domain::tenancy::{RoleName, Scope};
use ids::{AccountId, OrgId, SystemId};
use serde::Serialize;
use store::Store;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::Caller;
use crate::extract::Json;
use crate::problem::Problem;
use crate::tokens::each_once;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(workspace))
}

#[derive(Debug, Serialize, ToSchema)]
struct Workspace {
    system_id: SystemId,
    generation: i64,
    environment: &'static str,
    schema_version: i64,
    build: &'static str,
    org: OrgView,
    account: AccountView,
    #[schema(value_type = Vec<String>)]
    scopes: Vec<Scope>,
    /// What the caller may do here: of its role, what its token was made for.
    permissions: Vec<Permission>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WorkspaceOrg)]
struct OrgView {
    org_id: OrgId,
    name: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WorkspaceAccount)]
struct AccountView {
    account_id: AccountId,
    display_name: String,
    /// In the org of its token, which for an operator may be another than `org`.
    #[schema(value_type = String)]
    role: RoleName,
}

/// Where a caller finds itself: which installation, which org, who it is and what it may do.
#[utoipa::path(
    get,
    path = "/api/workspace",
    operation_id = "workspace",
    tag = "installation",
    responses((status = 200, description = "Which installation, which org, who and what.", body = Workspace)),
    security(("token" = [])),
)]
async fn workspace(State(app): State<App>, caller: Caller) -> Result<Json<Workspace>, Problem> {
    let org = app.store.org_get(caller.org).await?.ok_or_else(|| Problem::not_found("org"))?;
    let display_name = app.store.account_display_name(caller.account).await?;
    Ok(Json(Workspace {
        system_id: app.generation.system_id,
        generation: app.generation.generation,
        environment: app.generation.environment.as_str(),
        schema_version: Store::schema_version(),
        build: app.build,
        org: OrgView { org_id: org.org_id, name: org.name },
        account: AccountView {
            account_id: caller.account,
            display_name: display_name.ok_or_else(|| Problem::not_found("account"))?,
            role: caller.role,
        },
        permissions: caller.permissions.iter().collect(),
        scopes: each_once(&caller.scopes),
    }))
}

#[cfg(test)]
mod tests {
    use crate::testing::World;

    #[tokio::test]
    async fn a_caller_learns_where_it_is_and_what_it_may_do() {
        let world = World::new().await;
        let seen = world.get("/api/workspace").await.expect(200);
        insta::assert_json_snapshot!(seen, {
            ".system_id" => "[id]", ".org.org_id" => "[id]", ".account.account_id" => "[id]", ".schema_version" => "[version]", ".permissions" => "[permissions]",
        }, @r#"
        {
          "account": {
            "account_id": "[id]",
            "display_name": "Ada",
            "role": "owner"
          },
          "build": "test",
          "environment": "production",
          "generation": 1,
          "org": {
            "name": "Acme",
            "org_id": "[id]"
          },
          "permissions": "[permissions]",
          "schema_version": "[version]",
          "scopes": [
            "read",
            "write",
            "operator"
          ],
          "system_id": "[id]"
        }
        "#);
    }
}
