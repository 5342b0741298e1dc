//! Asking a provider over HTTP: the list of its models, which every key may read and which costs nothing.
//!
//! The key goes into one header, which is marked as sensitive, and nowhere else: no error, log or address has it. Of the answer
//! the status counts; its body is not read.
//!
//! Not promised: that a key which is taken may use any model, or has money left. A key that its owner has restricted so
//! that it may not list models is refused (403).

use async_trait::async_trait;
use domain::byok::Validation;
use domain::egress::Egress;
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use reqwest::{Client, RequestBuilder, Url};
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};

use crate::Provider;

/// Where a provider wants its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// `Authorization: Bearer KEY`
    Bearer,
    /// `x-api-key: KEY`, and a version of the API.
    Anthropic,
}

#[derive(Debug)]
pub(crate) struct HttpProvider {
    pub(crate) client: Client,
    /// For an address that the URL names: a name is judged when the client looks it up.
    pub(crate) egress: Egress,
    pub(crate) address: Url,
    pub(crate) scheme: Scheme,
}

impl Scheme {
    /// `None`: the key can't stand in a header, so no provider has given it out.
    pub(crate) fn header(self, key: &SecretString) -> Option<(HeaderName, HeaderValue)> {
        let (name, text) = match self {
            Self::Bearer => (AUTHORIZATION, Zeroizing::new(format!("Bearer {}", key.expose_secret()))),
            Self::Anthropic => (HeaderName::from_static("x-api-key"), Zeroizing::new(key.expose_secret().to_owned())),
        };
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some((name, value))
    }

    pub(crate) fn described(self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Self::Bearer => request,
            Self::Anthropic => request.header("anthropic-version", "2023-06-01"),
        }
    }
}

#[async_trait]
impl Provider for HttpProvider {
    async fn validate(&self, key: &SecretString) -> Validation {
        let Some((name, value)) = self.scheme.header(key) else { return Validation::Refused };
        if let Err(refused) = self.egress.judge_url(&self.address) {
            tracing::warn!(error = %refused, "a provider was not asked about a key");
            return Validation::Unreachable;
        }
        let request = self.scheme.described(self.client.get(self.address.clone())).header(name, value);
        match request.send().await {
            Ok(answer) => Validation::of_status(answer.status().as_u16()),
            Err(error) => {
                tracing::warn!(error = egress::root_cause(&error), "a provider could not be asked about a key");
                Validation::Unreachable
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;

    fn key() -> String {
        format!("sk-{}", hex::encode(clock::Sources::system().bytes::<16>()))
    }

    fn here() -> Egress {
        Egress::allowing(vec!["127.0.0.0/8".parse().unwrap()])
    }

    fn provider(listener: &TcpListener, egress: Egress, scheme: Scheme) -> HttpProvider {
        let client = egress::guarded(Duration::from_millis(300), egress.clone()).build().unwrap();
        let address = format!("http://{}/v1/models", listener.local_addr().unwrap()).parse().unwrap();
        HttpProvider { client, egress, address, scheme }
    }

    /// What is said of `key` by somebody who does `far_side` with a connection, and what they were told.
    async fn ask<T: Send + 'static>(
        scheme: Scheme,
        key: &str,
        far_side: impl FnOnce(TcpStream) -> T + Send + 'static,
    ) -> (Validation, T) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let provider = provider(&listener, here(), scheme);
        let far_side = tokio::task::spawn_blocking(move || far_side(listener.accept().unwrap().0));
        let validation = provider.validate(&SecretString::from(key)).await;
        (validation, far_side.await.unwrap())
    }

    /// Reads the request and answers it.
    fn answering(answer: &'static str) -> impl FnOnce(TcpStream) -> String + Send + 'static {
        move |mut stream| {
            let mut request = [0; 4096];
            let read = stream.read(&mut request).unwrap();
            let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&request[..read]).into_owned()
        }
    }

    #[tokio::test]
    async fn each_provider_is_told_the_key_where_it_looks_for_it() {
        let key = key();
        let (validation, told) = ask(Scheme::Bearer, &key, answering("200 OK")).await;
        assert_eq!(validation, Validation::Valid);
        assert!(told.contains(&format!("authorization: Bearer {key}\r\n")), "the header is missing");
        let (validation, told) = ask(Scheme::Anthropic, &key, answering("200 OK")).await;
        assert_eq!(validation, Validation::Valid);
        assert!(told.contains(&format!("x-api-key: {key}\r\n")), "the header is missing");
        assert!(told.starts_with("GET /v1/models HTTP/1.1\r\n"), "the key is in the address");
    }

    #[tokio::test]
    async fn a_key_is_refused_by_who_refuses_it_and_by_nobody_else() {
        let (refused, _) = ask(Scheme::Bearer, &key(), answering("401 Unauthorized")).await;
        assert_eq!(refused, Validation::Refused);
        let (moved, _) = ask(Scheme::Bearer, &key(), answering("302 Found\r\nlocation: http://127.0.0.1:9/")).await;
        assert_eq!(moved, Validation::Unreachable);
        let (broken, ()) = ask(Scheme::Bearer, &key(), drop).await;
        assert_eq!(broken, Validation::Unreachable);
        // Holds the connection until whoever asks gives up, which ends the read.
        let silent = |mut stream: TcpStream| while stream.read(&mut [0; 4096]).unwrap_or(0) > 0 {};
        let (late, ()) = ask(Scheme::Bearer, &key(), silent).await;
        assert_eq!(late, Validation::Unreachable);
    }

    #[tokio::test]
    async fn a_key_that_can_stand_in_no_header_is_told_to_nobody() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        for scheme in [Scheme::Bearer, Scheme::Anthropic] {
            let provider = provider(&listener, here(), scheme);
            let validation = provider.validate(&SecretString::from("sk-a\r\nhost: other")).await;
            assert_eq!(validation, Validation::Refused);
        }
        assert!(listener.accept().is_err(), "somebody was called");
    }

    #[tokio::test]
    async fn a_key_is_told_to_no_address_that_is_not_called_from_here() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let provider = provider(&listener, Egress::default(), Scheme::Bearer);
        assert_eq!(provider.validate(&SecretString::from(key())).await, Validation::Unreachable);
        let by_name = format!("http://localhost:{}/", listener.local_addr().unwrap().port()).parse().unwrap();
        let provider = HttpProvider { address: by_name, ..provider };
        assert_eq!(provider.validate(&SecretString::from(key())).await, Validation::Unreachable);
        assert!(listener.accept().is_err(), "somebody was called");
    }
}
