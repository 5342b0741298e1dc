//! Signed webhooks, in and out (Standard Webhooks).
//!
//! Redirects are not followed and proxies are not used (`egress`). An answer's body is read up to a limit, for the sake of the
//! connection, and not kept.
//!
//! The library that signs reads the machine's clock when it checks the age of a message that came in; nothing else here
//! does.

use std::time::Duration;

use async_trait::async_trait;
use domain::retry::{Answer, Failure, judge};
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Client, Response, StatusCode};
use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, WebhookError};

use crate::{Accepted, Channel, Outgoing, Route, SendError, VerifyError, describe, retry_after};

/// Names, on a redirected message, the destination it would have had (without its query, which may be secret).
pub const DESTINATION_HEADER: &str = "cowork-destination";

/// Bytes of an answer's body that are read.
const ANSWER_LIMIT: usize = 16 * 1024;

/// Posts messages. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Webhook {
    client: Client,
    route: Route,
}

impl Webhook {
    /// `timeout` is for one attempt, from connecting to the end of the answer.
    ///
    /// # Errors
    /// If the HTTP client can't be set up, which is the machine's fault.
    pub fn new(timeout: Duration, route: Route) -> Result<Self, reqwest::Error> {
        let client = match &route {
            Route::Direct(allowed) => egress::guarded(timeout, allowed.clone()),
            Route::Redirected(_) => egress::unguarded(timeout),
        };
        Ok(Self { client: client.build()?, route })
    }

