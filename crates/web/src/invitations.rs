//! Invitations: an address, a role, and a token that is shown once, for whoever is to become a member by signing in.
//!
//! Nothing is sent to anybody: who invites passes the address of the answer on.
//!
//! Not here: accepting one (`sign_in`).

use axum::extract::State;
use axum::http::StatusCode;
use chrono::TimeDelta;
use clock::Timestamp;
use domain::tenancy::RoleName;
use ids::InvitationId;
use serde::{Deserialize, Serialize};
use store::{Invitation, NewInvitation};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::Caller;
use crate::extract::{Json, Path, Query};
use crate::members;
use crate::page::{Page, Paging};
use crate::problem::Problem;
use crate::sign_in::InvitationSecret;
use crate::text::Email;

/// How long one is open unless told otherwise.
const DAYS: i64 = 7;
const DAYS_MAX: i64 = 30;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(view, revoke))
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Invitation)]
struct View {
    invitation_id: InvitationId,
    email: String,
    #[schema(value_type = String)]
    role: RoleName,
    /// `open`, `accepted` or `revoked`. One that has expired is still called open.
    state: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    settled_at: Option<Timestamp>,
}

impl From<Invitation> for View {
    fn from(invitation: Invitation) -> Self {
        let Invitation { invitation_id, email, role, state, created_at, expires_at, settled_at } = invitation;
        Self { invitation_id, email, role, state, created_at, expires_at, settled_at }
    }
}

#[derive(Serialize, ToSchema)]
struct CreatedInvitation {
    #[serde(flatten)]
    view: View,
    /// Where the person signs in to become a member, on this system. It holds the token, and is shown only here.
    path: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewInvitation, example = json!({"email": "carol@example.org", "role": "member"}))]
#[serde(deny_unknown_fields)]
struct New {
    #[schema(inline)]
    email: Email,
    role: RoleName,
    /// How long it is open. Default: 7.
    #[serde(default, deserialize_with = "crate::number::whole_or_none")]
    #[schema(minimum = 1, maximum = 30)]
    days: Option<i64>,
}

/// Invites somebody to become a member by signing in with a browser. Takes all permissions of the role. An open
/// invitation for the same address is revoked.
#[utoipa::path(
    post,
    path = "/api/invitations",
    operation_id = "invitation_create",
    tag = "members",
    request_body = New,
    responses((status = 201, description = "It is open. Its path is shown only here.", body = CreatedInvitation)),
    security(("token" = ["members.write"])),
)]
async fn create(
    State(app): State<App>,
    caller: Caller,
    Json(new): Json<New>,
) -> Result<(StatusCode, Json<CreatedInvitation>), Problem> {
    let Email(email) = new.email;
    let days = new.days.unwrap_or(DAYS);
    if !(1..=DAYS_MAX).contains(&days) {
        return Err(Problem::invalid("days is 1 to 30"));
    }
    caller.must_cover(members::known(&app, caller.org, &new.role).await?)?;
    app.store.policy_get(caller.org).await?.policy.judge_email(&email)?;
    let secret = InvitationSecret::generate(app.store.sources());
    let expires_at = app.store.sources().now() + TimeDelta::days(days);
    let new = NewInvitation { email, role: new.role, token_hash: secret.hash(), expires_at };
    let created = app.store.invitation_create(caller.org, &new, &caller.actor()).await?;
    app.effects.flush().await;
    let created = created.ok_or_else(|| Problem::conflict("this address is being invited by somebody else"))?;
    let path = format!("/auth/sign-in?invitation={}", secret.expose());
    Ok((StatusCode::CREATED, Json(CreatedInvitation { view: created.into(), path })))
}

/// The org's invitations, oldest first; also those that are over, for a month after they would have expired.
#[utoipa::path(
    get,
    path = "/api/invitations",
    operation_id = "invitation_list",
    tag = "members",
    params(Paging<InvitationId>),
    responses((status = 200, description = "A page of them.", body = Page<View>)),
    security(("token" = ["members.read"])),
)]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(paging): Query<Paging<InvitationId>>,
) -> Result<Json<Page<View>>, Problem> {
    let invitations = app.store.invitation_list(caller.org, paging.cursor, paging.limit()).await?;
    Ok(Json(Page::of(invitations, paging.limit(), |invitation| invitation.invitation_id).map(View::from)))
}

