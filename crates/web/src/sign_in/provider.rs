//! The OpenID Connect provider: where to send people, and who they are when they come back.
//!
//! Its metadata and keys are read when the first person signs in, so a system starts and works for tokens while its provider is
//! away, and again after [`FRESH`]. A token under a key that is not known yet makes them be read at once, but not more often than
//! every [`REREAD`]: providers change keys, and a forged key id costs a forger nothing. A provider that does not answer is left
//! alone for [`PAUSE`], so that people don't wait for each other's attempts.
//!
//! Not here: what a browser has to do with it (`attempt`), who of them is a member (`store::sign_in`).

use std::error::Error;
use std::sync::Arc;

use chrono::TimeDelta;
use clock::{Sources, Timestamp};
use openidconnect::core::{
    CoreAuthenticationFlow, CoreClient, CoreClientAuthMethod, CoreIdToken, CoreIdTokenClaims, CoreIdTokenVerifier,
    CoreJwsSigningAlgorithm, CoreProviderMetadata, CoreRequestTokenError, CoreTokenResponse, CoreUserInfoClaims,
};
use openidconnect::{
    AccessTokenHash, AuthType, AuthorizationCode, ClaimsVerificationError, ClientId, ClientSecret, CsrfToken,
    DiscoveryError, EndpointMaybeSet, EndpointNotSet, EndpointSet, IssuerUrl, Nonce, OAuth2TokenResponse,
    PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope, SignatureVerificationError, TokenResponse, UserInfoError,
};
use tokio::sync::{Mutex, Semaphore};
use url::Url;

use crate::sign_in::SignInSettings;
use crate::sign_in::http::{Http, HttpError};

/// How long metadata and keys count.
const FRESH: TimeDelta = TimeDelta::hours(1);
const REREAD: TimeDelta = TimeDelta::minutes(1);
const PAUSE: TimeDelta = TimeDelta::seconds(5);
/// People whom this process asks the provider about at the same time.
const AT_ONCE: usize = 32;

type Client =
    CoreClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointMaybeSet, EndpointMaybeSet>;

#[derive(Debug)]
pub(crate) struct Provider {
    settings: SignInSettings,
    http: Http,
    sources: Sources,
    knowledge: Mutex<Knowledge>,
    turns: Semaphore,
}

#[derive(Debug, Default)]
struct Knowledge {
    known: Option<Known>,
    /// When it could not be read last.
    failed_at: Option<Timestamp>,
}

#[derive(Debug, Clone)]
struct Known {
    client: Arc<Client>,
    algorithms: Arc<[CoreJwsSigningAlgorithm]>,
    read_at: Timestamp,
}

/// What stands between a request to the provider and its answer.
pub(crate) struct Secrets<'a> {
    pub(crate) state: &'a str,
    pub(crate) nonce: &'a str,
    pub(crate) verifier: &'a str,
}

/// Whom the provider vouches for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Person {
    pub(crate) subject: String,
    /// Only if the provider has seen to it that it is the person's.
    pub(crate) verified_email: Option<String>,
}

