//! Subjects: people who are to be forgotten. A subject is an account.
//!
//! The request empties the account at once and answers; what the person said and made is gone through by the scheduler, and
//! asking again tells how far it is.
//!
//! Not here: what goes and what stays (`store::subject`).

use axum::extract::State;
use axum::http::StatusCode;
use clock::Timestamp;
use domain::permission::Permission;
use ids::AccountId;
use serde::Serialize;
use store::{EraseError, ErasedFor, Erasure};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::Caller;
use crate::extract::{Json, Path};
use crate::problem::Problem;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(show, erase))
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Erasure)]
struct ErasureView {
    account_id: AccountId,
    /// `erasing` or `erased`.
    state: &'static str,
    sessions: i64,
    commands: i64,
    events: i64,
    artifacts: i64,
    deliveries: i64,
    blobs: i64,
    #[schema(value_type = String, format = DateTime)]
    requested_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    finished_at: Option<Timestamp>,
}

impl From<Erasure> for ErasureView {
    fn from(erasure: Erasure) -> Self {
        let Erasure { account_id, sessions, commands, events, artifacts, deliveries, blobs, .. } = erasure;
        let Erasure { requested_at, finished_at, .. } = erasure;
        let state = if finished_at.is_some() { "erased" } else { "erasing" };
        Self { account_id, state, sessions, commands, events, artifacts, deliveries, blobs, requested_at, finished_at }
    }
}

/// An owner of the org, or an operator who acts in it.
fn wanted(caller: &Caller) -> ErasedFor {
    if caller.may(Permission::InstallationWrite) {
        ErasedFor::Operator(caller.org)
    } else {
        ErasedFor::Owner(caller.org)
    }
}

/// Forgets a person: the account at once, what it said and made step by step. Asking twice changes nothing.
#[utoipa::path(
    delete,
    path = "/api/subjects/{account_id}",
    operation_id = "subject_erase",
    tag = "members",
    responses((status = 202, description = "It has begun.", body = ErasureView), (status = 409, description = "The account belongs to other orgs, too, or is the last owner."), (status = 503, description = "It has begun, and the recovery ledger does not know of it yet: ask again.")),
    security(("token" = ["subjects.erase"])),
)]
async fn erase(
    State(app): State<App>,
    caller: Caller,
    Path(account): Path<AccountId>,
) -> Result<(StatusCode, Json<ErasureView>), Problem> {
    let erased = app.store.subject_erase(account, wanted(&caller), &caller.actor()).await;
    let erasure = erased.map_err(|error| match error {
        EraseError::NoSuchSubject => Problem::not_found("account"),
        EraseError::InOtherOrgs => Problem::conflict("the account belongs to other orgs, too: ask an operator"),
        EraseError::LastOwner => Problem::conflict("the account is the org's last owner: name another one first"),
        EraseError::Store(error) => error.into(),
    })?;
    app.remember().await?;
    Ok((StatusCode::ACCEPTED, Json(erasure.into())))
}

/// How far an erasure is.
#[utoipa::path(
    get,
    path = "/api/subjects/{account_id}",
    operation_id = "subject_view",
    tag = "members",
    responses((status = 200, description = "How far it is.", body = ErasureView)),
    security(("token" = ["subjects.erase"])),
)]
async fn show(
    State(app): State<App>,
    caller: Caller,
    Path(account): Path<AccountId>,
) -> Result<Json<ErasureView>, Problem> {
    let found = app.store.subject_erasure(account, wanted(&caller)).await?;
    found.map(|erasure| Json(erasure.into())).ok_or_else(|| Problem::not_found("erased account"))
}

#[cfg(test)]
mod tests {
    use domain::tenancy::{Role, Scope};
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn somebody_is_erased_by_an_owner_and_can_not_sign_in_any_more() {
        let world = World::new().await;
        let token = world.member(world.org, Role::Member, &[Scope::Read, Scope::Write]).await;
        let member = world.get_as(&token, "/api/workspace").await.expect(200);
        let account = member["account"]["account_id"].as_str().unwrap().to_owned();
        let path = format!("/api/subjects/{account}");
        world.get(&path).await.expect_problem(404, "not_found");
        world.delete_as(&token, &path).await.expect_problem(403, "forbidden");
        let erased = world.delete(&path).await.expect(202);
        assert_eq!((&erased["account_id"], &erased["state"]), (&json!(account), &json!("erasing")));
        world.get_as(&token, "/api/workspace").await.expect_problem(401, "unauthenticated");
        assert_eq!(world.delete(&path).await.expect(202), erased, "asking twice changes nothing");
        assert_eq!(world.get(&path).await.expect(200), erased);
        assert_eq!(world.get("/api/members").await.expect(200)["items"].as_array().unwrap().len(), 1);
        let audit = world.get("/api/audit").await.expect(200);
        let last = audit["items"].as_array().unwrap().last().unwrap().clone();
        assert_eq!((&last["action"], &last["detail"]), (&json!("subject.erase"), &json!({})));
    }

    #[tokio::test]
    async fn nobody_erases_an_account_of_another_org() {
        let world = World::new().await;
        let (_, stranger) = world.other_org().await;
        let path = format!("/api/subjects/{}", world.owner);
        world.delete_as(&stranger, &path).await.expect_problem(404, "not_found");
        world.get_as(&stranger, &path).await.expect_problem(404, "not_found");
        let admin = world.member(world.org, Role::Admin, &[Scope::Read, Scope::Write]).await;
        world.delete_as(&admin, &path).await.expect_problem(403, "forbidden");
    }
}
