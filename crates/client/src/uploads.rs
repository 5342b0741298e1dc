//! Uploads: files sent in parts.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use ids::{ArtifactId, SessionId, UploadId};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{Artifact, CALL_TIMEOUT, Client, Error, accepted};

/// A file that somebody begins to send.
#[derive(Debug, Clone, Serialize)]
pub struct NewUpload {
    pub name: String,
    pub media_type: String,
    /// Bytes of the whole.
    pub size: i64,
    /// Hex, of the whole.
    pub sha256: String,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Upload {
    pub upload_id: UploadId,
    /// `None`: it is to be a project source.
    pub session_id: Option<SessionId>,
    /// Bytes of every part but the last.
    pub part_size: i64,
    /// Parts are numbered from 1 to this.
    pub part_count: i32,
    /// Those that are there; who resumes sends the others.
    pub parts: Vec<i32>,
    /// `None`: it is not complete.
    pub artifact_id: Option<ArtifactId>,
    pub expires_at: DateTime<Utc>,
}

impl Client {
    pub async fn upload_create(&self, session: SessionId, new: &NewUpload) -> Result<Upload, Error> {
        self.post(&format!("/api/sessions/{session}/uploads"), new).await
    }

    /// Begins one that is to be a project source.
    pub async fn upload_create_alone(&self, new: &NewUpload) -> Result<Upload, Error> {
        self.post("/api/uploads", new).await
    }

    pub async fn upload_get(&self, upload: UploadId) -> Result<Upload, Error> {
        self.get(&format!("/api/uploads/{upload}")).await
    }

    /// Sends a part, from 1. A repeat with the same bytes changes nothing.
    pub async fn upload_part_put(&self, upload: UploadId, part: i32, bytes: Bytes) -> Result<(), Error> {
        let request = self.request(Method::PUT, &format!("/api/uploads/{upload}/parts/{part}"));
        accepted(request.timeout(CALL_TIMEOUT).body(bytes)).await?;
        Ok(())
    }

    /// Makes the file an artifact. A repeat gets the same one.
    pub async fn upload_complete(&self, upload: UploadId) -> Result<Artifact, Error> {
        self.post(&format!("/api/uploads/{upload}/complete"), &json!({})).await
    }

    /// Gives the upload up. An artifact that it became stays.
    pub async fn upload_delete(&self, upload: UploadId) -> Result<(), Error> {
        self.delete(&format!("/api/uploads/{upload}")).await
    }
}
