//! What must hold for every route, held for every route that the API's description lists: those of the API, and those that stand
//! beside it in the same router. A route can't be in the router without being there (`openapi`).
//!
//! Not here: what single routes do; probes, which are in a router of their own and have no bounds to hold; the gateway's routes,
//! which it describes and holds itself.

use axum::body::Body;
use axum::http::Request;
use axum::http::request::Builder;
use bytes::Bytes;
use domain::details::Tags;
use domain::permission::Permission;
use domain::tenancy::{RoleName, Scope};
use domain::version::Expected;
use serde_json::{Value, json};
use store::{BehindCursor, NewDelivery, NewInteraction, NewSignIn};

use crate::router::BODY_LIMIT;
use crate::sign_in::tests::{Signing, ada};
use crate::testing::{Answer, World, request};

/// Bytes of a body that come at once.
const PIECE: usize = 64 * 1024;

/// An operation of the document.
#[derive(Debug)]
struct Route {
    method: String,
    path: String,
    /// What it takes beyond a token, any of them.
    permissions: Vec<Permission>,
    /// An example of its body, where it has one.
    body: Option<Value>,
    /// What its body is, where it has one.
    media_type: Option<String>,
    /// The statuses that it is described with.
    statuses: Vec<String>,
}

impl Route {
    /// Of the API.
    fn all() -> Vec<Self> {
        Self::described(|path, _| path.starts_with("/api/"))
    }

    /// Those that take no token.
    fn beside() -> Vec<Self> {
        Self::described(|path, operation| !path.starts_with("/api/") && operation["tags"][0] != "probes")
    }

    fn described(wanted: impl Fn(&str, &Value) -> bool) -> Vec<Self> {
        let document = serde_json::to_value(crate::openapi::document()).unwrap();
        let mut routes = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap().iter().filter(|(_, operation)| wanted(path, operation))
            {
                let needs = operation["security"].as_array().unwrap().iter();
                let needs = needs.flat_map(|one| one["token"].as_array().into_iter().flatten());
                let permissions = needs.map(|name| name.as_str().unwrap().parse().unwrap()).collect();
                let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
                // Events of a provider are made by a provider.
                let ours = path.starts_with("/api/") && schema.is_object();
                let body = ours.then(|| example(&document, schema));
                let media_types = operation["requestBody"]["content"].as_object();
                routes.push(Self {
                    method: method.to_uppercase(),
                    path: path.clone(),
                    permissions,
                    body,
                    media_type: media_types.and_then(|types| types.keys().next().cloned()),
                    statuses: operation["responses"].as_object().unwrap().keys().cloned().collect(),
                });
            }
        }
        routes
    }

    /// Whether it names something that belongs to an org.
    fn names_ids(&self) -> bool {
        self.path.contains("_id}") || self.body.as_ref().is_some_and(|body| body.to_string().contains("_id\":"))
    }
}

/// A value that the schema allows, made from the examples that it has.
fn example(document: &Value, schema: &Value) -> Value {
    if let Some(name) = schema["$ref"].as_str() {
        return example(document, document.pointer(name.trim_start_matches('#')).unwrap());
    }
    if let Some(example) = schema.get("example").or(schema["examples"].get(0)) {
        return example.clone();
    }
    if let Some(first) = schema["oneOf"].get(0).or(schema["enum"].get(0)) {
        return if first.is_object() { example(document, first) } else { first.clone() };
    }
    match schema["type"].as_str().or(schema["type"][0].as_str()) {
        Some("object") => {
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            let fields = required.iter().map(|name| name.as_str().unwrap());
            fields.map(|name| (name.to_owned(), example(document, &schema["properties"][name]))).collect()
        }
        Some("array") => json!([example(document, &schema["items"])]),
        Some("integer") => json!(1),
        Some("boolean") => json!(true),
        Some("string") => json!("text"),
        _ => panic!("no example of {schema}"),
    }
}

/// A world with one of everything, and the ids by the names that paths and bodies have for them.
struct Furnished {
    world: World,
    ids: Value,
}

