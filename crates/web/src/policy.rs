//! The policy of the org: what it allows. Everybody who is in the org reads it; whoever has `policy.write` sets it, whole.
//!
//! What was there before a rule stays, and is refused where it would do something next (decision 0087).
//!
//! Not here: what a rule means (`domain::policy`), where it is kept to (`agents`, `tokens`, `channels`, `invitations`, `members`,
//! and in `store` and `gateway` for what begins without a request).

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use clock::Timestamp;
use domain::policy::{ENTRIES_MAX, NamePattern, NotAPattern, Policy, TOKEN_DAYS_MAX};
use serde::{Deserialize, Serialize};
use store::OrgPolicy;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::Caller;
use crate::etag;
use crate::extract::Json;
use crate::problem::Problem;
use crate::text::Word;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(view, put))
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Policy)]
struct PolicyView {
    /// Agents that sessions, workflows and profiles may have. `null`: any.
    agents: Option<Vec<String>>,
    /// Days that an API token may live from when it is made. `null`: for ever.
    token_days_max: Option<i64>,
    /// Hosts that channels may lead to; `*.example.org` is every name below `example.org`. `null`: any.
    #[schema(value_type = Option<Vec<String>>)]
    channel_hosts: Option<Vec<NamePattern>>,
    /// Domains of the addresses of those who may become members, written as hosts are. `null`: any.
    #[schema(value_type = Option<Vec<String>>)]
    member_domains: Option<Vec<NamePattern>>,
    /// `null`: nobody has set one.
    #[schema(value_type = Option<String>, format = DateTime)]
    updated_at: Option<Timestamp>,
}

impl From<OrgPolicy> for PolicyView {
    fn from(OrgPolicy { policy, updated_at, version: _ }: OrgPolicy) -> Self {
        let Policy { agents, token_days_max, channel_hosts, member_domains } = policy;
        Self { agents, token_days_max, channel_hosts, member_domains, updated_at }
    }
}

/// A rule that is left out restricts nothing; an empty list allows nothing.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = PutPolicy, example = json!({"token_days_max": 365}))]
#[serde(deny_unknown_fields)]
struct Put {
    #[schema(inline, max_items = 100, example = json!(["scripted"]))]
    agents: Option<Vec<Word>>,
    #[serde(default, deserialize_with = "crate::number::whole_or_none")]
    #[schema(minimum = 1, maximum = 3650)]
    token_days_max: Option<i64>,
    /// Names of hosts or addresses, without port; `*.example.org` is every name below `example.org`, and not itself.
    #[schema(max_items = 100, example = json!(["chat.example", "*.hooks.example"]))]
    channel_hosts: Option<Vec<String>>,
    #[schema(max_items = 100, example = json!(["example.org"]))]
    member_domains: Option<Vec<String>>,
}

impl Put {
    fn check(self) -> Result<Policy, Problem> {
        if self.token_days_max.is_some_and(|days| !(1..=TOKEN_DAYS_MAX).contains(&days)) {
            return Err(Problem::invalid("token_days_max is 1 to 3650; leave it out to let tokens live for ever"));
        }
        let agents = self.agents.map(|agents| agents.iter().map(Word::trimmed).collect());
        Ok(Policy {
            agents: list("agents", agents)?,
            token_days_max: self.token_days_max,
            channel_hosts: patterns("channel_hosts", self.channel_hosts)?,
            member_domains: patterns("member_domains", self.member_domains)?,
        })
    }
}

/// Sorted, each once.
fn list<T: Ord>(name: &str, entries: Option<Vec<T>>) -> Result<Option<Vec<T>>, Problem> {
    let Some(mut entries) = entries else { return Ok(None) };
    if entries.len() > ENTRIES_MAX {
        return Err(Problem::invalid(format!("{name} has at most {ENTRIES_MAX} entries")));
    }
    entries.sort_unstable();
    entries.dedup();
    Ok(Some(entries))
}

fn patterns(name: &str, texts: Option<Vec<String>>) -> Result<Option<Vec<NamePattern>>, Problem> {
    let Some(texts) = list(name, texts)? else { return Ok(None) };
    let read: Result<Vec<NamePattern>, NotAPattern> = texts.iter().map(|text| text.parse()).collect();
    // Two spellings can be one host.
    list(name, Some(read.map_err(|error| Problem::invalid(format!("{name}: {error}")))?))
}

/// What the org allows. One that nobody has set has no rules.
#[utoipa::path(
    get,
    path = "/api/policy",
    operation_id = "policy_view",
    tag = "installation",
    responses((status = 200, description = "As it is now.", body = PolicyView, headers(("ETag" = String, description = "Strong; of its present state."))), (status = 304, description = "The reader has it: `If-None-Match` named its `ETag`.")),
    security(("token" = [])),
)]
async fn view(State(app): State<App>, caller: Caller, request: HeaderMap) -> Result<Response, Problem> {
    let found = app.store.policy_get(caller.org).await?;
    etag::tagged_unless_known(&app, found.version, &request, PolicyView::from(found))
}

/// Sets what the org allows, whole: a rule that is left out restricts nothing.
///
/// What the new rules don't allow is refused from now on with 403 `refused_by_policy`. What is there already stays: a session whose
/// agent is not allowed any more is read and takes no prompts, its workflow's slots are skipped; tokens that were made live as long
/// as they were to; deliveries to a host that is not allowed become dead letters; an invitation to an address that is not allowed
/// lets nobody in while the rule stands; members stay. What was taken down before is carried out.
#[utoipa::path(
    put,
    path = "/api/policy",
    operation_id = "policy_put",
    tag = "installation",
    request_body = Put,
    responses((status = 200, description = "As it is now.", body = PolicyView, headers(("ETag" = String, description = "Of the new state."))), (status = 412, description = "It is not in the state that `If-Match` names; an org always has a policy, so `If-None-Match: *` never holds.")),
    security(("token" = ["policy.write"])),
)]
async fn put(
    State(app): State<App>,
    caller: Caller,
    request: HeaderMap,
    Json(new): Json<Put>,
) -> Result<Response, Problem> {
    let expected = etag::expected(&app, &request)?;
    let put = app.store.policy_put(caller.org, &new.check()?, &expected, &caller.actor()).await?;
    Ok(etag::tagged(&app, put.version, PolicyView::from(put)))
}

#[cfg(test)]
mod tests;
