//! Row 10, redaction: no canary of the seven classes appears in any output of any role, of any command, or in the
//! report itself; and a canary that was put there on purpose is found, so that finding none means something.
//!
//! Not here: how values are found in encodings (`redact`).

use std::path::{Path, PathBuf};

use client::Client;
use redact::{Findings, Needle, Scanner};
use serde::Deserialize;
use serde_json::json;
use walkdir::WalkDir;

use super::Inquiry;
use crate::processes::Role;
use crate::report::Code;
use crate::said::{Fact, Heard, Name, facts, say};
use crate::target::Target;

/// Something that was said, and by whom.
#[derive(Debug)]
pub(crate) enum Output {
    File { name: String, path: PathBuf },
    Text { name: String, text: String },
}

/// Collects what the running target says: diagnostics, metrics of every role, error bodies, process arguments.
pub(crate) async fn collect_live(
    inquiry: &mut Inquiry,
    target: &Target,
    operator: &Client,
    needles: &[Needle],
) -> Vec<Output> {
    let mut outputs = Vec::new();
    for path in ["/api/diagnostics", "/api/metrics", "/api/workspace", "/healthz"] {
        if let Some(text) = inquiry.learn("an operator read", operator.text(path).await) {
            outputs.push(Output::Text { name: format!("GET {path}"), text });
        }
    }
    for path in ["/api/audit", "/api/byok-keys"] {
        if let Some(text) = inquiry.learn("an operator read", every_page(operator, path).await) {
            outputs.push(Output::Text { name: format!("GET {path}"), text });
        }
    }
    for process in &target.roles {
        let role =
            [Role::Web, Role::Worker, Role::Scheduler, Role::Gateway].into_iter().find(|role| process.serves(*role));
        let url = role.map_or_else(String::new, |role| process.url(role));
        let metrics = Client::new(url, String::new().into()).text("/metrics").await;
        if let Some(text) = inquiry.learn("a role's metrics", metrics) {
            outputs.push(Output::Text { name: format!("metrics of {}", role.map_or("nobody", Role::as_str)), text });
        }
        // Where the drill can't see a role's log, finding nothing in it says nothing.
        inquiry.learn("a role's log", process.fetch_log().await);
        if process.pid == 0 {
            continue;
        }
        let arguments = std::fs::read(format!("/proc/{}/cmdline", process.pid)).unwrap_or_default();
        let text = String::from_utf8_lossy(&arguments).replace('\0', " ");
        outputs.push(Output::Text { name: format!("arguments of {}", process.name), text });
    }
    outputs.extend(error_bodies(&target.url(Role::Web), needles).await);
    outputs
}

/// A list to its end, as it is answered, page behind page.
async fn every_page(operator: &Client, path: &str) -> anyhow::Result<String> {
    #[derive(Deserialize)]
    struct Page {
        next_cursor: Option<String>,
    }
    let (mut all, mut query) = (String::new(), "limit=200".to_owned());
    loop {
        let text = operator.text(&format!("{path}?{query}")).await?;
        let Page { next_cursor } = serde_json::from_str(&text)?;
        all.push_str(&text);
        all.push('\n');
        let Some(cursor) = next_cursor else { return Ok(all) };
        query = format!("limit=200&cursor={cursor}");
    }
}

/// What the API says when it is asked for nonsense that is full of canaries.
async fn error_bodies(web: &str, needles: &[Needle]) -> Vec<Output> {
    let Ok(http) = reqwest::Client::builder().no_proxy().build() else { return Vec::new() };
    let mut outputs = Vec::new();
    for needle in needles {
        let value = String::from_utf8_lossy(&needle.value).into_owned();
        let requests = [
            ("a bad token", http.get(format!("{web}/api/workspace")).bearer_auth(&value)),
            ("a bad body", http.post(format!("{web}/api/sessions")).json(&json!({"title": 7, "agent": value}))),
            ("a bad path", http.get(format!("{web}/api/sessions/nothing")).query(&[("cursor", &value)])),
        ];
        for (what, request) in requests {
            if let Ok(response) = request.send().await {
                let name = format!("answer to {what} ({})", needle.label);
                outputs.push(Output::Text { name, text: response.text().await.unwrap_or_default() });
            }
        }
    }
    outputs
}

/// Every file below `folder`, named relative to it.
pub(crate) fn files_below(folder: &Path, label: &str) -> Vec<Output> {
    let files = WalkDir::new(folder).sort_by_file_name().into_iter().flatten();
    let files = files.filter(|entry| entry.file_type().is_file());
    files
        .map(|entry| {
            let name = entry.path().strip_prefix(folder).unwrap_or(entry.path()).display().to_string();
            Output::File { name: format!("{label}/{name}"), path: entry.into_path() }
        })
        .collect()
}

/// Scans all of it.
pub(crate) fn judge(inquiry: &mut Inquiry, needles: &[Needle], outputs: &[Output]) {
    let Some(scanner) = inquiry.learn("the scanner could not be made", Scanner::new(inquiry.sought(needles).to_vec()))
    else {
        return;
    };
    positive_control(inquiry, &scanner, needles);
    let mut scanned: Vec<Fact> = Vec::new();
    for output in outputs {
        match scan(&scanner, output) {
            Ok((name, found)) => {
                let name = Name::given(&name);
                for hit in &found.hits {
                    let (label, written) = (Name::given(hit.what.label()), Name::given(&hit.written()));
                    inquiry.fault(
                        Code::CanaryFound,
                        say!("{} holds {}, as {}, at byte {}", name, label, written, hit.offset),
                    );
                }
                for unseen in &found.unseen {
                    let what = say!("{} could not be looked into at byte {}", name, unseen.offset);
                    inquiry.could_not(what, unseen.reason.sentence());
                }
                inquiry.held(1);
                scanned.push(facts!({"output": name, "bytes": found.bytes, "hits": found.hits.len()}));
            }
            Err((name, error)) => {
                inquiry.could_not(say!("{} could not be scanned", Name::given(&name)), say!("{}", Heard::of(error)));
            }
        }
    }
    inquiry.record("scanned", &scanned);
}

fn scan(scanner: &Scanner, output: &Output) -> Result<(String, Findings), (String, std::io::Error)> {
    match output {
        Output::Text { name, text } => Ok((name.clone(), scanner.scan(text.as_bytes()))),
        Output::File { name, path } => {
            let found = std::fs::File::open(path).and_then(|file| scanner.scan_reader(file));
            found.map(|found| (name.clone(), found)).map_err(|error| (name.clone(), error))
        }
    }
}

/// Each canary, put into a line of a log in the clear, as base64, and as hex of that, must be found: else finding none says
/// nothing.
fn positive_control(inquiry: &mut Inquiry, scanner: &Scanner, needles: &[Needle]) {
    use base64::Engine as _;
    for needle in needles {
        let encoded = base64::engine::general_purpose::STANDARD.encode(&needle.value);
        let nested = hex::encode(format!("{{\"inner\": \"{encoded}\"}}"));
        for form in [needle.value.as_slice(), encoded.as_bytes(), nested.as_bytes()] {
            let line = [b"{\"message\": \"", form, b"\"}"].concat();
            let found = scanner.scan(&line).hits.iter().any(|hit| hit.what.label() == needle.label);
            inquiry.expect(found, Code::PositiveControl, || {
                say!("{} was planted and not found", Name::given(&needle.label))
            });
        }
    }
}
