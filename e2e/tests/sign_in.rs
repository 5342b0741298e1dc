//! People sign in with a browser, at a real provider.

use std::net::TcpListener;

use client::Client;
use e2e::{Folder, Installation, Provider, Seen, Served, Visitor, living_below};
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

const CLIENT: &str = "open-cowork";

/// A system and its provider.
struct Town {
    served: Served,
    web: String,
    _provider: Provider,
}

impl Town {
    async fn build(folder: &Folder) -> Self {
        let installation = Installation::new(folder.path(), "");
        let _token = installation.init();
        let secret = std::fs::read_to_string(installation.data().join("secrets/oidc_client.key")).unwrap();
        // The provider has to know where we listen before we do.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let web = format!("http://127.0.0.1:{port}");
        let redirect_url = format!("{web}/auth/callback");
        let provider = Provider::start(folder.path(), CLIENT, &secret, &redirect_url);
        let sign_in = format!(
            "[sign_in]\nissuer = {:?}\nclient_id = {CLIENT:?}\nredirect_url = {redirect_url:?}\n\
            email_domains = [\"example.org\"]\n",
            provider.issuer()
        );
        let served = Installation::with_web_at(folder.path(), port, &sign_in).serve();
        served.operator().member_create("bob@example.org", "Bob", "member").await.unwrap();
        Self { served, web, _provider: provider }
    }

    /// Goes through the provider's pages under a name, and says yes to everything.
    async fn sign_in(&self, visitor: &mut Visitor, name: &str) -> Seen {
        let login = visitor.open(&format!("{}/auth/sign-in?return_to=/api/workspace", self.web)).await;
        assert_eq!(login.status, 200, "{login:?}");
        let consent = visitor.submit(&login, &[("prompt", "login"), ("login", name), ("password", "any")]).await;
        visitor.submit(&consent, &[("prompt", "consent")]).await
    }

    async fn current(&self, visitor: &mut Visitor) -> Seen {
        let url = format!("{}/api/browser-sessions/current", self.web);
        visitor.call(Method::GET, &url, HeaderMap::new(), None).await
    }

    /// As a script of our own pages would.
    async fn change(&self, visitor: &mut Visitor, method: Method, path: &str, body: Option<&Value>) -> Seen {
        let current = self.current(visitor).await.json();
        let mut headers = HeaderMap::new();
        headers.insert("origin", HeaderValue::from_str(&self.web).unwrap());
        let csrf = current["csrf_token"].as_str().unwrap();
        headers.insert("cowork-csrf-token", HeaderValue::from_str(csrf).unwrap());
        visitor.call(method, &format!("{}{path}", self.web), headers, body).await
    }
}

#[tokio::test]
async fn a_person_signs_in_works_and_signs_out() {
    let folder = Folder::new();
    let town = Town::build(&folder).await;
    let mut bob = Visitor::default();
    let seen = town.sign_in(&mut bob, "bob").await;
    assert_eq!((seen.status, &seen.json()["account"]["display_name"]), (200, &json!("Bob")), "{seen:?}");
    assert_eq!(bob.kept(&town.web), ["cowork"], "nothing of the sign-in is left");
    let callback = seen.way.iter().find(|url| url.path() == "/auth/callback").unwrap();
    let again = bob.clone().open(callback.as_str()).await;
    assert_eq!(again.status, 403, "{again:?}");

    let session = json!({"title": "Plan", "agent": "scripted"});
    let url = format!("{}/api/sessions", town.web);
    let refused = bob.call(Method::POST, &url, HeaderMap::new(), Some(&session)).await;
    assert_eq!((refused.status, &refused.json()["code"]), (403, &json!("cross_site")));
    let made = town.change(&mut bob, Method::POST, "/api/sessions", Some(&session)).await;
    assert_eq!(made.status, 201, "{made:?}");

    let mut elsewhere = Visitor::default();
    town.sign_in(&mut elsewhere, "bob").await;
    let listed = bob.call(Method::GET, &format!("{}/api/browser-sessions", town.web), HeaderMap::new(), None).await;
    assert_eq!(listed.json()["items"].as_array().map(Vec::len), Some(2), "{listed:?}");
    let other = town.current(&mut elsewhere).await.json()["browser_session_id"].as_str().unwrap().to_owned();
    let ended = town.change(&mut bob, Method::DELETE, &format!("/api/browser-sessions/{other}"), None).await;
    assert_eq!((ended.status, town.current(&mut elsewhere).await.status), (204, 401));
    a_program_with_a_browsers_cookie_does_what_the_browser_may(&town).await;
    let left = town.change(&mut bob, Method::DELETE, "/api/browser-sessions/current", None).await;
    assert_eq!((left.status, town.current(&mut bob).await.status), (204, 401));
    assert!(bob.kept(&town.web).is_empty());

    assert_eq!(town.served.stop(), 0);
    assert_eq!(living_below(folder.path()).len(), 1, "the provider alone is left, and ends with the test");
}

/// What changes something takes the token that goes with the cookie, too.
async fn a_program_with_a_browsers_cookie_does_what_the_browser_may(town: &Town) {
    let mut browser = Visitor::default();
    town.sign_in(&mut browser, "bob").await;
    let cookie = browser.cookie(&town.web);
    let reader = Client::of_browser(&town.web, cookie.clone().into(), None);
    let current = reader.browser_session_current().await.unwrap();
    assert_eq!(current.session.revoked_at, None);
    assert_eq!(reader.browser_session_sign_out().await.unwrap_err().status(), Some(403));
    let writer = Client::of_browser(&town.web, cookie.into(), Some(current.csrf_token));
    writer.session_create("Plan", "scripted").await.unwrap();
    writer.browser_session_sign_out().await.unwrap();
    assert_eq!(reader.browser_session_current().await.unwrap_err().status(), Some(401));
}

#[tokio::test]
async fn who_is_no_member_is_shown_a_page_and_gets_nothing() {
    let folder = Folder::new();
    let town = Town::build(&folder).await;
    let mut eve = Visitor::default();
    let seen = town.sign_in(&mut eve, "eve").await;
    assert!(seen.status == 403 && seen.body.contains("<h1>You are not a member here</h1>"), "{seen:?}");
    assert!(eve.kept(&town.web).is_empty());
    let members = town.served.operator().member_list(None, 10).await.unwrap();
    assert_eq!(members.items.len(), 2);
    assert_eq!(town.served.stop(), 0);
}
