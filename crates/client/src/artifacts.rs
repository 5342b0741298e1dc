//! Artifacts: list, view, download. Uploads are in `uploads`.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use ids::{ArtifactId, SessionId};
use reqwest::Method;
use reqwest::header::{IF_MATCH, RANGE};
use serde::Deserialize;

use crate::{Client, Error, Page, accepted};

#[derive(Debug, Clone, Deserialize)]
pub struct Artifact {
    pub artifact_id: ArtifactId,
    pub session_id: SessionId,
    pub name: String,
    pub media_type: String,
    /// Bytes.
    pub size: i64,
    /// Lower-case hex.
    pub sha256: String,
    pub created_at: DateTime<Utc>,
}

impl Client {
    /// One page of the org's artifacts; at most `limit` (1 to 1,000).
    pub async fn artifact_list(&self, cursor: Option<&str>, limit: u32) -> Result<Page<Artifact>, Error> {
        self.get_page("/api/artifacts", cursor, limit).await
    }

    /// As [`Self::artifact_list`], of one session.
    pub async fn session_artifact_list(
        &self,
        session: SessionId,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<Artifact>, Error> {
        self.get_page(&format!("/api/sessions/{session}/artifacts"), cursor, limit).await
    }

    pub async fn artifact_get(&self, artifact: ArtifactId) -> Result<Artifact, Error> {
        self.get(&format!("/api/artifacts/{artifact}")).await
    }

    /// The whole content, in memory.
    pub async fn artifact_content(&self, artifact: ArtifactId) -> Result<Bytes, Error> {
        let response = accepted(self.request(Method::GET, &format!("/api/artifacts/{artifact}/content"))).await?;
        Ok(response.bytes().await?)
    }

    /// The content from the byte `from` on, for who has what is before it; `sha256` is what the artifact says. Who puts both
    /// together compares the hash: of a part the server compares the size only.
    pub async fn artifact_content_from(&self, artifact: ArtifactId, sha256: &str, from: u64) -> Result<Bytes, Error> {
        let request = self
            .request(Method::GET, &format!("/api/artifacts/{artifact}/content"))
            .header(RANGE, format!("bytes={from}-"))
            .header(IF_MATCH, format!("\"{sha256}\""));
        Ok(accepted(request).await?.bytes().await?)
    }
}