impl Furnished {
    async fn new() -> Self {
        let world = World::new().await;
        let (artifact, _) = crate::artifacts::tests::published(&world).await;
        let artifact = artifact.rsplit('/').next().unwrap();
        let mut ids = json!({
            "account_id": world.owner, "artifact_id": artifact, "role": "ours", "profile": "ours", "part": "1", "kind": "turns",
        });
        let ours = [Permission::AuditRead].into_iter().collect();
        world.app.store.role_put(world.org, "ours", ours, &Expected::Anything, "role:test").await.unwrap();
        let (store, name, tags) = (&world.app.store, "ours".parse().unwrap(), Tags::default());
        store.profile_put(world.org, &name, "scripted", &tags, &Expected::Anything, "role:test").await.unwrap();
        for (path, id) in [
            ("/api/sessions", "session_id"),
            ("/api/sessions/{session_id}/commands", "command_id"),
            ("/api/sessions/{session_id}/uploads", "upload_id"),
            ("/api/channels", "channel_id"),
            ("/api/bindings", "binding_id"),
            ("/api/workflows", "workflow_id"),
            ("/api/workflows/{workflow_id}/triggers", "trigger_id"),
            ("/api/workflows/{workflow_id}/start", "run_id"),
            ("/api/byok-keys", "byok_key_id"),
            ("/api/tokens", "token_id"),
            ("/api/invitations", "invitation_id"),
        ] {
            let route = Route::all().into_iter().find(|route| route.method == "POST" && route.path == path).unwrap();
            let made = send(&world, &world.operator, &route, &ids).await;
            assert!(made.status.is_success(), "{path}: {}", String::from_utf8_lossy(&made.body));
            ids[id] = made.json()[id].clone();
        }
        ids["project_source_id"] = crate::project_sources::tests::made(&world).await["project_source_id"].clone();
        ids["delivery_id"] = delivery(&world, &ids).await;
        ids["interaction_id"] = interaction(&world, &ids).await;
        let channel = ids["channel_id"].as_str().unwrap().parse().unwrap();
        ids["channel_identity_id"] = crate::channel_identities::tests::met(&world, world.org, channel, "u-1").await;
        ids["browser_session_id"] = browser_session(&world).await;
        ids["drill_id"] = crate::drills::tests::left(&world.drill_folder().join("one"), 1).into();
        ids["finding_id"] = crate::drills::tests::found(&world).into();
        Self { world, ids }
    }
}

/// The owner's.
async fn browser_session(world: &World) -> Value {
    let store = &world.app.store;
    let new = NewSignIn {
        issuer: "https://login.example".into(),
        subject: "ada".into(),
        verified_email: Some("ada@example.org".into()),
        org: None,
        invitation: None,
        session_hash: [1; 32],
        sign_in_hash: [1; 32],
        replaces: None,
        user_agent: "a browser".into(),
        expires_at: store.sources().now() + chrono::TimeDelta::days(1),
    };
    json!(store.sign_in(&new).await.unwrap().session)
}

/// A delivery that nobody sends.
async fn delivery(world: &World, ids: &Value) -> Value {
    let store = &world.app.store;
    let new = NewDelivery { command: store.sources().id(), sequence: 1, payload: json!({}), interaction: None };
    assert!(store.cursor_advance(&cursor(world, ids), 1, &[new]).await.unwrap());
    json!(store.delivery_list(world.org, None, None, 1).await.unwrap()[0].delivery_id)
}

/// A question that the thread was told of.
async fn interaction(world: &World, ids: &Value) -> Value {
    let (sources, interaction) = (world.app.store.sources(), world.app.store.sources().id());
    let asked = NewInteraction {
        interaction,
        request_id: "r".into(),
        kind: domain::projection::RequestKind::Approval,
        token_hash: sources.bytes(),
        expires_at: NewInteraction::expiry(sources.now()),
        generation: 1,
    };
    let new = NewDelivery { command: sources.id(), sequence: 2, payload: json!({}), interaction: Some(asked) };
    assert!(world.app.store.cursor_advance(&cursor(world, ids), 1, &[new]).await.unwrap());
    json!(interaction)
}

fn cursor(world: &World, ids: &Value) -> BehindCursor {
    let id = |name: &str| ids[name].as_str().unwrap();
    BehindCursor {
        org: world.org,
        binding_id: id("binding_id").parse().unwrap(),
        channel_id: id("channel_id").parse().unwrap(),
        thread: "general".into(),
        session_id: id("session_id").parse().unwrap(),
        sequence: 1,
    }
}

