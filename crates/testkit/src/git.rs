//! A git repository, and a server that gives it out over HTTP, as `git http-backend` does, and as bad servers do.
//!
//! Addresses: `/shop.git` is the repository; `/private.git` is it for whoever brings [`USERNAME`] and the server's secret;
//! `/moved.git` leads elsewhere; `/silent.git` never answers; every other one is not found.
//!
//! Not here: encryption.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

pub const USERNAME: &str = "ada";

const NEEDED: &str = "git runs: install Debian's package git";

/// A repository with a working tree.
#[derive(Debug, Clone)]
pub struct GitRepository {
    tree: PathBuf,
}

impl GitRepository {
    /// Below `root`, where a [`GitServer`] finds it.
    #[must_use]
    pub fn create(root: &Path) -> Self {
        let tree = root.join("shop");
        std::fs::create_dir_all(&tree).expect("the folder can be made");
        let repository = Self { tree };
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository.git(&["config", "uploadpack.allowReachableSHA1InWant", "true"]);
        repository.git(&["config", "http.receivepack", "false"]);
        repository
    }

    #[must_use]
    pub fn tree(&self) -> &Path {
        &self.tree
    }

    /// Commits the tree as it is, and gives back the commit's id.
    #[must_use]
    pub fn commit(&self) -> String {
        self.git(&["add", "--all", "--force"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message=more"]);
        self.git(&["rev-parse", "HEAD"]).trim().to_owned()
    }

    /// Runs git in the tree.
    pub fn git(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("git");
        command
            .args(arguments)
            .current_dir(&self.tree)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null");
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "Ada").env(format!("GIT_{who}_EMAIL"), "ada@example.org");
        }
        let output = command.output().expect(NEEDED);
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// Serves until it is dropped.
#[derive(Debug)]
pub struct GitServer {
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
    task: AbortHandle,
}

impl GitServer {
    /// `secret`: what `/private.git` asks for.
    pub async fn start(root: &Path, secret: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let authorization = Arc::new(STANDARD.encode(format!("{USERNAME}:{secret}")));
        let (root, asked) = (root.to_owned(), seen.clone());
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, root.clone(), authorization.clone(), asked.clone()));
            }
        });
        Self { port, seen, task: serving.abort_handle() }
    }

    #[must_use]
    pub fn address(&self, name: &str) -> String {
        format!("http://localhost:{}/{name}", self.port)
    }

    /// The first lines of all requests.
    #[must_use]
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("no holder of this lock can panic").clone()
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Request {
    line: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    async fn read(stream: &mut TcpStream) -> Option<Self> {
        let mut read = Vec::new();
        let head = loop {
            if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            if stream.read_buf(&mut read).await.ok()? == 0 {
                return None;
            }
        };
        let text = String::from_utf8(read[..head].to_vec()).ok()?;
        let mut lines = text.split("\r\n");
        let line = lines.next()?.to_owned();
        let header =
            |line: &str| line.split_once(':').map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
        let headers: Vec<(String, String)> = lines.filter_map(header).collect();
        let mut request = Self { line, headers, body: read.split_off(head + 4) };
        let length: usize = request.header("content-length").parse().unwrap_or(0);
        while request.body.len() < length {
            if stream.read_buf(&mut request.body).await.ok()? == 0 {
                return None;
            }
        }
        Some(request)
    }

    /// Empty: it has none.
    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(there, _)| there == name).map_or("", |(_, value)| value)
    }
}

async fn answer(mut stream: TcpStream, root: PathBuf, authorization: Arc<String>, seen: Arc<Mutex<Vec<String>>>) {
    let Some(request) = Request::read(&mut stream).await else { return };
    seen.lock().expect("no holder of this lock can panic").push(request.line.clone());
    let target = request.line.split(' ').nth(1).unwrap_or_default().to_owned();
    let (name, rest) = target[1..].split_once('/').unwrap_or((&target[1..], ""));
    let allowed = request.header("authorization") == format!("Basic {authorization}");
    let said = match name {
        "silent.git" => return std::future::pending().await,
        "moved.git" => head("301 Moved", "Location: http://127.0.0.2:1/shop.git"),
        "private.git" if !allowed => head("401 Unauthorized", "WWW-Authenticate: Basic realm=\"git\""),
        "shop.git" | "private.git" => backend(&root, &request, rest).await,
        _ => head("404 Not Found", "Content-Type: text/plain"),
    };
    let _ = stream.write_all(&said).await;
    let _ = stream.shutdown().await;
}

fn head(status: &str, header: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{header}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into_bytes()
}

async fn backend(root: &Path, request: &Request, rest: &str) -> Vec<u8> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut command = tokio::process::Command::new("git");
    command.arg("http-backend").env("GIT_PROJECT_ROOT", root.join("shop")).env("GIT_HTTP_EXPORT_ALL", "1");
    command.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", "safe.directory").env("GIT_CONFIG_VALUE_0", "*");
    command.env("PATH_INFO", format!("/.git/{path}")).env("QUERY_STRING", query);
    command.env("REQUEST_METHOD", request.line.split(' ').next().unwrap_or_default());
    command.env("CONTENT_TYPE", request.header("content-type")).env("CONTENT_LENGTH", request.body.len().to_string());
    command
        .env("GIT_PROTOCOL", request.header("git-protocol"))
        .env("HTTP_CONTENT_ENCODING", request.header("content-encoding"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect(NEEDED);
    let mut body = child.stdin.take().expect("it is piped");
    let sent = request.body.clone();
    let sending = tokio::spawn(async move { body.write_all(&sent).await });
    let written = child.wait_with_output().await.expect(NEEDED).stdout;
    let _ = sending.await;
    let end = written.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(written.len());
    let headers = String::from_utf8_lossy(&written[..end]).into_owned();
    let status = headers.split("\r\n").find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK").to_owned();
    let mut said = format!("HTTP/1.1 {status}\r\nConnection: close\r\n").into_bytes();
    said.extend_from_slice(&written);
    said
}
