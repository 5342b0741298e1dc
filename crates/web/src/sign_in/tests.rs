mod provider;

use axum::body::Body;
use axum::http::Request;
use domain::tenancy::{Role, Scope};
use serde_json::{Value, json};
use store::NewMember;

use self::provider::{CLIENT, Lie};
use super::*;
use crate::testing::{Answer, World, request};

const ORIGIN: &str = "https://cowork.example";

/// A world in which people sign in, and their provider.
pub(crate) struct Signing {
    pub(crate) world: World,
    provider: Arc<provider::Provider>,
}

/// A browser with its cookies.
#[derive(Debug, Default, Clone)]
pub(crate) struct Browser {
    cookies: Vec<(String, String)>,
}

pub(crate) fn ada() -> Value {
    json!({"sub": "ada", "email": "Ada@example.org", "email_verified": true})
}

impl Signing {
    pub(crate) async fn new() -> Self {
        let mut world = World::new().await;
        let provider = provider::Provider::start(world.app.store.sources()).await;
        world.sign_in(settings(&provider, &[]));
        Self { world, provider }
    }

    /// Goes to the provider and lets it sign `person` in: where the browser is sent then.
    async fn away(&self, browser: &mut Browser, path: &str, person: Value) -> String {
        let sent = browser.get(&self.world, path).await;
        assert_eq!(sent.status, 303, "{}", String::from_utf8_lossy(&sent.body));
        let address = Url::parse(sent.headers["location"].to_str().unwrap()).unwrap();
        let (code, state) = self.provider.grant(&address, person);
        format!("/auth/callback?code={code}&state={state}&iss={}&session_state=1", self.provider.issuer)
    }

    async fn try_with(&self, browser: &mut Browser, person: Value) -> Answer {
        let back = self.away(browser, "/auth/sign-in", person).await;
        browser.get(&self.world, &back).await
    }

    pub(crate) async fn signed_in(&self, person: Value) -> Browser {
        let mut browser = Browser::default();
        let answer = self.try_with(&mut browser, person).await;
        assert_eq!(answer.status, 303, "{}", String::from_utf8_lossy(&answer.body));
        browser
    }

    async fn member(&self, name: &str, role: Role) -> Value {
        let email = format!("{name}@example.org");
        let new = NewMember { email: email.clone(), display_name: name.into(), role: role.into() };
        self.world.app.store.member_add(self.world.org, &new, "role:test").await.unwrap().unwrap();
        json!({"sub": name, "email": email, "email_verified": true})
    }
}

impl Browser {
    pub(crate) fn request(&self, method: &str, path: &str) -> axum::http::request::Builder {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = Request::builder().method(method).uri(path).header("user-agent", "Lynx");
        if cookies.is_empty() { request } else { request.header("cookie", cookies.join("; ")) }
    }

    async fn get(&mut self, world: &World, path: &str) -> Answer {
        let answer = world.send(self.request("GET", path).body(Body::empty()).unwrap()).await;
        self.keep(&answer);
        answer
    }

    async fn csrf(&mut self, world: &World) -> String {
        let current = self.get(world, "/api/browser-sessions/current").await.expect(200);
        current["csrf_token"].as_str().unwrap().to_owned()
    }

    /// As our own pages do it.
    async fn delete(&mut self, world: &World, path: &str) -> Answer {
        let csrf = self.csrf(world).await;
        let request = self.request("DELETE", path).header("origin", ORIGIN).header("cowork-csrf-token", csrf);
        let answer = world.send(request.body(Body::empty()).unwrap()).await;
        self.keep(&answer);
        answer
    }