/// Calls a route with the ids that it needs.
async fn send(world: &World, token: &str, route: &Route, ids: &Value) -> Answer {
    let request = request(&route.method, &filled(&route.path, ids), token);
    let body = route.body.clone().map(|mut body| {
        for (name, value) in body.as_object_mut().unwrap().iter_mut().filter(|(name, _)| name.ends_with("_id")) {
            if let Some(id) = ids.get(name) {
                *value = id.clone();
            }
        }
        body.to_string()
    });
    let request = request.header("content-type", "application/json");
    world.send(request.body(body.map_or_else(Body::empty, Body::from)).unwrap()).await
}

fn filled(path: &str, ids: &Value) -> String {
    let part = |part: &str| match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
        Some(name) => ids[name].as_str().unwrap_or_else(|| panic!("nothing is made for {name} in {path}")).to_owned(),
        None => part.to_owned(),
    };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn no_route_answers_somebody_without_a_token() {
    let Furnished { world, ids } = Furnished::new().await;
    for route in Route::all() {
        let request = Request::builder().method(&*route.method).uri(filled(&route.path, &ids));
        let answer = world.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, 401, "{route:?}");
    }
}

/// Asks `route` for something, changed by `change`, and expects a refusal that its description has.
async fn refused(
    (world, route, path): (&World, &Route, &str),
    (status, code): (u16, &str),
    change: impl FnOnce(Builder) -> Request<Body>,
) -> Answer {
    let answer = world.send(change(request(&route.method, path, &world.operator))).await;
    let said = String::from_utf8_lossy(&answer.body);
    assert_eq!(answer.status.as_u16(), status, "{route:?}: {said}");
    answer.expect_problem(status, code);
    assert!(route.statuses.contains(&status.to_string()), "{route:?} is not described with {status}");
    answer
}

#[tokio::test]
async fn every_route_refuses_what_is_beyond_its_limits_as_it_says() {
    let Furnished { mut world, ids } = Furnished::new().await;
    let plain = |request: Builder| request.body(Body::empty()).unwrap();
    let mut measured = 0;
    for route in &Route::all() {
        let path = filled(&route.path, &ids);
        let asked = |path| (&world, route, path);
        let long = format!("{path}?{}", "x".repeat(8 * 1024));
        refused(asked(&*long), (414, "address_too_long"), plain).await;
        let filler = |request: Builder| plain(request.header("x-filler", "x".repeat(16 * 1024)));
        refused(asked(&*path), (431, "headers_too_large"), filler).await;
        let announced = |request: Builder| plain(request.header("content-length", BODY_LIMIT + 1));
        refused(asked(&*path), (413, "too_large"), announced).await;
        if let Some(media_type) = &route.media_type {
            // Nobody says how long it is.
            let pieces = (0..=BODY_LIMIT / PIECE).map(|_| Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; PIECE])));
            let streamed = Body::from_stream(futures::stream::iter(pieces));
            let streams = |request: Builder| request.header("content-type", media_type).body(streamed).unwrap();
            refused(asked(&*path), (413, "too_large"), streams).await;
            measured += 1;
        }
    }
    assert!(measured > 20, "{measured}");
    world.limit(1);
    world.get("/api/usage").await.expect(200);
    for route in &Route::all() {
        let path = filled(&route.path, &ids);
        let answer = refused((&world, route, &path), (429, "too_many_requests"), plain).await;
        assert!(answer.headers.contains_key("retry-after"), "{route:?}");
    }
}

#[tokio::test]
async fn what_stands_beside_the_api_keeps_its_bounds_and_lets_nobody_in_who_shows_nothing() {
    let world = World::new().await;
    let plain = |request: Builder| request.body(Body::empty()).unwrap();
    let mut asked = 0;
    for route in &Route::beside() {
        let to = |path| (&world, route, path);
        let long = format!("{}?{}", route.path, "x".repeat(8 * 1024));
        refused(to(&*long), (414, "address_too_long"), plain).await;
        let filler = |request: Builder| plain(request.header("x-filler", "x".repeat(16 * 1024)));
        refused(to(&*route.path), (431, "headers_too_large"), filler).await;
        let announced = |request: Builder| plain(request.header("content-length", BODY_LIMIT + 1));
        refused(to(&*route.path), (413, "too_large"), announced).await;

        let nobody = Request::builder().method(&*route.method).uri(&*route.path);
        let answer = world.send(nobody.body(Body::empty()).unwrap()).await;
        let status = answer.status.as_u16().to_string();
        assert!(route.statuses.contains(&status), "{route:?} is not described with {status}");
        assert!(!answer.headers.contains_key("set-cookie") || status.starts_with('4'), "{route:?}: {status}");
        asked += 1;
    }
    assert_eq!(asked, 4);
}

