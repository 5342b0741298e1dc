//! Interactions: the questions of a session that threads were told of, each with a token that decides it once.
//!
//! No token is shown: only the thread has it.
//!
//! Not here: deciding by one, which a message does (`gateway`), deciding by the API (`commands`).

use axum::extract::State;
use clock::Timestamp;
use ids::{BindingId, ChannelIdentityId, CommandId, InteractionId, SessionId};
use serde::Serialize;
use store::Interaction;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::Caller;
use crate::extract::{Json, Path, Query};
use crate::page::{Page, Paging};
use crate::problem::Problem;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(view))
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Interaction)]
struct View {
    interaction_id: InteractionId,
    session_id: SessionId,
    /// The thread that was told.
    binding_id: BindingId,
    request_id: String,
    /// `approval` or `answer`.
    kind: String,
    /// `open`; `decided` by its token; `ended`: somebody else spoke to the question, or its turn has ended; `expired`; `void`: the
    /// system was restored since.
    state: &'static str,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// `approve`, `reject` or `answer`, if it was decided by its token.
    decision: Option<String>,
    decided_by: Option<ChannelIdentityId>,
    command_id: Option<CommandId>,
    #[schema(value_type = Option<String>, format = DateTime)]
    decided_at: Option<Timestamp>,
}

impl From<Interaction> for View {
    fn from(interaction: Interaction) -> Self {
        let Interaction { interaction_id, session_id, binding_id, request_id, kind, state, .. } = interaction;
        let Interaction { created_at, expires_at, decision, decided_by, command_id, decided_at, .. } = interaction;
        Self {
            interaction_id,
            session_id,
            binding_id,
            request_id,
            kind,
            state: state.as_str(),
            created_at,
            expires_at,
            decision,
            decided_by,
            command_id,
            decided_at,
        }
    }
}

/// The questions of a session that threads were told of, oldest first.
#[utoipa::path(
    get,
    path = "/api/sessions/{session_id}/interactions",
    operation_id = "interaction_list",
    tag = "channels",
    params(Paging<InteractionId>),
    responses((status = 200, description = "A page of them.", body = Page<View>)),
    security(("token" = ["channels.read"])),
)]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Path(session): Path<SessionId>,
    Query(paging): Query<Paging<InteractionId>>,
) -> Result<Json<Page<View>>, Problem> {
    let last = app.store.session_last_sequence(caller.org, session).await?;
    last.ok_or_else(|| Problem::not_found("session"))?;
    let generation = app.generation.generation;
    let of = (caller.org, session);
    let found = app.store.interaction_list(of, generation, None, paging.cursor, paging.limit()).await?;
    Ok(Json(Page::of(found, paging.limit(), |interaction| interaction.interaction_id).map(View::from)))
}

/// A question that a thread was told of.
#[utoipa::path(
    get,
    path = "/api/sessions/{session_id}/interactions/{interaction_id}",
    operation_id = "interaction_view",
    tag = "channels",
    responses((status = 200, description = "What became of it.", body = View)),
    security(("token" = ["channels.read"])),
)]
async fn view(
    State(app): State<App>,
    caller: Caller,
    Path((session, interaction)): Path<(SessionId, InteractionId)>,
) -> Result<Json<View>, Problem> {
    let generation = app.generation.generation;
    let found = app.store.interaction_list((caller.org, session), generation, Some(interaction), None, 1).await?;
    let found = found.into_iter().next().ok_or_else(|| Problem::not_found("interaction"))?;
    Ok(Json(found.into()))
}