    fn keep(&mut self, answer: &Answer) {
        for line in answer.headers.get_all("set-cookie") {
            let line = line.to_str().unwrap();
            assert!(line.contains("; Path=/; ") && line.ends_with("; HttpOnly; SameSite=Lax; Secure"), "{line}");
            let (name, value) = line.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.retain(|(known, _)| known != name);
            if !line.contains("Max-Age=0") {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    fn has(&self, name: &str) -> bool {
        self.cookies.iter().any(|(known, _)| known == name)
    }
}

fn settings(provider: &provider::Provider, domains: &[&str]) -> SignInSettings {
    SignInSettings {
        issuer: provider.issuer.clone(),
        client_id: CLIENT.into(),
        client_secret: provider.client_secret.clone().into_bytes().into(),
        redirect_url: format!("{ORIGIN}/auth/callback"),
        email_domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
        idle: TimeDelta::hours(12),
        lifetime: TimeDelta::days(7),
    }
}

#[tokio::test]
async fn a_member_signs_in_and_is_who_they_are() {
    let signing = Signing::new().await;
    let (world, mut browser) = (&signing.world, Browser::default());
    let back = signing.away(&mut browser, "/auth/sign-in?return_to=/sessions%3Fa=1", ada()).await;
    let answer = browser.get(world, &back).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.headers["location"]),
        (303, &HeaderValue::from_static("/sessions?a=1"))
    );
    assert!(browser.has("__Host-cowork") && !browser.has("__Host-cowork-sign-in"));

    let seen = browser.get(world, "/api/workspace").await.expect(200);
    assert_eq!(seen["account"], json!({"account_id": world.owner, "display_name": "Ada", "role": "owner"}));
    assert_eq!(seen["permissions"].as_array().unwrap().len(), Role::Owner.permissions().iter().count());
    browser.get(world, "/api/diagnostics").await.expect_problem(403, "forbidden");
    let audit = world.get("/api/audit").await.expect(200);
    let actions: Vec<_> = audit["items"].as_array().unwrap().iter().map(|item| item["action"].clone()).collect();
    assert!(actions.contains(&json!("account.link")) && actions.contains(&json!("browser_session.create")));
}

#[tokio::test]
async fn who_is_no_member_is_told_so_and_gets_no_account() {
    let mut signing = Signing::new().await;
    let eve = json!({"sub": "eve", "email": "eve@example.org", "email_verified": true});
    let unverified = json!({"sub": "ada", "email": "ada@example.org", "email_verified": false});
    let silent = json!({"sub": "ada", "email": "ada@example.org"});
    for person in [eve.clone(), unverified, silent] {
        let mut browser = Browser::default();
        signing.try_with(&mut browser, person).await.expect_problem(403, "sign_in_not_a_member");
        assert!(browser.cookies.is_empty());
    }
    let mut browser = Browser::default();
    let back = signing.away(&mut browser, "/auth/sign-in", eve).await;
    let request = browser.request("GET", &back).header("accept", "text/html,*/*;q=0.8").body(Body::empty()).unwrap();
    let page = signing.world.send(request).await;
    assert_eq!(
        (page.status.as_u16(), &page.headers["content-type"]),
        (403, &HeaderValue::from_static("text/html; charset=utf-8"))
    );
    assert!(String::from_utf8_lossy(&page.body).contains("You are not a member here"));
    assert_eq!(signing.world.app.store.diagnostics_counts().await.unwrap()["accounts"], 1);

    signing.world.sign_in(settings(&signing.provider, &["elsewhere.example"]));
    signing.try_with(&mut Browser::default(), ada()).await.expect_problem(403, "sign_in_not_a_member");
    signing.world.sign_in(settings(&signing.provider, &["elsewhere.example", "EXAMPLE.org"]));
    signing.signed_in(ada()).await;
}

#[tokio::test]
async fn who_is_invited_becomes_a_member_by_signing_in() {
    let signing = Signing::new().await;
    let world = &signing.world;
    let body = json!({"email": "Eve@example.org", "role": "viewer"});
    let path = world.post("/api/invitations", body).await.expect(201)["path"].as_str().unwrap().to_owned();
    let (mut eve, mut mallory) = (Browser::default(), Browser::default());
    let person = |name: &str| json!({"sub": name, "email": format!("{name}@example.org"), "email_verified": true});
    let back = signing.away(&mut mallory, &path, person("mallory")).await;
    mallory.get(world, &back).await.expect_problem(403, "sign_in_not_invited");
    let back = signing.away(&mut eve, &path, person("eve")).await;
    assert_eq!(eve.get(world, &back).await.status, 303);
    let seen = eve.get(world, "/api/workspace").await.expect(200);
    assert_eq!(
        (&seen["account"]["role"], &seen["account"]["display_name"]),
        (&json!("viewer"), &json!("eve@example.org"))
    );
    let back = signing.away(&mut eve, &path, person("eve")).await;
    eve.get(world, &back).await.expect_problem(403, "sign_in_not_invited");
    eve.get(world, "/auth/sign-in?invitation=coi_1").await.expect_problem(403, "sign_in_not_invited");
    assert_eq!(world.app.store.outbox_backlog().await.unwrap().rows, 0, "the ledger knows");
}

#[tokio::test]
async fn an_address_that_only_user_info_tells_is_asked_for() {
    let signing = Signing::new().await;
    signing.provider.shy();
    signing.signed_in(ada()).await;
    signing.provider.lie(Lie::Claim("person", "eve"));
    signing.try_with(&mut Browser::default(), ada()).await.expect_problem(403, "sign_in_not_vouched_for");
}

#[tokio::test]
async fn a_sign_in_is_completed_once_in_its_own_browser_and_within_ten_minutes() {
    let signing = Signing::new().await;
    let world = &signing.world;
    let refused = "sign_in_not_begun_here";
    let (mut browser, mut other) = (Browser::default(), Browser::default());
    let back = signing.away(&mut browser, "/auth/sign-in", ada()).await;
    let begun = browser.clone();
    other.get(world, &back).await.expect_problem(403, refused);
    signing.away(&mut other, "/auth/sign-in", ada()).await;
    other.get(world, &back).await.expect_problem(403, refused);
    assert_eq!(browser.get(world, &back).await.status, 303);
    // With the cookie that was taken from the browser, the provider is in the way, and behind it the row.
    begun.clone().get(world, &back).await.expect_problem(403, "sign_in_not_vouched_for");
    let back = back_again(&signing, &begun, &back).await;
    begun.clone().get(world, &back).await.expect_problem(403, refused);

    let mut slow = Browser::default();
    let back = signing.away(&mut slow, "/auth/sign-in", ada()).await;
    world.clock.advance(attempt::LIFETIME);
    slow.get(world, &back).await.expect_problem(403, refused);
    let mut declined = Browser::default();
    let back = signing.away(&mut declined, "/auth/sign-in", ada()).await;
    let state = back.split("state=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    let answer = declined.get(world, &format!("/auth/callback?error=access_denied&state={state}")).await;
    answer.expect_problem(403, "sign_in_declined");
    assert!(declined.cookies.is_empty());
}

/// The same attempt with another code: as if the provider had granted it twice.
async fn back_again(signing: &Signing, begun: &Browser, back: &str) -> String {
    let keys = &signing.world.app.secrets.cookie;
    let state = back.split("state=").nth(1).unwrap().split('&').next().unwrap();
    let now = signing.world.app.store.sources().now();
    let attempt = Attempt::open(&begun.cookies[0].1, state, keys, now).unwrap();
    let address = signing.world.app.sign_in.as_ref().unwrap().0.provider.address(&attempt.secrets()).await;
    let (code, state) = signing.provider.grant(&address.unwrap(), ada());
    format!("/auth/callback?code={code}&state={state}")
}

#[tokio::test]
async fn an_answer_that_does_not_hold_signs_nobody_in() {
    let signing = Signing::new().await;
    for lie in [
        Lie::Claim("iss", "https://evil.example"),
        Lie::Claim("aud", "another-client"),
        Lie::Claim("nonce", "another"),
        Lie::Claim("sub", ""),
        Lie::Claim("sub", "a\0b"),
        Lie::Expired,
        Lie::OtherKey,
        Lie::ClientSecret,
        Lie::Unsigned,
        Lie::NoIdToken,
        Lie::OtherAccessToken,
    ] {
        signing.provider.lie(lie);
        let mut browser = Browser::default();
        let refused = signing.try_with(&mut browser, ada()).await;
        assert_eq!(refused.status, 403, "{lie:?}: {}", String::from_utf8_lossy(&refused.body));
        refused.expect_problem(403, "sign_in_not_vouched_for");
        assert!(browser.cookies.is_empty());
    }
    signing.provider.lie(Lie::None);
    let mut browser = Browser::default();
    let back = signing.away(&mut browser, "/auth/sign-in", ada()).await;
    let mixed = back.replace(&format!("iss={}", signing.provider.issuer), "iss=https://evil.example");
    browser.clone().get(&signing.world, &mixed).await.expect_problem(403, "sign_in_not_vouched_for");
    assert_eq!(browser.get(&signing.world, &back).await.status, 303);
}

#[tokio::test]
async fn keys_that_the_provider_changed_are_read_again_but_not_for_everybody() {
    let signing = Signing::new().await;
    signing.signed_in(ada()).await;
    signing.provider.change_key();
    signing.try_with(&mut Browser::default(), ada()).await.expect_problem(403, "sign_in_not_vouched_for");
    assert_eq!(signing.provider.metadata_read(), 1, "they were read a moment ago");
    signing.world.clock.advance(TimeDelta::minutes(1));
    signing.signed_in(ada()).await;
    assert_eq!(signing.provider.metadata_read(), 2);
}

#[tokio::test]
async fn a_provider_that_is_away_is_told_from_one_that_refuses() {
    let signing = Signing::new().await;
    signing.provider.away(true);
    Browser::default().get(&signing.world, "/auth/sign-in").await.expect_problem(503, "unavailable");
    signing.provider.away(false);
    Browser::default().get(&signing.world, "/auth/sign-in").await.expect_problem(503, "unavailable");
    assert_eq!(signing.provider.metadata_read(), 0, "it is left alone for a moment");
    signing.world.clock.advance(TimeDelta::seconds(5));
    signing.signed_in(ada()).await;
    signing.provider.away(true);
    signing.world.clock.advance(TimeDelta::hours(2));
    signing.signed_in(ada()).await;
}

#[tokio::test]
async fn a_browser_comes_back_to_our_own_paths_only() {
    let signing = Signing::new().await;
    for elsewhere in [
        "https://evil.example",
        "//evil.example",
        "/%5Cevil.example",
        "/%0D%0Aset-cookie:a",
        "evil",
        "",
        "/%C3%A4",
        "/auth/sign-in?return_to=/",
    ] {
        let path = format!("/auth/sign-in?return_to={elsewhere}");
        Browser::default().get(&signing.world, &path).await.expect_problem(422, "invalid");
    }
    let long = format!("/auth/sign-in?return_to=/{}", "a".repeat(RETURN_TO_MAX));
    Browser::default().get(&signing.world, &long).await.expect_problem(422, "invalid");
    Browser::default().get(&signing.world, "/auth/sign-in?next=/").await.expect_problem(422, "invalid");
    let mut browser = Browser::default();
    let back = signing.away(&mut browser, &format!("/auth/sign-in?return_to=/{}", "a".repeat(511)), ada()).await;
    assert_eq!(browser.get(&signing.world, &back).await.status, 303);
}

#[tokio::test]
async fn a_person_acts_in_the_org_that_they_ask_for() {
    let signing = Signing::new().await;
    let (other, _) = signing.world.other_org().await;
    let path = format!("/auth/sign-in?org={other}");
    let mut browser = Browser::default();
    let back = signing.away(&mut browser, &path, ada()).await;
    browser.get(&signing.world, &back).await.expect_problem(403, "sign_in_not_a_member");
    let new = NewMember { email: "ada@example.org".into(), display_name: "Ada".into(), role: Role::Viewer.into() };
    signing.world.app.store.member_add(other, &new, "role:test").await.unwrap().unwrap();
    let back = signing.away(&mut browser, &path, ada()).await;
    browser.get(&signing.world, &back).await;
    let seen = browser.get(&signing.world, "/api/workspace").await.expect(200);
    assert_eq!((&seen["org"]["org_id"], &seen["account"]["role"]), (&json!(other), &json!("viewer")));
}

#[tokio::test]
async fn a_change_with_a_cookie_takes_our_origin_and_the_token_of_the_session() {
    let signing = Signing::new().await;
    let world = &signing.world;
    let (mut browser, mut other) = (signing.signed_in(ada()).await, signing.signed_in(ada()).await);
    let (csrf, others) = (browser.csrf(world).await, other.csrf(world).await);
    let post = async |browser: &Browser, headers: &[(&str, &str)]| {
        let mut request = browser.request("POST", "/api/sessions").header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = json!({"title": "Plan", "agent": "scripted"}).to_string();
        world.send(request.body(Body::from(body)).unwrap()).await
    };
    for headers in [
        &[][..],
        &[("origin", ORIGIN)],
        &[("cowork-csrf-token", &*csrf)],
        &[("origin", "https://evil.example"), ("cowork-csrf-token", &csrf)],
        &[("origin", "null"), ("cowork-csrf-token", &csrf)],
        &[("origin", ORIGIN), ("cowork-csrf-token", &others)],
        &[("origin", ORIGIN), ("cowork-csrf-token", "")],
    ] {
        post(&browser, headers).await.expect_problem(403, "cross_site");
    }
    post(&browser, &[("origin", ORIGIN), ("cowork-csrf-token", &csrf)]).await.expect(201);
    let token = format!("Bearer {}", world.operator);
    post(&Browser::default(), &[("authorization", &token)]).await.expect(201);
    post(&browser, &[("authorization", &token)]).await.expect(201);
    post(&browser, &[("authorization", "Bearer nothing"), ("origin", ORIGIN), ("cowork-csrf-token", &csrf)])
        .await
        .expect_problem(401, "unauthenticated");
}

#[tokio::test]
async fn people_see_and_end_their_own_sessions_and_owners_those_of_all() {
    let signing = Signing::new().await;
    let world = &signing.world;
    let bob = signing.member("bob", Role::Viewer).await;
    let (mut owner, mut viewer) = (signing.signed_in(ada()).await, signing.signed_in(bob).await);
    let listed = async |browser: &mut Browser| {
        browser.get(world, "/api/browser-sessions").await.expect(200)["items"].as_array().unwrap().clone()
    };
    let (all, own) = (listed(&mut owner).await, listed(&mut viewer).await);
    assert_eq!((all.len(), own.len()), (2, 1));
    insta::assert_json_snapshot!(own[0], {".browser_session_id" => "[id]", ".account_id" => "[id]"}, @r#"
    {
      "account_id": "[id]",
      "browser_session_id": "[id]",
      "created_at": "2024-10-04T00:00:00Z",
      "expires_at": "2024-10-11T00:00:00Z",
      "last_used_at": "2024-10-04T00:00:00Z",
      "revoked_at": null,
      "user_agent": "Lynx"
    }
    "#);
    let path = |session: &Value| format!("/api/browser-sessions/{}", session["browser_session_id"].as_str().unwrap());
    viewer.delete(world, &path(&all[0])).await.expect_problem(404, "not_found");
    let (_, stranger) = world.other_org().await;
    world.delete_as(&stranger, &path(&own[0])).await.expect_problem(404, "not_found");
    let reader = world.member(world.org, Role::Owner, &[Scope::Read]).await;
    world.delete_as(&reader, &path(&own[0])).await.expect_problem(403, "forbidden");
    owner.delete(world, &path(&own[0])).await.expect(204);
    viewer.get(world, "/api/workspace").await.expect_problem(401, "unauthenticated");
    assert!(listed(&mut owner).await.iter().any(|session| !session["revoked_at"].is_null()));
    world.get("/api/browser-sessions/current").await.expect_problem(404, "not_found");
    world.delete("/api/browser-sessions/current").await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn an_address_that_guesses_cookies_is_refused_unseen_and_who_has_just_signed_in_is_not() {
    let mut signing = Signing::new().await;
    signing.world.limit_guesses(1);
    let mut browser = signing.signed_in(ada()).await;
    let world = &signing.world;
    let guess = SessionSecret::generate(world.app.store.sources()).cookie(TimeDelta::hours(1), true);
    let (name, value) = guess.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
    let mut guessing = Browser { cookies: vec![(name.to_owned(), value.to_owned())] };
    guessing.get(world, "/api/workspace").await.expect_problem(401, "unauthenticated");
    guessing.get(world, "/api/workspace").await.expect_problem(429, "too_many_requests");
    browser.get(world, "/api/workspace").await.expect(200);
    Browser::default().get(world, "/api/workspace").await.expect_problem(401, "unauthenticated");
}

#[tokio::test]
async fn who_signs_out_is_signed_out() {
    let signing = Signing::new().await;
    let world = &signing.world;
    let mut browser = signing.signed_in(ada()).await;
    let kept = browser.clone();
    browser.delete(world, "/api/browser-sessions/current").await.expect(204);
    assert!(browser.cookies.is_empty());
    kept.clone().get(world, "/api/workspace").await.expect_problem(401, "unauthenticated");
    assert_eq!(world.app.store.outbox_backlog().await.unwrap().rows, 0, "the ledger knows");
}

#[tokio::test]
async fn where_nobody_signs_in_a_cookie_counts_for_nothing() {
    let signing = Signing::new().await;
    let mut browser = signing.signed_in(ada()).await;
    let mut world = signing.world;
    world.app.parts_mut().sign_in = None;
    world.limit(0);
    browser.get(&world, "/auth/sign-in").await.expect_problem(404, "not_found");
    browser.get(&world, "/auth/callback?code=1&state=1").await.expect_problem(404, "not_found");
    browser.get(&world, "/api/workspace").await.expect_problem(401, "unauthenticated");
    world.send(request("GET", "/api/workspace", &world.operator).body(Body::empty()).unwrap()).await.expect(200);
}