    async fn post(&self, outgoing: &Outgoing<'_>, body: String, signature: &str) -> Result<Response, reqwest::Error> {
        let (url, original) = match &self.route {
            Route::Direct(_) => (outgoing.destination.url(), None),
            Route::Redirected(to) => (to.url(), Some(outgoing.destination.without_query())),
        };
        let mut request = self
            .client
            .post(url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(HEADER_WEBHOOK_ID, outgoing.delivery_id.to_string())
            .header(HEADER_WEBHOOK_TIMESTAMP, outgoing.at.timestamp())
            .header(HEADER_WEBHOOK_SIGNATURE, signature);
        if let Some(original) = original {
            request = request.header(DESTINATION_HEADER, original);
        }
        request.body(body).send().await
    }
}

#[async_trait]
impl Channel for Webhook {
    async fn send(&self, outgoing: Outgoing<'_>) -> Result<Accepted, SendError> {
        // A name is judged by what it leads to; an address in a URL is never looked up.
        if let Route::Direct(egress) = &self.route {
            egress.judge_url(outgoing.destination.url())?;
        }
        let body = outgoing.payload.to_string();
        let signature = sign(&outgoing, &body)?;
        let response = self.post(&outgoing, body, &signature).await.map_err(|error| describe::transport(&error))?;
        let status = response.status();
        let asked = retry_after::read(response.headers(), outgoing.at);
        drain(response).await;
        match judge(status.as_u16(), asked) {
            Answer::Accepted => Ok(Accepted),
            Answer::Refused(failure) => Err(refused(status, failure)),
        }
    }
}

fn sign(outgoing: &Outgoing<'_>, body: &str) -> Result<String, SendError> {
    standardwebhooks::Webhook::new(outgoing.signing_secret)
        .and_then(|webhook| webhook.sign(&outgoing.delivery_id.to_string(), outgoing.at.timestamp(), body.as_bytes()))
        .map_err(|_| SendError::Permanent { reason: "the message can't be signed".to_owned() })
}

/// The status has decided; what comes after it may break off.
async fn drain(mut response: Response) {
    let mut read = 0;
    while let Ok(Some(chunk)) = response.chunk().await {
        read += chunk.len();
        if read > ANSWER_LIMIT {
            break;
        }
    }
}

fn refused(status: StatusCode, failure: Failure) -> SendError {
    let reason = format!("the destination answered {status}");
    match failure {
        Failure::Transient { retry_after } => SendError::Transient { retry_after, reason },
        Failure::Ambiguous { retry_after } => SendError::Ambiguous { retry_after, reason },
        Failure::Permanent if status.is_redirection() => {
            SendError::Permanent { reason: format!("{reason}; redirects are not followed, correct the destination") }
        }
        Failure::Permanent => SendError::Permanent { reason },
    }
}

pub(crate) fn verify(signing_secret: &str, headers: &HeaderMap, body: &[u8]) -> Result<String, VerifyError> {
    let webhook = standardwebhooks::Webhook::new(signing_secret).map_err(|_| VerifyError::Signature)?;
    webhook.verify(body, headers).map_err(|error| why(&error))?;
    let id = headers.get(HEADER_WEBHOOK_ID).and_then(|id| id.to_str().ok());
    id.map(str::to_owned).ok_or(VerifyError::Header(HEADER_WEBHOOK_ID))
}

fn why(error: &WebhookError) -> VerifyError {
    match error {
        WebhookError::MissingHeader(name) | WebhookError::InvalidHeader(name) => VerifyError::Header(match *name {
            "id" => HEADER_WEBHOOK_ID,
            "timestamp" => HEADER_WEBHOOK_TIMESTAMP,
            _ => HEADER_WEBHOOK_SIGNATURE,
        }),
        WebhookError::InvalidTimestamp => VerifyError::Header(HEADER_WEBHOOK_TIMESTAMP),
        WebhookError::TimestampTooOldError | WebhookError::FutureTimestampError => VerifyError::Stale,
        WebhookError::InvalidSecret(_) | WebhookError::InvalidSignature | WebhookError::InvalidPayload => {
            VerifyError::Signature
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use clock::Sources;
    use domain::egress::Egress;

    use super::*;

    fn fresh_secret(sources: &Sources) -> String {
        format!("whsec_{}", STANDARD.encode(sources.bytes::<32>()))
    }

    fn signed(secret: &str, at: i64, body: &str) -> HeaderMap {
        let signature = standardwebhooks::Webhook::new(secret).unwrap().sign("m1", at, body.as_bytes()).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(HEADER_WEBHOOK_ID, "m1".parse().unwrap());
        headers.insert(HEADER_WEBHOOK_TIMESTAMP, at.to_string().parse().unwrap());
        headers.insert(HEADER_WEBHOOK_SIGNATURE, signature.parse().unwrap());
        headers
    }

    #[test]
    fn only_a_fresh_message_under_the_right_secret_is_believed() {
        let sources = Sources::system();
        let (ours, theirs) = (fresh_secret(&sources), fresh_secret(&sources));
        let now = sources.now().timestamp();
        let check = |headers: &HeaderMap, body: &str| verify(&ours, headers, body.as_bytes());
        assert_eq!(check(&signed(&ours, now, "{}"), "{}"), Ok("m1".to_owned()));
        assert_eq!(check(&signed(&ours, now, "{}"), "{ }"), Err(VerifyError::Signature));
        assert_eq!(check(&signed(&theirs, now, "{}"), "{}"), Err(VerifyError::Signature));
        assert_eq!(check(&signed(&ours, now - 400, "{}"), "{}"), Err(VerifyError::Stale));
        assert_eq!(check(&HeaderMap::new(), "{}"), Err(VerifyError::Header(HEADER_WEBHOOK_ID)));
    }

    fn to_this_machine() -> Route {
        Route::Direct(Egress::allowing(vec!["127.0.0.0/8".parse().unwrap()]))
    }

    /// What sending to a far side gives that takes a connection and then does as `far_side` says.
    async fn send_to(far_side: impl FnOnce(std::net::TcpStream) + Send + 'static, timeout: Duration) -> SendError {
        let sources = Sources::system();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let destination = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let far_side = tokio::task::spawn_blocking(move || far_side(listener.accept().unwrap().0));
        let outgoing = Outgoing {
            delivery_id: sources.id(),
            destination: &destination,
            signing_secret: &fresh_secret(&sources),
            payload: &serde_json::json!({}),
            at: sources.now(),
        };
        let error = Webhook::new(timeout, to_this_machine()).unwrap().send(outgoing).await.unwrap_err();
        far_side.await.unwrap();
        error
    }

    #[tokio::test]
    async fn a_message_that_may_have_arrived_is_told_from_one_that_did_not() {
        use std::io::{Read, Write};
        let read = |mut stream: &std::net::TcpStream| stream.read(&mut [0; 4096]).unwrap();
        let broken = send_to(move |stream| assert!(read(&stream) > 0), Duration::from_secs(5)).await;
        assert!(matches!(broken, SendError::Ambiguous { .. }), "{broken:?}");
        // Holds the connection until the sender gives up, which ends the read.
        let silent = move |stream: std::net::TcpStream| while read(&stream) > 0 {};
        let late = send_to(silent, Duration::from_millis(200)).await;
        assert!(matches!(late, SendError::Ambiguous { .. }), "{late:?}");
        let busy = move |mut stream: std::net::TcpStream| {
            read(&stream);
            stream.write_all(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n").unwrap();
        };
        let refused = send_to(busy, Duration::from_secs(5)).await;
        assert!(matches!(refused, SendError::Transient { .. }), "{refused:?}");
    }

    #[tokio::test]
    async fn a_failure_names_no_part_of_the_address() {
        let sources = Sources::system();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let destination = format!("http://{}/hook?signature=abc123", free.local_addr().unwrap()).parse().unwrap();
        drop(free);
        let webhook = Webhook::new(Duration::from_secs(5), to_this_machine()).unwrap();
        let outgoing = Outgoing {
            delivery_id: sources.id(),
            destination: &destination,
            signing_secret: &fresh_secret(&sources),
            payload: &serde_json::json!({}),
            at: sources.now(),
        };
        let error = webhook.send(outgoing).await.unwrap_err().to_string();
        assert!(error.starts_with("the destination can't be reached"), "{error}");
        assert!(!error.contains("127.0.0.1") && !error.contains("abc123"), "{error}");
    }
}