type Cause = Box<dyn Error + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ProviderError {
    /// Trying again later may help.
    #[error("the provider can't be asked")]
    Unavailable(#[source] Cause),
    /// The provider does not stand by it, or what it says does not hold.
    #[error("the provider does not vouch for this sign-in")]
    Refused(#[source] Cause),
}

impl Provider {
    pub(crate) fn new(settings: SignInSettings, sources: Sources) -> Result<Self, reqwest::Error> {
        let http = Http::new(settings.issuer.starts_with("https://"))?;
        Ok(Self { settings, http, sources, knowledge: Mutex::default(), turns: Semaphore::new(AT_ONCE) })
    }

    pub(crate) fn settings(&self) -> &SignInSettings {
        &self.settings
    }

    /// Where somebody signs in.
    pub(crate) async fn address(&self, secrets: &Secrets<'_>) -> Result<Url, ProviderError> {
        let client = self.known(FRESH).await?.client;
        let (state, nonce) = (CsrfToken::new(secrets.state.into()), Nonce::new(secrets.nonce.into()));
        let verifier = PkceCodeVerifier::new(secrets.verifier.into());
        let request = client
            .authorize_url(CoreAuthenticationFlow::AuthorizationCode, || state, || nonce)
            .add_scope(Scope::new("email".into()))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
        Ok(request.url().0)
    }

    /// Who came back with `code`.
    pub(crate) async fn person(&self, code: String, secrets: &Secrets<'_>) -> Result<Person, ProviderError> {
        let _turn = self.turns.try_acquire().map_err(|error| ProviderError::Unavailable(error.into()))?;
        let known = self.known(FRESH).await?;
        let tokens = self.exchange(&known.client, code, secrets).await?;
        let token = tokens.id_token().ok_or_else(|| ProviderError::Refused("there is no ID token".into()))?;
        let claims = match self.claims(&known, token, &tokens, secrets) {
            Err(ClaimsVerificationError::SignatureVerification(SignatureVerificationError::NoMatchingKey)) => {
                self.claims(&self.known(REREAD).await?, token, &tokens, secrets)
            }
            claims => claims,
        };
        let claims = claims.map_err(|error| ProviderError::Refused(error.into()))?;
        let subject = claims.subject().to_string();
        let verified_email = match claims.email() {
            Some(email) => verified(email, claims.email_verified()),
            None => self.email(&known.client, &tokens, &claims).await?,
        };
        Ok(Person { subject, verified_email })
    }

    async fn exchange(
        &self,
        client: &Client,
        code: String,
        secrets: &Secrets<'_>,
    ) -> Result<CoreTokenResponse, ProviderError> {
        let request = client.exchange_code(AuthorizationCode::new(code));
        let request = request.map_err(|error| ProviderError::Unavailable(error.into()))?;
        let verifier = PkceCodeVerifier::new(secrets.verifier.into());
        request.set_pkce_verifier(verifier).request_async(&self.http).await.map_err(exchange_failed)
    }

    fn claims(
        &self,
        known: &Known,
        token: &CoreIdToken,
        tokens: &CoreTokenResponse,
        secrets: &Secrets<'_>,
    ) -> Result<CoreIdTokenClaims, ClaimsVerificationError> {
        let sources = self.sources.clone();
        let verifier = known.client.id_token_verifier().set_allowed_algs(known.algorithms.iter().cloned());
        let verifier = verifier.set_time_fn(move || sources.now());
        let claims = token.claims(&verifier, &Nonce::new(secrets.nonce.into()))?;
        belongs(claims, token, tokens, &verifier)?;
        Ok(claims.clone())
    }

    /// Many providers tell an address only when they are asked for it.
    async fn email(
        &self,
        client: &Client,
        tokens: &CoreTokenResponse,
        claims: &CoreIdTokenClaims,
    ) -> Result<Option<String>, ProviderError> {
        let subject = claims.subject().clone();
        let Ok(request) = client.user_info(tokens.access_token().clone(), Some(subject)) else { return Ok(None) };
        let told: CoreUserInfoClaims = request.request_async(&self.http).await.map_err(|error| match error {
            UserInfoError::ClaimsVerification(error) => ProviderError::Refused(error.into()),
            error => ProviderError::Unavailable(error.into()),
        })?;
        Ok(told.email().and_then(|email| verified(email, told.email_verified())))
    }

    /// What the provider says of itself, if it was read within `age`. One caller reads, the others wait for it.
    async fn known(&self, age: TimeDelta) -> Result<Known, ProviderError> {
        let (mut knowledge, now) = (self.knowledge.lock().await, self.sources.now());
        if let Some(known) = knowledge.known.as_ref().filter(|known| now < known.read_at + age) {
            return Ok(known.clone());
        }
        let read = if knowledge.failed_at.is_some_and(|failed_at| now < failed_at + PAUSE) {
            Err(ProviderError::Unavailable("it did not answer a moment ago".into()))
        } else {
            self.read(now).await.inspect_err(|_| knowledge.failed_at = Some(now))
        };
        match (read, knowledge.known.clone()) {
            (Err(error), Some(former)) => {
                tracing::warn!(error = ?error, "the provider's metadata can't be read; those from before count");
                Ok(former)
            }
            (read, _) => Ok(knowledge.known.insert(read?).clone()),
        }
    }

    async fn read(&self, now: Timestamp) -> Result<Known, ProviderError> {
        let unavailable = |error: url::ParseError| ProviderError::Unavailable(error.into());
        let issuer = IssuerUrl::new(self.settings.issuer.clone()).map_err(unavailable)?;
        let redirect_url = RedirectUrl::new(self.settings.redirect_url.clone()).map_err(unavailable)?;
        let metadata = CoreProviderMetadata::discover_async(issuer, &self.http).await;
        let metadata = metadata.map_err(|error: DiscoveryError<HttpError>| ProviderError::Unavailable(error.into()))?;
        let algorithms = metadata.id_token_signing_alg_values_supported().iter().filter(|algorithm| public(algorithm));
        let (algorithms, auth_type) = (algorithms.cloned().collect(), auth_type(&metadata));
        let secret = self.settings.client_secret.expose_str().map(|secret| ClientSecret::new(secret.to_owned()));
        let client =
            CoreClient::from_provider_metadata(metadata, ClientId::new(self.settings.client_id.clone()), secret)
                .set_redirect_uri(redirect_url)
                .set_auth_type(auth_type);
        Ok(Known { client: Arc::new(client), algorithms, read_at: now })
    }
}

fn exchange_failed(error: CoreRequestTokenError<HttpError>) -> ProviderError {
    match error {
        CoreRequestTokenError::ServerResponse(answer) => ProviderError::Refused(answer.to_string().into()),
        error => ProviderError::Unavailable(error.into()),
    }
}

/// Whether the access token is the one that the ID token was made with, where it says so.
fn belongs(
    claims: &CoreIdTokenClaims,
    token: &CoreIdToken,
    tokens: &CoreTokenResponse,
    verifier: &CoreIdTokenVerifier<'_>,
) -> Result<(), ClaimsVerificationError> {
    let Some(expected) = claims.access_token_hash() else { return Ok(()) };
    let signature = ClaimsVerificationError::SignatureVerification;
    let (algorithm, key) = (token.signing_alg().map_err(signature)?, token.signing_key(verifier).map_err(signature)?);
    let hash = AccessTokenHash::from_token(tokens.access_token(), algorithm, key)
        .map_err(|error| ClaimsVerificationError::Other(error.to_string()))?;
    let other = || ClaimsVerificationError::Other("the access token is of another ID token".to_owned());
    if hash == *expected { Ok(()) } else { Err(other()) }
}

/// Whoever knows our client's secret could sign with the others.
fn public(algorithm: &CoreJwsSigningAlgorithm) -> bool {
    use CoreJwsSigningAlgorithm as A;
    !matches!(algorithm, A::HmacSha256 | A::HmacSha384 | A::HmacSha512 | A::None)
}

/// How our secret is shown, by what the provider takes. One that does not say takes the first.
fn auth_type(metadata: &CoreProviderMetadata) -> AuthType {
    let taken = metadata.token_endpoint_auth_methods_supported();
    let takes = |method| taken.is_none_or(|taken| taken.contains(&method));
    if takes(CoreClientAuthMethod::ClientSecretBasic) { AuthType::BasicAuth } else { AuthType::RequestBody }
}

/// Two addresses that differ in more than the case of plain letters are two people's, whatever Unicode takes for one letter: the
/// Kelvin sign in lower case is a k.
fn verified(email: &str, is_verified: Option<bool>) -> Option<String> {
    let normal = domain::tenancy::normal_email(email)?;
    let same = normal == email.trim().to_ascii_lowercase();
    (same && is_verified == Some(true)).then_some(normal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_verified_address_counts_and_none_that_merely_looks_like_it() {
        assert_eq!(verified("Mark@Example.org", Some(true)).as_deref(), Some("mark@example.org"));
        assert_eq!(verified("отчёт@example.org", Some(true)).as_deref(), Some("отчёт@example.org"));
        for (email, is_verified) in [
            ("mark@example.org", None),
            ("mark@example.org", Some(false)),
            ("mar\u{212A}@example.org", Some(true)),
            ("mark", Some(true)),
        ] {
            assert_eq!(verified(email, is_verified), None, "{email} {is_verified:?}");
        }
    }
}
