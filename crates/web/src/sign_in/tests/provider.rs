//! A provider of these tests: discovery, keys, tokens and user info, on this machine. It signs people in at once, and can be told
//! to say what no honest provider says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use clock::Sources;
use openidconnect::core::{CoreEdDsaPrivateSigningKey, CoreHmacKey, CoreJsonWebKey, CoreJwsSigningAlgorithm};
use openidconnect::{JsonWebKeyId, PrivateSigningKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;

pub(crate) const CLIENT: &str = "open-cowork";

/// What is wrong with the next answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Nothing.
    None,
    /// The claim has this value instead.
    Claim(&'static str, &'static str),
    Expired,
    /// Signed by somebody else, under the name of the provider's key.
    OtherKey,
    /// Signed with the client's secret.
    ClientSecret,
    Unsigned,
    NoIdToken,
    /// The access token is another than the one that the ID token tells of.
    OtherAccessToken,
}

#[derive(Debug)]
pub(crate) struct Provider {
    pub(crate) issuer: String,
    pub(crate) client_secret: String,
    sources: Sources,
    state: Mutex<Saying>,
}

#[derive(Debug)]
struct Saying {
    lie: Lie,
    away: bool,
    /// Whether an address is told by user info only.
    shy: bool,
    key: (String, Vec<u8>),
    /// By code.
    granted: HashMap<String, Grant>,
    metadata_read: u32,
}

/// Somebody who signed in.
#[derive(Debug, Clone)]
struct Grant {
    person: Value,
    nonce: String,
    challenge: String,
}

impl Provider {
    /// Serves until the test's runtime ends.
    pub(crate) async fn start(sources: &Sources) -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let random = Sources::system();
        let state = Saying {
            lie: Lie::None,
            away: false,
            shy: false,
            key: ("first".into(), random.bytes::<32>().to_vec()),
            granted: HashMap::new(),
            metadata_read: 0,
        };
        let provider = Arc::new(Self {
            issuer: format!("http://{}", listener.local_addr().unwrap()),
            client_secret: URL_SAFE_NO_PAD.encode(random.bytes::<32>()),
            sources: sources.clone(),
            state: Mutex::new(state),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/keys", get(keys))
            .route("/token", post(token))
            .route("/person", get(person))
            .with_state(provider.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        provider
    }

    pub(crate) fn lie(&self, lie: Lie) {
        self.state().lie = lie;
    }

    pub(crate) fn away(&self, away: bool) {
        self.state().away = away;
    }

    pub(crate) fn shy(&self) {
        self.state().shy = true;
    }

    /// Signs with another key from now on.
    pub(crate) fn change_key(&self) {
        self.state().key = ("second".into(), Sources::system().bytes::<32>().to_vec());
    }

    pub(crate) fn metadata_read(&self) -> u32 {
        self.state().metadata_read
    }

    /// What the provider answers with, of somebody who was sent to `address` and signed in: code and state.
    pub(crate) fn grant(&self, address: &Url, person: Value) -> (String, String) {
        let asked: HashMap<String, String> = address.query_pairs().into_owned().collect();
        assert_eq!(address.as_str().split('?').next().unwrap(), format!("{}/authorize", self.issuer));
        assert_eq!((&*asked["response_type"], &*asked["client_id"]), ("code", CLIENT));
        assert_eq!((&*asked["scope"], &*asked["code_challenge_method"]), ("openid email", "S256"));
        let code = hex::encode(Sources::system().bytes::<16>());
        let grant = Grant { person, nonce: asked["nonce"].clone(), challenge: asked["code_challenge"].clone() };
        self.state().granted.insert(code.clone(), grant);
        (code, asked["state"].clone())
    }

    fn state(&self) -> MutexGuard<'_, Saying> {
        self.state.lock().unwrap()
    }

    fn claims(&self, grant: &Grant, access_token: &str, saying: &Saying) -> Value {
        let now = self.sources.now().timestamp();
        let hash = URL_SAFE_NO_PAD.encode(&sha2::Sha512::digest(access_token)[..32]);
        let mut claims = json!({
            "iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": grant.nonce,
            "at_hash": hash, "sub": grant.person["sub"],
        });
        if !saying.shy {
            claims["email"] = grant.person["email"].clone();
            claims["email_verified"] = grant.person["email_verified"].clone();
        }
        match saying.lie {
            Lie::Claim(name, value) => claims[name] = value.into(),
            Lie::Expired => claims["exp"] = (now - 1).into(),
            _ => {}
        }
        claims
    }

    fn sign(&self, claims: &Value, saying: &Saying) -> String {
        let key = signing_key(&saying.key);
        let sign = |algorithm: &str, sign: &dyn Fn(&[u8]) -> Vec<u8>| {
            let header = json!({"alg": algorithm, "kid": saying.key.0, "typ": "JWT"});
            let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
            let signed = format!("{}.{}", part(&header), part(claims));
            let signature = URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()));
            format!("{signed}.{signature}")
        };
        match saying.lie {
            Lie::OtherKey => {
                let other = signing_key(&(saying.key.0.clone(), vec![7; 32]));
                sign("EdDSA", &|text| other.sign(&CoreJwsSigningAlgorithm::EdDsa, text).unwrap())
            }
            Lie::ClientSecret => {
                let secret = CoreHmacKey::new(self.client_secret.as_bytes());
                sign("HS256", &|text| secret.sign(&CoreJwsSigningAlgorithm::HmacSha256, text).unwrap())
            }
            Lie::Unsigned => sign("none", &|_| Vec::new()),
            _ => sign("EdDSA", &|text| key.sign(&CoreJwsSigningAlgorithm::EdDsa, text).unwrap()),
        }
    }
}

