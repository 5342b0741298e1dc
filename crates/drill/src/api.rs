//! Whole lists through the API, page by page, and calls that are made again while a role is being started again.
//!
//! Not here: the calls themselves (`client`).

use std::time::Duration;

use client::{Artifact, ChannelIdentity, Client, Delivery, Error, Member, Page, Run, Session, Slot, Workflow};
use ids::WorkflowId;

/// How long a call is made again when nobody answers.
const PATIENCE: Duration = Duration::from_secs(60);

async fn all<T>(mut page: impl AsyncFnMut(Option<&str>) -> Result<Page<T>, Error>) -> Result<Vec<T>, Error> {
    let (mut items, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let next = page(cursor.as_deref()).await?;
        items.extend(next.items);
        match next.next_cursor {
            Some(next) => cursor = Some(next),
            None => return Ok(items),
        }
    }
}

pub(crate) async fn sessions(client: &Client) -> Result<Vec<Session>, Error> {
    all(async |cursor| client.session_list(cursor, 200).await).await
}

pub(crate) async fn artifacts(client: &Client) -> Result<Vec<Artifact>, Error> {
    all(async |cursor| client.artifact_list(cursor, 1_000).await).await
}

pub(crate) async fn runs(client: &Client) -> Result<Vec<Run>, Error> {
    all(async |cursor| client.run_list(cursor, 200).await).await
}

pub(crate) async fn workflows(client: &Client) -> Result<Vec<Workflow>, Error> {
    all(async |cursor| client.workflow_list(cursor, 200).await).await
}

pub(crate) async fn slots(client: &Client, workflow: WorkflowId) -> Result<Vec<Slot>, Error> {
    all(async |cursor| client.slot_list(workflow, cursor, 200).await).await
}

pub(crate) async fn members(client: &Client) -> Result<Vec<Member>, Error> {
    all(async |cursor| client.member_list(cursor, 200).await).await
}

pub(crate) async fn deliveries(client: &Client, state: Option<&str>) -> Result<Vec<Delivery>, Error> {
    all(async |cursor| client.delivery_list(state, cursor, 200).await).await
}

pub(crate) async fn channel_identities(client: &Client) -> Result<Vec<ChannelIdentity>, Error> {
    all(async |cursor| client.channel_identity_list(None, None, cursor, 200).await).await
}

/// Calls until somebody answers. For calls whose repeat is harmless: they carry an idempotency key, or they read.
pub(crate) async fn persist<T>(mut call: impl AsyncFnMut() -> Result<T, Error>) -> Result<T, Error> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        match call().await {
            Err(error) if passes(&error) && tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            other => return other,
        }
    }
}

/// Whether another try may succeed: nobody answered, or the server was shutting down.
fn passes(error: &Error) -> bool {
    error.status().is_none_or(|status| status >= 500)
}
