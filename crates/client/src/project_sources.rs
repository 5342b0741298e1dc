//! Project sources: what workspaces of sessions begin with.

use ids::{ProjectSourceId, UploadId};
use serde::Deserialize;
use serde_json::json;

use crate::{Client, Error, Page, Session};

#[derive(Debug, Clone, Deserialize)]
pub struct ProjectSource {
    pub project_source_id: ProjectSourceId,
    pub name: String,
    /// Of the archive that came in: `tar.gz`, `zip`.
    pub format: String,
    pub files: i32,
    /// Of all files, unpacked.
    pub bytes: i64,
    /// The first entries of the archive that no workspace gets.
    pub left_out: Vec<LeftOut>,
    pub left_out_count: i32,
}

#[derive(Debug, Clone, Deserialize)]
pub struct LeftOut {
    pub path: String,
    pub why: String,
}

impl Client {
    /// Makes one of an upload that has all of its parts, and takes the upload away. A bad archive is the problem
    /// `archive_refused`.
    pub async fn project_source_create(&self, name: &str, upload: UploadId) -> Result<ProjectSource, Error> {
        self.post("/api/project-sources", &json!({"name": name, "upload_id": upload})).await
    }

    pub async fn project_source_list(&self, cursor: Option<&str>, limit: u32) -> Result<Page<ProjectSource>, Error> {
        self.get_page("/api/project-sources", cursor, limit).await
    }

    pub async fn project_source_view(&self, source: ProjectSourceId) -> Result<ProjectSource, Error> {
        self.get(&format!("/api/project-sources/{source}")).await
    }

    /// Deletes one that no session waits for.
    pub async fn project_source_delete(&self, source: ProjectSourceId) -> Result<(), Error> {
        self.delete(&format!("/api/project-sources/{source}")).await
    }

    /// Begins a session whose workspace begins with a project source.
    pub async fn session_create_from(
        &self,
        title: &str,
        agent: &str,
        source: ProjectSourceId,
    ) -> Result<Session, Error> {
        self.post("/api/sessions", &json!({"title": title, "agent": agent, "project_source": source})).await
    }
}
