//! Somebody with a browser: goes where pages send them, fills forms in, keeps cookies.
//!
//! Cookies are kept for each host and port, whatever their path: enough for two parties that name theirs differently.
//!
//! Not here: scripts, and what a browser adds to requests of scripts; callers say which headers those have.

use std::collections::BTreeMap;

use reqwest::header::{CONTENT_TYPE, COOKIE, HeaderMap, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder, Response, Url};
use serde_json::Value;

/// A browser, with nothing kept yet.
#[derive(Debug, Clone)]
pub struct Visitor {
    http: Client,
    /// By host and port, then by name.
    cookies: BTreeMap<String, BTreeMap<String, String>>,
}

/// Where somebody ended up.
#[derive(Debug, Clone)]
pub struct Seen {
    pub url: Url,
    pub status: u16,
    pub body: String,
    /// Every address on the way, the first one first.
    pub way: Vec<Url>,
}

impl Default for Visitor {
    fn default() -> Self {
        let http = Client::builder().redirect(Policy::none()).no_proxy().build().expect("a client can be set up");
        Self { http, cookies: BTreeMap::new() }
    }
}

impl Visitor {
    /// Opens an address.
    ///
    /// # Panics
    /// If nobody answers, or there is no end of redirects.
    pub async fn open(&mut self, url: &str) -> Seen {
        let url: Url = url.parse().expect("it is an address");
        let request = self.http.get(url.clone());
        self.go(url, request).await
    }

    /// Fills in the form of a page.
    ///
    /// # Panics
    /// If it has none.
    pub async fn submit(&mut self, page: &Seen, fields: &[(&str, &str)]) -> Seen {
        let action = page.body.split("action=\"").nth(1).and_then(|rest| rest.split('"').next());
        let action = action.unwrap_or_else(|| panic!("no form at {}: {}", page.url, page.body));
        let url = page.url.join(action).expect("a form leads somewhere");
        // What a form sends is written like the query of an address.
        let mut form = url.clone();
        form.query_pairs_mut().clear().extend_pairs(fields);
        let request = self.http.post(url.clone()).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let request = request.body(form.query().unwrap_or_default().to_owned());
        self.go(url, request).await
    }

    /// A request of a script: it follows nothing.
    ///
    /// # Panics
    /// If nobody answers.
    pub async fn call(&mut self, method: Method, url: &str, headers: HeaderMap, body: Option<&Value>) -> Seen {
        let url: Url = url.parse().expect("it is an address");
        let mut request = self.http.request(method, url.clone()).headers(headers);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = self.send(&url, request).await;
        seen(url, answer, Vec::new()).await
    }

    /// The names of what is kept for the host of `url`.
    ///
    /// # Panics
    /// If it is no address.
    #[must_use]
    pub fn kept(&self, url: &str) -> Vec<&str> {
        let kept = self.cookies.get(&host(&url.parse().expect("it is an address")));
        kept.into_iter().flat_map(BTreeMap::keys).map(String::as_str).collect()
    }

    /// What is kept for the host of `url`, as it is sent. Nothing: empty.
    ///
    /// # Panics
    /// If it is no address.
    #[must_use]
    pub fn cookie(&self, url: &str) -> String {
        self.cookies.get(&host(&url.parse().expect("it is an address"))).map(sent).unwrap_or_default()
    }

    async fn go(&mut self, mut url: Url, mut request: RequestBuilder) -> Seen {
        let mut way = Vec::new();
        for _ in 0..20 {
            way.push(url.clone());
            let accept = request.header("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
            let answer = self.send(&url, accept).await;
            let Some(next) = answer.headers().get(LOCATION) else { return seen(url, answer, way).await };
            url = url.join(next.to_str().expect("an address is ASCII")).expect("a redirect leads somewhere");
            request = self.http.get(url.clone());
        }
        panic!("there is no end of redirects: {way:?}");
    }

    async fn send(&mut self, url: &Url, mut request: RequestBuilder) -> Response {
        let kept = self.cookies.entry(host(url)).or_default();
        if !kept.is_empty() {
            request = request.header(COOKIE, sent(kept));
        }
        let answer = request.send().await.unwrap_or_else(|error| panic!("{url} does not answer: {error}"));
        for line in answer.headers().get_all(SET_COOKIE) {
            let line = line.to_str().expect("a cookie is ASCII").to_owned();
            let (name, value) =
                line.split(';').next().and_then(|pair| pair.split_once('=')).expect("a cookie is a pair");
            let lower = line.to_lowercase();
            if value.is_empty() || lower.contains("max-age=0") || lower.contains("expires=thu, 01 jan 1970") {
                kept.remove(name);
            } else {
                kept.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }
}

impl Seen {
    /// # Panics
    /// If it is no JSON.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON at {}: {}", self.url, self.body))
    }
}

fn sent(cookies: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("; ")
}

fn host(url: &Url) -> String {
    format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default())
}

async fn seen(url: Url, answer: Response, way: Vec<Url>) -> Seen {
    let status = answer.status().as_u16();
    let body = answer.text().await.unwrap_or_else(|error| panic!("{url} breaks off: {error}"));
    Seen { url, status, body, way }
}
