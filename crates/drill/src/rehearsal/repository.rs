//! A git repository of one commit, and a server that gives it out over HTTP: somebody else's, from whom the source fetches files to begin
//! sessions with.
//!
//! It is of the program `git`; a machine without one has a source that fetches nothing.
//!
//! Not here: what is done with what was fetched (`life`).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

/// The file of its commit, and its content.
pub(crate) const MANUAL: (&str, &str) = ("manual.md", "# Manual\n\nAs it was committed. Как было.\n");

/// A repository that is served. Stops when dropped; its folder belongs to whoever began it.
#[derive(Debug)]
pub(crate) struct Repository {
    address: SocketAddr,
    stop: CancellationToken,
}

/// `git`, with nobody's configuration.
#[derive(Debug)]
struct Git {
    folder: PathBuf,
    search_path: String,
}

impl Repository {
    /// Commits the file in `folder`, which is empty, and listens on a free port of the loopback interface. `None`: there is no git.
    pub(crate) async fn serve(folder: PathBuf, search_path: &str) -> anyhow::Result<Option<Self>> {
        let git = Git { folder, search_path: search_path.to_owned() };
        if !git.is_there().await {
            return Ok(None);
        }
        git.commit().await.context("a repository can't be made")?;
        let app = Router::new()
            .route("/manual.git/info/refs", get(advertise))
            .route("/manual.git/git-upload-pack", post(give_out))
            .with_state(Arc::new(git));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let (address, stop) = (listener.local_addr()?, CancellationToken::new());
        let stopped = stop.clone().cancelled_owned();
        tokio::spawn(async move { axum::serve(listener, app).with_graceful_shutdown(stopped).await });
        Ok(Some(Self { address, stop }))
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/manual.git", self.address)
    }
}

impl Drop for Repository {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Git {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        command.env_clear().env("PATH", &self.search_path).env("GIT_CONFIG_NOSYSTEM", "1");
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("HOME", &self.folder).current_dir(&self.folder);
        command.args([
            "-c",
            "safe.directory=*",
            "-c",
            "user.name=Somebody",
            "-c",
            "user.email=somebody@elsewhere.invalid",
        ]);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        command
    }

    async fn is_there(&self) -> bool {
        self.command(&["--version"]).status().await.is_ok_and(|status| status.success())
    }

    async fn commit(&self) -> anyhow::Result<()> {
        std::fs::write(self.folder.join(MANUAL.0), MANUAL.1)?;
        for arguments in [["init", "-q", "."].as_slice(), &["add", "--", MANUAL.0], &["commit", "-q", "-m", "Begin"]] {
            let done = self.command(arguments).status().await?;
            ensure!(done.success(), "`git {}` failed", arguments[0]);
        }
        Ok(())
    }

    /// One exchange of the protocol's second version, which is the only one that is spoken here.
    async fn speak(&self, arguments: &[&str], said: &[u8]) -> anyhow::Result<Vec<u8>> {
        let mut command = self.command(&["upload-pack", "--stateless-rpc"]);
        command.args(arguments).arg(&self.folder).env("GIT_PROTOCOL", "version=2");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut input = child.stdin.take().context("it is piped")?;
        input.write_all(said).await?;
        drop(input);
        let done = child.wait_with_output().await?;
        ensure!(done.status.success(), "`git upload-pack` failed");
        Ok(done.stdout)
    }
}

async fn advertise(State(git): State<Arc<Git>>) -> Response {
    answer("application/x-git-upload-pack-advertisement", git.speak(&["--advertise-refs"], &[]).await)
}

async fn give_out(State(git): State<Arc<Git>>, headers: HeaderMap, said: Bytes) -> Response {
    // Longer questions than a repository of one commit leads to are packed.
    if headers.contains_key(header::CONTENT_ENCODING) {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    }
    answer("application/x-git-upload-pack-result", git.speak(&[], &said).await)
}

fn answer(kind: &'static str, said: anyhow::Result<Vec<u8>>) -> Response {
    match said {
        Ok(said) => ([(header::CONTENT_TYPE, kind)], said).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_commit_can_be_fetched_as_from_any_server() {
        let path = "/usr/local/bin:/usr/bin:/bin".to_owned();
        let (folder, clone) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let served = Repository::serve(folder.path().to_owned(), &path).await.unwrap().unwrap();
        let git = Git { folder: clone.path().to_owned(), search_path: path };
        let url = served.url();
        let cloned = git.command(&["clone", "-q", "--depth=1", &url, "here"]).status().await.unwrap();
        assert!(cloned.success());
        assert_eq!(std::fs::read_to_string(clone.path().join("here").join(MANUAL.0)).unwrap(), MANUAL.1);
    }
}
