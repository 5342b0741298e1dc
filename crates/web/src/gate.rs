//! Whether a caller may do what a route does.
//!
//! The permission of a route stands in its description (`security` of `#[utoipa::path]`) and nowhere else: what people read is
//! what is asked for. A route whose description names none takes any token; a route without a description is refused.
//!
//! Not here: who is calling (`auth`); asking again while a stream goes on (`events::readers`); what depends on the
//! request and not on the route alone, which its handler asks (`Caller::may`).

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use domain::permission::{Permission, Permissions};
use serde_json::Value;
use utoipa::openapi::PathItem;

use crate::auth::Caller;
use crate::openapi::TOKEN;
use crate::problem::Problem;
use crate::router;

/// Any one of them is enough; none: a token is.
type Needs = Vec<Permission>;

static GATES: LazyLock<HashMap<String, Vec<(Method, Needs)>>> = LazyLock::new(gates);

/// Lets a request through if its caller has a permission that its route takes.
pub(crate) async fn guard(request: Request, next: Next) -> Result<Response, Problem> {
    let caller = request.extensions().get::<Caller>().ok_or_else(Problem::unauthenticated)?;
    let gate = request.extensions().get::<MatchedPath>().and_then(|path| Gate::of(path, request.method()));
    let gate = gate.ok_or_else(|| Problem::forbidden("this address has no description, and nobody may use it"))?;
    if gate.lets_through(caller.permissions) {
        return Ok(next.run(request).await);
    }
    let names: Vec<&str> = gate.0.iter().map(|permission| permission.as_str()).collect();
    Err(Problem::forbidden(format!(
        "this takes the permission {}, of the token and of its account's role",
        names.join(" or ")
    )))
}

/// What one route takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Gate(&'static [Permission]);

impl Gate {
    /// `None`: the route has no description.
    pub(crate) fn of(path: &MatchedPath, method: &Method) -> Option<Self> {
        // Axum answers HEAD with what answers GET.
        let method = if method == Method::HEAD { &Method::GET } else { method };
        GATES.get(path.as_str())?.iter().find(|(known, _)| known == method).map(|(_, needs)| Self(needs))
    }

    pub(crate) fn lets_through(self, permissions: Permissions) -> bool {
        self.0.is_empty() || self.0.iter().any(|permission| permissions.contains(*permission))
    }
}

/// Every route that somebody may use, by method and pattern.
pub(crate) fn routes() -> impl Iterator<Item = (&'static Method, &'static str)> {
    GATES.iter().flat_map(|(path, gates)| gates.iter().map(move |(method, _)| (method, path.as_str())))
}

/// From the descriptions as the routes have them: the whole document in JSON takes an idle role 17 MiB.
fn gates() -> HashMap<String, Vec<(Method, Needs)>> {
    let paths = router::described().into_openapi().paths.paths;
    paths.into_iter().map(|(path, item)| (path, operations(item))).collect()
}

fn operations(item: PathItem) -> Vec<(Method, Needs)> {
    let PathItem { get, put, post, patch, delete, .. } = item;
    let all = [(Method::GET, get), (Method::PUT, put), (Method::POST, post), (Method::PATCH, patch)];
    let all = all.into_iter().chain([(Method::DELETE, delete)]);
    // The types do not show what security requirements hold, their JSON does.
    all.filter_map(|(method, operation)| Some((method, named(&serde_json::to_value(operation?.security).ok()?)?)))
        .collect()
}

/// `None`, and so refused: its description names no token, as that of a route beside the API, or a permission that there is not.
fn named(security: &Value) -> Option<Needs> {
    let tokens = security.as_array()?.iter().filter_map(|one| one[TOKEN].as_array());
    let tokens: Vec<&Vec<Value>> = tokens.collect();
    if tokens.is_empty() {
        return None;
    }
    let names = tokens.into_iter().flatten();
    names.map(|name| name.as_str()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_description_without_a_token_opens_nothing() {
        for nobodys in
            [json!(null), json!([]), json!([{}]), json!([{"session": []}]), json!([{"token": ["there.is.no.such"]}])]
        {
            assert_eq!(named(&nobodys), None, "{nobodys}");
        }
        assert_eq!(named(&json!([{"token": []}])), Some(Vec::new()));
        let audit = json!([{"token": ["audit.read"]}, {"session": ["audit.read"]}]);
        assert_eq!(named(&audit), Some(vec![Permission::AuditRead]));
    }

    #[test]
    fn what_stands_beside_the_api_has_no_gate() {
        assert!(routes().count() > 100 && routes().all(|(_, path)| path.starts_with("/api/")));
    }
}