/// An invitation; also one that is over, for a month after it would have expired.
#[utoipa::path(
    get,
    path = "/api/invitations/{invitation_id}",
    operation_id = "invitation_view",
    tag = "members",
    responses((status = 200, description = "As it is now.", body = View)),
    security(("token" = ["members.read"])),
)]
async fn view(
    State(app): State<App>,
    caller: Caller,
    Path(invitation): Path<InvitationId>,
) -> Result<Json<View>, Problem> {
    let found = app.store.invitation_get(caller.org, invitation).await?;
    found.map(|invitation| Json(invitation.into())).ok_or_else(|| Problem::not_found("invitation"))
}

/// Takes an invitation back. One that was accepted stays accepted: remove the member.
#[utoipa::path(
    delete,
    path = "/api/invitations/{invitation_id}",
    operation_id = "invitation_revoke",
    tag = "members",
    responses((status = 204, description = "It is not open any more."), (status = 503, description = "It is done here, and the recovery ledger does not know of it yet: ask again.")),
    security(("token" = ["members.write"])),
)]
async fn revoke(
    State(app): State<App>,
    caller: Caller,
    Path(invitation): Path<InvitationId>,
) -> Result<StatusCode, Problem> {
    let found = app.store.invitation_revoke(caller.org, invitation, &caller.actor()).await?;
    app.remember().await?;
    if found { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found("invitation")) }
}

#[cfg(test)]
mod tests {
    use domain::tenancy::{Role, Scope};
    use serde_json::json;

    use crate::testing::World;

    #[tokio::test]
    async fn nobody_invites_to_more_than_they_have() {
        let world = World::new().await;
        let admin = world.member(world.org, Role::Admin, &[Scope::Read, Scope::Write]).await;
        let body = |role: &str| json!({"email": "carol@example.org", "role": role});
        world.post_as(&admin, "/api/invitations", body("owner")).await.expect_problem(403, "forbidden");
        world.post_as(&admin, "/api/invitations", body("nobody")).await.expect_problem(404, "not_found");
        let made = world.post_as(&admin, "/api/invitations", body("member")).await.expect(201);
        let path = made["path"].as_str().unwrap().to_owned();
        let list = world.get("/api/invitations").await.expect(200);
        assert_eq!(
            (&list["items"][0]["email"], &list["items"][0]["state"]),
            (&json!("carol@example.org"), &json!("open"))
        );
        assert!(!list.to_string().contains(path.rsplit('=').next().unwrap()), "its token is shown once");
        for days in [0, 31] {
            let body = json!({"email": "carol@example.org", "role": "member", "days": days});
            world.post("/api/invitations", body).await.expect_problem(422, "invalid");
        }
        let revoke = format!("/api/invitations/{}", made["invitation_id"].as_str().unwrap());
        world.delete(&revoke).await.expect(204);
        assert_eq!(world.get("/api/invitations").await.expect(200)["items"][0]["state"], "revoked");
    }

    #[tokio::test]
    async fn an_invitation_is_read_by_itself_as_it_stands_in_the_list_and_by_nobody_of_another_org() {
        let world = World::new().await;
        let body = json!({"email": "carol@example.org", "role": "member"});
        let made = world.post("/api/invitations", body).await.expect(201);
        let path = format!("/api/invitations/{}", made["invitation_id"].as_str().unwrap());
        let (_, stranger) = world.other_org().await;
        for state in ["open", "revoked"] {
            let shown = world.get(&path).await.expect(200);
            assert_eq!(shown["state"], state);
            assert_eq!(world.get("/api/invitations").await.expect(200)["items"], json!([shown]));
            world.get_as(&stranger, &path).await.expect_problem(404, "not_found");
            world.delete(&path).await.expect(204);
        }
    }
}
