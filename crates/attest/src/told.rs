//! What `attest verify` and `cowork drill verify` answer: the same words, the same JSON, the same exit codes.
//!
//! Not here: verifying (`bundle`).

use std::path::Path;

use serde_json::{Value, json};

use crate::bundle::{self, Refusal, Verified, VerifyError};
use crate::key::PublicKey;
use crate::statement::Statement;

/// The answer to "may I rely on this folder?".
#[derive(Debug)]
pub enum Answer {
    Verified(Box<Verified>),
    Refused(Refusal),
    /// Nobody knows. The sentence says why.
    CouldNot(String),
}

impl Answer {
    /// Verifies `folder` with the public key in `pem`.
    #[must_use]
    pub fn of(folder: &Path, pem: &str) -> Self {
        let key = match PublicKey::from_pem(pem) {
            Ok(key) => key,
            Err(error) => return Self::CouldNot(error.to_string()),
        };
        match bundle::verify(folder, &key) {
            Ok(verified) => Self::Verified(Box::new(verified)),
            Err(VerifyError::Refused(refusal)) => Self::Refused(refusal),
            Err(error) => Self::CouldNot(bundle::chain(&error)),
        }
    }

    /// 0 verified, 1 refused, 2 could not be looked at.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Verified(_) => 0,
            Self::Refused(_) => 1,
            Self::CouldNot(_) => 2,
        }
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        match self {
            Self::Verified(verified) => json!({
                "verified": true, "key_id": verified.key_id, "public_key_sha256": verified.fingerprint,
                "files": verified.files, "bytes": verified.bytes, "statement": verified.statement,
            }),
            Self::Refused(refusal) => {
                json!({"verified": false, "problems": refusal.problems, "problems_total": refusal.total})
            }
            Self::CouldNot(why) => json!({"verified": null, "error": why}),
        }
    }

    /// For people: what is signed, or what is wrong and what to do.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Verified(verified) => describe(verified),
            Self::Refused(refusal) => refused(refusal),
            Self::CouldNot(why) => format!(
                "The bundle could not be looked at.\n  detail: {why}\n  \
                 what to do: name a drill's report folder, and a public key in PEM"
            ),
        }
    }
}

fn describe(verified: &Verified) -> String {
    let Statement { predicate, subject, .. } = &verified.statement;
    let mut lines = vec![
        format!("Verified: {} files, {} bytes, nothing changed, missing or added.", verified.files, verified.bytes),
        format!("  signed by  {} (public key SHA-256 {})", verified.key_id, verified.fingerprint),
        format!("  drill      {} of {}", predicate.drill_id, predicate.timings.started_at.format("%Y-%m-%d %H:%M UTC")),
        format!("  build      {}", predicate.build),
    ];
    for named in subject.iter().filter(|subject| !subject.name.starts_with(crate::statement::FILE_PREFIX)) {
        lines.push(format!("  {:26} {}", named.name, named.digest.sha256));
    }
    lines.push(format!("  isolation  {}", held(predicate.isolation.held)));
    lines.push(format!("  clean-up   {}", held(predicate.clean_up.held)));
    for check in &predicate.checks {
        let begun = if check.begun { "" } else { ", never begun" };
        lines.push(format!("  {:26} {}, {} compared{begun}", check.id, check.verdict.word(), check.comparisons));
    }
    lines.push(format!("The drill's verdict: {}.", predicate.verdict.word()));
    lines.join("\n")
}

fn held(held: bool) -> &'static str {
    if held { "proven" } else { "NOT proven" }
}

fn refused(refusal: &Refusal) -> String {
    let mut lines = vec!["Refused: this bundle is not what was signed, or nothing was.".to_owned()];
    lines.extend(refusal.problems.iter().map(|problem| format!("  {}: {}", problem.code, problem.sentence)));
    let more = refusal.total - refusal.problems.len();
    if more > 0 {
        lines.push(format!("  and {more} more"));
    }
    lines.push("  what to do: get the bundle again from whoever ran the drill, or run a drill with a key".to_owned());
    lines.join("\n")
}
