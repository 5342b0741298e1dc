//! Row 3, secret references: every reference that the backup names is configured here with the same version and
//! resolves, every stored ciphertext opens under the restored keys, and nothing plaintext was exported.
//!
//! The ciphertexts are opened by `cowork admin verify`, the operator's own command; how many there must be comes from
//! the manifest.
//!
//! Not here: looking for canaries in the roles' output (`redaction`).

use archive::Manifest;
use ids::{CheckpointId, SessionId};
use serde::Deserialize;
use uuid::Uuid;

use super::Inquiry;
use crate::processes::{Finished, Launcher};
use crate::report::Code;
use crate::said::{Fact, Factual, Heard, Name, facts, say};
use crate::settings::SecretValues;

/// What `cowork admin verify --json` prints.
#[derive(Debug, Deserialize)]
pub(crate) struct Verification {
    pub(crate) secrets: Vec<Reference>,
    pub(crate) ciphertexts: Ciphertexts,
    pub(crate) checkpoints: Checkpoints,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Reference {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) resolved: bool,
    pub(crate) error: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Ciphertexts {
    pub(crate) checked: u64,
    pub(crate) failed: Vec<FailedCiphertext>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct FailedCiphertext {
    pub(crate) table: String,
    pub(crate) id: Uuid,
    pub(crate) error: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Checkpoints {
    pub(crate) checked: u64,
    pub(crate) failed: Vec<FailedCheckpoint>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct FailedCheckpoint {
    pub(crate) checkpoint_id: CheckpointId,
    pub(crate) session_id: SessionId,
    pub(crate) error: String,
}

/// As evidence: what opened and what did not, with the errors as far as they can be repeated.
impl Factual for Verification {
    fn fact(&self) -> Fact {
        let secret = |it: &Reference| {
            facts!({"name": Name::given(&it.name), "version": Name::given(&it.version), "resolved": it.resolved,
                "error": it.error.as_ref().map(Heard::of)})
        };
        let ciphertext = |it: &FailedCiphertext| facts!({"table": Name::catalogued(&it.table), "id": it.id, "error": Heard::of(&it.error)});
        let checkpoint = |it: &FailedCheckpoint| {
            facts!({"checkpoint_id": Uuid::from(it.checkpoint_id), "session_id": it.session_id,
                "error": Heard::of(&it.error)})
        };
        facts!({
            "secrets": self.secrets.iter().map(secret).collect::<Vec<_>>(),
            "ciphertexts": facts!({"checked": self.ciphertexts.checked,
                "failed": self.ciphertexts.failed.iter().map(ciphertext).collect::<Vec<_>>()}),
            "checkpoints": facts!({"checked": self.checkpoints.checked,
                "failed": self.checkpoints.failed.iter().map(checkpoint).collect::<Vec<_>>()}),
        })
    }
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
        Err(error) => return inquiry.missed("the stored ciphertexts could not be opened", error),
    };
    inquiry.record("verification", verification);
    judge_references(inquiry, manifest, &verification.secrets);
    judge_ciphertexts(inquiry, manifest, &verification.ciphertexts);
    judge_plaintext(inquiry, manifest, finished, secrets);
}

fn judge_references(inquiry: &mut Inquiry, manifest: &Manifest, references: &[Reference]) {
    for expected in &manifest.secrets {
        let (name, version) = (Name::given(&expected.name), Name::given(&expected.version));
        // A key that was rotated is configured in several versions.
        let named: Vec<&Reference> = references.iter().filter(|reference| reference.name == expected.name).collect();
        let same = named.iter().find(|reference| reference.version == expected.version);
        let Some(found) = same.or(named.first()) else {
            inquiry.fault(
                Code::SecretMissing,
                say!("no secret {} is configured here, the backup had version {}", name, version),
            );
            continue;
        };
        inquiry.expect(found.version == expected.version, Code::SecretVersion, || {
            say!(
                "secret {} is configured here as version {}, the backup had {}",
                name,
                Name::given(&found.version),
                version
            )
        });
        inquiry.expect(found.resolved, Code::SecretUnresolved, || {
            say!(
                "secret {} does not resolve: {}",
                name,
                Heard::of(found.error.as_deref().unwrap_or("no reason was given"))
            )
        });
    }
}

fn judge_ciphertexts(inquiry: &mut Inquiry, manifest: &Manifest, ciphertexts: &Ciphertexts) {
    let expected: i64 = manifest.key_versions.iter().map(|version| version.ciphertexts).sum();
    inquiry.expect(i64::try_from(ciphertexts.checked) == Ok(expected), Code::CiphertextCount, || {
        say!("{} ciphertexts were there to be opened, the backup had {}", ciphertexts.checked, expected)
    });
    let opened = usize::try_from(ciphertexts.checked).unwrap_or(0).saturating_sub(ciphertexts.failed.len());
    inquiry.held(opened);
    for failed in &ciphertexts.failed {
        inquiry.fault(
            Code::CiphertextUnopened,
            say!(
                "the ciphertext {} of {} does not open under the restored keys: {}",
                failed.id,
                Name::catalogued(&failed.table),
                Heard::of(&failed.error)
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
            say!("the value of secret {} was exported in the clear", Name::given(name))
        });
    }
}
