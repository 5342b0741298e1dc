//! The list of an org's sessions, whole or searched.

use axum::extract::State;
use domain::details::{self, TermError};
use domain::projection::SessionState;
use ids::SessionId;
use serde::Deserialize;
use store::SessionSearch;
use utoipa::IntoParams;

use super::SessionView;
use crate::app::App;
use crate::auth::Caller;
use crate::extract::{Json, Query};
use crate::page::{Page, Paging};
use crate::problem::Problem;
use crate::text::Text;

/// Words of titles that are there.
type Words = Text<1, 200>;
/// What a session that is there has.
type Agent = Text<1, 100>;

/// What a session must be to be listed: all of it.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Words that its title must have, each whole, in any order and case.
    #[param(inline)]
    q: Option<Words>,
    /// Tags that it must have, with commas between them.
    #[param(max_length = 1100)]
    tags: Option<String>,
    archived: Option<bool>,
    #[param(inline)]
    agent: Option<Agent>,
    state: Option<SessionState>,
}

impl Filter {
    /// `None`: every session is listed.
    fn search(self) -> Result<Option<SessionSearch>, Problem> {
        let text = self.q.map(Words::whole);
        let tags: Vec<&str> = self.tags.as_deref().into_iter().flat_map(|tags| tags.split(',')).collect();
        let terms =
            details::wanted(text.as_deref(), &tags).map_err(|error: TermError| Problem::invalid(error.to_string()))?;
        let agent = self.agent.map(|agent| agent.trimmed());
        let any = terms.is_empty() && self.archived.is_none() && agent.is_none() && self.state.is_none();
        let search = SessionSearch { terms, archived: self.archived, agent, state: self.state };
        Ok((!any).then_some(search))
    }
}

/// The sessions of the org, oldest first; all of them, or those that match.
///
/// A page of a search may have fewer sessions than its limit, or none, though there are more: go on until `next_cursor` is
/// `null`. It looks at a bounded number of sessions, so that it takes as long among a million.
#[utoipa::path(
    get,
    path = "/api/sessions",
    operation_id = "session_list",
    tag = "sessions",
    params(Paging<SessionId>, Filter),
    responses((status = 200, description = "A page of them.", body = Page<SessionView>)),
    security(("token" = ["sessions.read"])),
)]
pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(paging): Query<Paging<SessionId>>,
    Query(filter): Query<Filter>,
) -> Result<Json<Page<SessionView>>, Problem> {
    let Some(search) = filter.search()? else {
        let sessions = app.store.sessions_list(caller.org, paging.cursor, paging.limit()).await?;
        return Ok(Json(Page::of(sessions, paging.limit(), |session| session.session_id).map(SessionView::from)));
    };
    let (found, next) = app.store.sessions_search(caller.org, &search, paging.cursor, paging.limit()).await?;
    let items = found.into_iter().map(SessionView::from).collect();
    Ok(Json(Page { items, next_cursor: next.map(|session| session.to_string()) }))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::testing::World;

    async fn titles(world: &World, query: &str) -> Vec<String> {
        let listed = world.get(&format!("/api/sessions?{query}")).await.expect(200);
        assert_eq!(listed["next_cursor"], Value::Null);
        listed["items"].as_array().unwrap().iter().map(|item| item["title"].as_str().unwrap().to_owned()).collect()
    }

    #[tokio::test]
    async fn sessions_are_listed_by_what_people_say_of_them() {
        let world = World::new().await;
        for (title, change) in [
            ("Plan the week", json!({"tags": ["ops"]})),
            ("Plan the year", json!({"tags": ["ops", "big"], "archived": true})),
            ("Groceries", json!({})),
        ] {
            let created = world.post("/api/sessions", json!({"title": title})).await.expect(201);
            let path = format!("/api/sessions/{}/details", created["session_id"].as_str().unwrap());
            world.patch(&path, change).await.expect(200);
        }
        assert_eq!(titles(&world, "q=plan").await, ["Plan the week", "Plan the year"]);
        assert_eq!(titles(&world, "q=the%20PLAN&archived=false").await, ["Plan the week"]);
        assert_eq!(titles(&world, "tags=ops,big").await, ["Plan the year"]);
        assert_eq!(titles(&world, "archived=false").await, ["Plan the week", "Groceries"]);
        assert_eq!(titles(&world, "state=running").await, Vec::<String>::new());
        assert_eq!(titles(&world, "agent=scripted&state=idle&q=groceries").await, ["Groceries"]);
        assert_eq!(titles(&world, "").await.len(), 3, "archived ones are listed with the others");
        for query in ["q=%3F", "q=", "tags=a%20b", "tags=", "state=asleep", "archived=maybe", "cursor=x"] {
            world.get(&format!("/api/sessions?{query}")).await.expect_problem(422, "invalid");
        }
        let (_, stranger) = world.other_org().await;
        assert_eq!(world.get_as(&stranger, "/api/sessions?q=plan").await.expect(200)["items"], json!([]));
    }
}
