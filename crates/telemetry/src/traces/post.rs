//! Sends what is queued, a batch at a time. A batch that is not taken is lost: what is about to happen is worth more than what
//! was, and a collector that comes back is not run over.

use std::time::Duration;

use opentelemetry_sdk::trace::SpanData;
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::traces::encode::Encoder;
use crate::traces::{COLLECTOR, lost};

/// Spans of one request.
const BATCH: usize = 512;
/// The first span of a batch waits for others no longer than this.
const GATHERING: Duration = Duration::from_secs(1);
/// Of one request, its answer included.
const TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) struct Poster {
    client: Client,
    url: String,
    encoder: Encoder,
    /// Whether the last batch was lost, so that the log says it once.
    failing: bool,
}

/// A collector did not take a batch.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("it can't be reached, or does not answer in time")]
    Unreached(#[source] reqwest::Error),
    #[error("it answered {0}")]
    Status(StatusCode),
}

impl Poster {
    pub(crate) fn new(endpoint: &str, encoder: Encoder) -> Result<Self, reqwest::Error> {
        let client = Client::builder().timeout(TIMEOUT).redirect(Policy::none()).no_proxy().user_agent("open-cowork");
        let url = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
        Ok(Self { client: client.build()?, url, encoder, failing: false })
    }

    /// Sends until `stop`, and then what is left.
    pub(crate) async fn run(mut self, mut queued: mpsc::Receiver<SpanData>, stop: CancellationToken) {
        loop {
            let batch = gather(&mut queued, &stop).await;
            if batch.is_empty() {
                return;
            }
            self.send(&batch).await;
        }
    }

    async fn send(&mut self, batch: &[SpanData]) {
        let sent = self.post(batch).await;
        match &sent {
            Ok(()) => metrics::counter!("cowork_spans_exported_total").increment(batch.len() as u64),
            Err(_) => lost(batch.len(), COLLECTOR),
        }
        match (sent, self.failing) {
            (Err(refusal), false) => {
                let reason = refusal.to_string();
                tracing::warn!(reason, "the collector of traces takes no spans; they are lost until it does");
                self.failing = true;
            }
            (Ok(()), true) => {
                tracing::info!("the collector of traces takes spans again");
                self.failing = false;
            }
            _ => {}
        }
    }

    async fn post(&self, batch: &[SpanData]) -> Result<(), Refusal> {
        let body = self.encoder.body(batch).to_string();
        let request = self.client.post(&self.url).header(CONTENT_TYPE, "application/json").body(body);
        let status = request.send().await.map_err(Refusal::Unreached)?.status();
        if status.is_success() { Ok(()) } else { Err(Refusal::Status(status)) }
    }
}

/// A batch: as soon as it is full, or its first span has waited long enough, or at once after `stop`. Empty: that was all.
async fn gather(queued: &mut mpsc::Receiver<SpanData>, stop: &CancellationToken) -> Vec<SpanData> {
    let mut batch = Vec::new();
    let mut until = None;
    while batch.len() < BATCH {
        let room = BATCH - batch.len();
        let more = tokio::select! {
            biased;
            () = stop.cancelled(), if !queued.is_closed() => {
                queued.close();
                continue;
            }
            more = queued.recv_many(&mut batch, room) => more,
            () = tokio::time::sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => 0,
        };
        if more == 0 {
            break;
        }
        until.get_or_insert_with(|| Instant::now() + GATHERING);
    }
    batch
}
