//! The way to the provider: one client with bounds on time and size that follows no redirects.
//!
//! Not here: what is asked (`provider`).

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use reqwest::Client;

/// Of one request, from connecting to the end of its answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an answer. Metadata and keys of real providers have a few thousand.
const ANSWER_MAX: usize = 1024 * 1024;

/// Asks the provider. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Http(Client);

#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("the provider does not answer")]
    Transport(#[source] reqwest::Error),
    #[error("the provider's answer is larger than 1 MiB")]
    TooLarge,
    #[error("the provider's answer is no HTTP")]
    Malformed(#[source] axum::http::Error),
}

impl Http {
    /// `https_only` unless the provider is on this machine: then nothing that it names may be reached in the clear either.
    ///
    /// # Errors
    /// If the client can't be set up, which is the machine's fault.
    pub(crate) fn new(https_only: bool) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .https_only(https_only)
            .user_agent("open-cowork")
            .build()?;
        Ok(Self(client))
    }

    async fn ask(self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let request = reqwest::Request::try_from(request).map_err(HttpError::Transport)?;
        let mut answer = self.0.execute(request).await.map_err(HttpError::Transport)?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(HttpError::Transport)? {
            if body.len() + chunk.len() > ANSWER_MAX {
                return Err(HttpError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        let mut response = axum::http::Response::builder().status(answer.status());
        for (name, value) in answer.headers() {
            response = response.header(name, value);
        }
        response.body(body).map_err(HttpError::Malformed)
    }
}

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.clone().ask(request))
    }
}