/// From 32 random bytes, in the form that the library reads.
fn signing_key((name, seed): &(String, Vec<u8>)) -> CoreEdDsaPrivateSigningKey {
    let header = hex::decode("302e020100300506032b657004220420").unwrap();
    let label = "PRIVATE KEY";
    let pem = format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        STANDARD.encode([header, seed.clone()].concat())
    );
    CoreEdDsaPrivateSigningKey::from_ed25519_pem(&pem, Some(JsonWebKeyId::new(name.clone()))).unwrap()
}

async fn metadata(State(provider): State<Arc<Provider>>) -> Response {
    let mut saying = provider.state();
    if saying.away {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    saying.metadata_read += 1;
    let at = |path: &str| format!("{}{path}", provider.issuer);
    Json(json!({
        "issuer": provider.issuer,
        "authorization_endpoint": at("/authorize"),
        "token_endpoint": at("/token"),
        "userinfo_endpoint": at("/person"),
        "jwks_uri": at("/keys"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["EdDSA", "HS256", "none"],
    }))
    .into_response()
}

async fn keys(State(provider): State<Arc<Provider>>) -> Json<Value> {
    let key: CoreJsonWebKey = signing_key(&provider.state().key).as_verification_key();
    Json(json!({"keys": [key]}))
}

async fn token(
    State(provider): State<Arc<Provider>>,
    headers: HeaderMap,
    Form(form): Form<HashMap<String, String>>,
) -> Response {
    let mut saying = provider.state();
    let basic = STANDARD.encode(format!("{CLIENT}:{}", provider.client_secret));
    assert_eq!(headers["authorization"], format!("Basic {basic}"));
    let grant = saying.granted.remove(&form["code"]);
    let proven = |grant: &Grant| URL_SAFE_NO_PAD.encode(Sha256::digest(&form["code_verifier"])) == grant.challenge;
    let Some(grant) = grant.filter(proven) else {
        return (StatusCode::BAD_REQUEST, Json(json!({"error": "invalid_grant"}))).into_response();
    };
    let access_token = hex::encode(Sources::system().bytes::<16>());
    let claims = provider.claims(&grant, &access_token, &saying);
    let id_token = provider.sign(&claims, &saying);
    let (other, none) = (saying.lie == Lie::OtherAccessToken, saying.lie == Lie::NoIdToken);
    let shown = if other { "another".to_owned() } else { access_token };
    saying.granted.insert(shown.clone(), grant);
    let mut answer = json!({"access_token": shown, "token_type": "Bearer", "expires_in": 300});
    if !none {
        answer["id_token"] = id_token.into();
    }
    Json(answer).into_response()
}

async fn person(State(provider): State<Arc<Provider>>, headers: HeaderMap) -> Json<Value> {
    let saying = provider.state();
    let token = headers["authorization"].to_str().unwrap().strip_prefix("Bearer ").unwrap();
    let mut person = saying.granted[token].person.clone();
    if let Lie::Claim("person", subject) = saying.lie {
        person["sub"] = subject.into();
    }
    Json(person)
}
