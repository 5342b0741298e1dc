//! Project sources: what workspaces of sessions begin with.

use std::time::Duration;

use ids::{ProjectSourceId, UploadId};
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use crate::{Client, Error, Page, Session, answer_within};

/// A fetch takes a minute at most, and then there is something to write.
const FETCH_TIMEOUT: Duration = Duration::from_secs(90);

#[derive(Debug, Clone, Deserialize)]
pub struct ProjectSource {
    pub project_source_id: ProjectSourceId,
    pub name: String,
    /// Of what came in: `tar.gz`, `zip`, `git`.
    pub format: String,
    pub files: i32,
    /// Of all files, unpacked.
    pub bytes: i64,
    /// The first entries of the archive that no workspace gets.
    pub left_out: Vec<LeftOut>,
    pub left_out_count: i32,
    /// `None`: it was uploaded.
    pub repository: Option<SourceRepository>,
}

/// What a project source was fetched from.
#[derive(Debug, Clone, Deserialize)]
pub struct SourceRepository {
    pub url: String,
    /// As it was asked for.
    #[serde(rename = "ref")]
    pub reference: String,
    /// What that led to.
    pub commit: String,
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

    /// Makes one of the files of one commit, which is fetched meanwhile: of a branch, a tag or a commit, or of what the server's `HEAD`
    /// leads to. `credential` is a user's name and a password or token; it is used once. The problems `repository_refused`,
    /// `destination_refused` and `archive_refused` say what is in the way.
    pub async fn project_source_fetch(
        &self,
        name: &str,
        url: &str,
        reference: Option<&str>,
        credential: Option<(&str, &str)>,
    ) -> Result<ProjectSource, Error> {
        let mut repository = json!({"url": url, "ref": reference});
        if let Some((username, secret)) = credential {
            repository["credential"] = json!({"username": username, "secret": secret});
        }
        let new = json!({"name": name, "repository": repository});
        answer_within(FETCH_TIMEOUT, self.request(Method::POST, "/api/project-sources").json(&new)).await
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