#[tokio::test]
async fn no_route_that_changes_something_takes_a_cookie_alone() {
    let signing = Signing::new().await;
    let browser = signing.signed_in(ada()).await;
    let mut asked = 0;
    for route in Route::all().iter().filter(|route| route.method != "GET") {
        let nobody = |part: &str| if part.starts_with('{') { uuid::Uuid::nil().to_string() } else { part.to_owned() };
        let path = route.path.split('/').map(nobody).collect::<Vec<_>>().join("/");
        let request = browser.request(&route.method, &path).body(Body::empty()).unwrap();
        signing.world.send(request).await.expect_problem(403, "cross_site");
        asked += 1;
    }
    assert!(asked > 20, "{asked}");
}

#[tokio::test]
async fn every_route_asks_for_the_permission_that_it_names_and_for_no_more() {
    let Furnished { world, ids } = Furnished::new().await;
    let mut asked = 0;
    for route in Route::all() {
        let (needed, others): (Vec<Permission>, Vec<_>) =
            Permission::ALL.iter().copied().partition(|permission| route.permissions.contains(permission));
        if !needed.is_empty() {
            // Above orgs by all others, so that no role stands in the way.
            let without = token(&world, &others).await;
            assert_eq!(send(&world, &without, &route, &ids).await.status, 403, "{route:?}");
            asked += 1;
        }
        // What goes away would be missed by the others, and what gives permissions takes those, too.
        let gives =
            ["/api/invitations", "/api/members", "/api/members/{account_id}", "/api/roles/{role}", "/api/tokens"];
        let gives = gives.contains(&route.path.as_str());
        if route.method != "DELETE" && !(gives && route.method != "GET") {
            let with = token(&world, &needed).await;
            assert_ne!(send(&world, &with, &route, &ids).await.status, 403, "{route:?}");
            // Else it would be the answer to everything that follows.
            world.app.store.maintenance_end("role:test").await.unwrap();
        }
    }
    assert!(asked > 40, "{asked}");
}

/// The token of a new account that may do all of this and nothing else.
async fn token(world: &World, permissions: &[Permission]) -> String {
    let within = permissions.iter().copied().filter(|permission| !permission.above_orgs());
    let scopes: Vec<Scope> = permissions.iter().copied().map(Scope::Only).collect();
    let role = RoleName::Custom(format!("only-{}", hex::encode(world.app.store.sources().bytes::<8>())));
    let (store, expected) = (&world.app.store, Expected::Anything);
    store.role_put(world.org, role.as_str(), within.collect(), &expected, "role:test").await.unwrap();
    let token = world.member(world.org, role, &scopes).await;
    let has = world.get_as(&token, "/api/workspace").await.expect(200)["permissions"].as_array().unwrap().len();
    assert_eq!(has, permissions.len());
    token
}

#[tokio::test]
async fn nothing_of_another_org_is_found_under_any_route() {
    let Furnished { world, ids } = Furnished::new().await;
    let (_, stranger) = world.other_org().await;
    let secrets: Vec<&str> =
        ids.as_object().unwrap().values().map(|id| id.as_str().unwrap()).filter(|id| id.len() == 36).collect();
    for route in Route::all() {
        if route.permissions.iter().any(|permission| permission.above_orgs()) {
            continue;
        }
        let answer = send(&world, &stranger, &route, &ids).await;
        if route.names_ids() {
            assert_eq!(answer.status, 404, "{route:?}: {}", String::from_utf8_lossy(&answer.body));
        }
        let said = String::from_utf8_lossy(&answer.body);
        assert!(!secrets.iter().any(|id| said.contains(id)), "{route:?}: {said}");
    }
    // They are all there for their owner, so the answers above say something.
    for route in Route::all().iter().filter(|route| route.names_ids() && route.method == "GET") {
        let erased = route.path.starts_with("/api/subjects");
        assert_eq!(
            send(&world, &world.operator, route, &ids).await.status,
            if erased { 404 } else { 200 },
            "{route:?}"
        );
    }
}
