//! Row 3, secret references: every reference that the backup names is configured here with the same version and
//! resolves, every stored ciphertext opens under the restored keys, and nothing plaintext was exported.
//!
//! The ciphertexts are opened by `cowork admin verify`, the operator's own command; how many there must be comes from
//! the manifest.
//!
//! Not here: looking for canaries in the roles' output (`redaction`).

use archive::Manifest;
use ids::SessionId;
use serde::{Deserialize, Serialize};

use super::Inquiry;
use crate::processes::{Finished, Launcher};
use crate::report::Code;
use crate::settings::SecretValues;

/// What `cowork admin verify --json` prints.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Verification {
    pub(crate) secrets: Vec<Reference>,
    pub(crate) ciphertexts: Ciphertexts,
    pub(crate) checkpoints: Checkpoints,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Reference {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) resolved: bool,
    pub(crate) error: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ciphertexts {
    pub(crate) checked: u64,
    pub(crate) failed: Vec<FailedCiphertext>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct FailedCiphertext {
    pub(crate) table: String,
    pub(crate) id: String,
    pub(crate) error: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Checkpoints {
    pub(crate) checked: u64,
    pub(crate) failed: Vec<FailedCheckpoint>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct FailedCheckpoint {
    pub(crate) checkpoint_id: String,
    pub(crate) session_id: String,
    pub(crate) error: String,
}

/// Runs `cowork admin verify` on the target; of one session's checkpoints only, if it is named.
pub(crate) async fn verify(
    launcher: &Launcher,
    session: Option<SessionId>,
) -> anyhow::Result<(Verification, Finished)> {
    let session = session.map(|session| format!("--session={session}"));
    let arguments: Vec<&str> = ["admin", "verify", "--json"].into_iter().chain(session.as_deref()).collect();
    let done = launcher.run(&arguments).await?;
    let verification = serde_json::from_str(&done.stdout);
    let verification = verification.map_err(|error| {
        anyhow::anyhow!(
            "`cowork admin verify` ended with {:?} and no JSON ({error}): {}",
            done.exit_code,
            done.last_words()
        )
    })?;
    Ok((verification, done))
}

pub(crate) fn judge(
    inquiry: &mut Inquiry,
    manifest: &Manifest,
    verified: &anyhow::Result<(Verification, Finished)>,
    secrets: &SecretValues,
) {
    let (verification, finished) = match verified {
        Ok(verified) => verified,
        Err(error) => return inquiry.could_not("the stored ciphertexts could not be opened", error),
    };
    inquiry.record("verification", verification);
    judge_references(inquiry, manifest, &verification.secrets);
    judge_ciphertexts(inquiry, manifest, &verification.ciphertexts);
    judge_plaintext(inquiry, manifest, finished, secrets);
}

fn judge_references(inquiry: &mut Inquiry, manifest: &Manifest, references: &[Reference]) {
    for expected in &manifest.secrets {
        let (name, version) = (&expected.name, &expected.version);
        // A key that was rotated is configured in several versions.
        let named: Vec<&Reference> = references.iter().filter(|reference| reference.name == *name).collect();
        let same = named.iter().find(|reference| reference.version == *version);
        let Some(found) = same.or(named.first()) else {
            inquiry.fault(
                Code::SecretMissing,
                format!("no secret {name} is configured here, the backup had version {version}"),
            );
            continue;
        };
        inquiry.expect(found.version == *version, Code::SecretVersion, || {
            format!("secret {name} is configured here as version {}, the backup had {version}", found.version)
        });
        inquiry.expect(found.resolved, Code::SecretUnresolved, || {
            format!("secret {name} does not resolve: {}", found.error.as_deref().unwrap_or("no reason was given"))
        });
    }
}

fn judge_ciphertexts(inquiry: &mut Inquiry, manifest: &Manifest, ciphertexts: &Ciphertexts) {
    let expected: i64 = manifest.key_versions.iter().map(|version| version.ciphertexts).sum();
    inquiry.expect(i64::try_from(ciphertexts.checked) == Ok(expected), Code::CiphertextCount, || {
        format!("{} ciphertexts were there to be opened, the backup had {expected}", ciphertexts.checked)
    });
    let opened = usize::try_from(ciphertexts.checked).unwrap_or(0).saturating_sub(ciphertexts.failed.len());
    inquiry.held(opened);
    for failed in &ciphertexts.failed {
        inquiry.fault(
            Code::CiphertextUnopened,
            format!(
                "the ciphertext {} of {} does not open under the restored keys: {}",
                failed.id, failed.table, failed.error
            ),
        );
    }
}

/// Neither the manifest nor what the command printed holds a secret's value.
fn judge_plaintext(inquiry: &mut Inquiry, manifest: &Manifest, finished: &Finished, secrets: &SecretValues) {
    let Some(exported) = inquiry.learn("the manifest could not be printed", serde_json::to_string(manifest)) else {
        return;
    };
    for (name, value) in secrets.values() {
        let outputs = [&exported, &finished.stdout, &finished.stderr];
        inquiry.expect(outputs.iter().all(|output| !output.contains(value)), Code::PlaintextExported, || {
            format!("the value of secret {name} was exported in the clear")
        });
    }
}
