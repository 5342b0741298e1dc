//! Opening everything that is sealed: each configured secret, each stored ciphertext, each checkpoint.
//!
//! For an operator after a restore or a rotation of keys, and for the drill. It reads and changes nothing, and shows
//! nothing of what it opens.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use futures::{FutureExt as _, StreamExt as _};
use ids::{CheckpointId, SessionId};
use objects::checkpoint::{CheckpointName, Verified};
use objects::{Blob, Objects};
use secrets::{ConfiguredSecrets, Envelope, Kms, LocalKmsError, ReferenceStatus};
use serde::Serialize;
use store::{BlobRow, Checkpoint, SealedAnswer, Store, byok_aad};
use worker::OrgKeys;

use crate::cli::ConfigArgs;
use crate::failure::{EXIT_FAILED, Failure, chain};
use crate::installation::Installation;
use crate::process::Process;

/// Rows read at a time.
const PAGE: i64 = 500;
/// Checkpoints opened at the same time.
const AT_ONCE: usize = 8;

#[derive(Debug, Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    config: ConfigArgs,
    /// Of the checkpoints, open only those of this session
    #[arg(long, value_name = "ID")]
    session: Option<SessionId>,
    /// Answer with one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    secrets: Vec<ReferenceStatus>,
    ciphertexts: Checked<CiphertextFault>,
    checkpoints: Checked<CheckpointFault>,
}

#[derive(Debug, Serialize)]
struct Checked<T> {
    checked: usize,
    failed: Vec<T>,
}

#[derive(Debug, Serialize)]
struct CiphertextFault {
    table: &'static str,
    id: String,
    error: String,
}

#[derive(Debug, Serialize)]
struct CheckpointFault {
    checkpoint_id: CheckpointId,
    session_id: SessionId,
    error: String,
}

impl Verify {
    pub(crate) async fn run(self, process: Process) -> Result<ExitCode, Failure> {
        let installation = Installation::open(self.config.load(&process)?, &process).await?;
        let report = report(&installation, self.session).await;
        installation.close().await;
        let report = report?;
        if self.json {
            println!("{}", serde_json::to_string(&report).expect("it is plain data"));
        } else {
            print!("{}", report.tell());
        }
        Ok(if report.good() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
    }
}

/// Everything, also if a secret is missing: an operator mends all faults in one go. Without the adapter key, though,
/// nothing sealed can be looked at.
async fn report(installation: &Installation, only: Option<SessionId>) -> Result<Report, Failure> {
    installation.generation().await?;
    let configured = installation.config.secret_references();
    let mut report = Report {
        secrets: configured.statuses(&installation.reader),
        ciphertexts: Checked::default(),
        checkpoints: Checked::default(),
    };
    let kms: Arc<dyn Kms> = match installation.kms_alone() {
        Ok(Some(kms)) => Arc::new(kms),
        Ok(None) => return Ok(report),
        Err(unusable) => {
            report.unusable_key(&unusable);
            return Ok(report);
        }
    };
    let keys = OrgKeys::new(installation.store.clone(), kms.clone());
    byok_keys(&installation.store, &*kms, &mut report.ciphertexts).await?;
    org_keys(&installation.store, &keys, &mut report.ciphertexts).await?;
    answers(&installation.store, &*kms, &mut report.ciphertexts).await?;
    checkpoints(installation, &keys, only, &mut report.checkpoints).await?;
    Ok(report)
}

async fn byok_keys(store: &Store, kms: &dyn Kms, checked: &mut Checked<CiphertextFault>) -> Result<(), Failure> {
    let mut after = None;
    loop {
        let page = store.byok_sealed_list(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.byok_key_id);
        for key in page {
            let aad = byok_aad(key.org_id, key.byok_key_id);
            let envelope =
                Envelope { ciphertext: key.ciphertext, wrapped_key: key.wrapped_key, key_version: key.key_version };
            let opened = secrets::open(kms, &envelope, &aad).await.map(drop);
            checked.note(opened, |error| ciphertext_fault("byok_keys", key.byok_key_id, error));
        }
    }
}

/// What requests with an `Idempotency-Key` were answered.
async fn answers(store: &Store, kms: &dyn Kms, checked: &mut Checked<CiphertextFault>) -> Result<(), Failure> {
    let mut after = None;
    loop {
        let page = store.idempotency_answers(after.as_ref(), PAGE).await?;
        after = page.last().cloned();
        if after.is_none() {
            return Ok(());
        }
        for kept in page {
            let aad = kept.aad();
            let SealedAnswer { ciphertext, wrapped_key, key_version, .. } = kept.answer;
            let opened = secrets::open(kms, &Envelope { ciphertext, wrapped_key, key_version }, &aad).await.map(drop);
            checked.note(opened, |error| ciphertext_fault("idempotency_keys", kept.account, error));
        }
    }
}

async fn org_keys(store: &Store, keys: &OrgKeys, checked: &mut Checked<CiphertextFault>) -> Result<(), Failure> {
    let mut after = None;
    loop {
        let page = store.org_list(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.org_id);
        for org in page {
            match keys.existing(org.org_id).await {
                Ok(None) => {}
                opened => checked.note(opened.map(drop), |error| ciphertext_fault("org_keys", org.org_id, error)),
            }
        }
    }
}

async fn checkpoints(
    installation: &Installation,
    keys: &OrgKeys,
    only: Option<SessionId>,
    checked: &mut Checked<CheckpointFault>,
) -> Result<(), Failure> {
    let objects = installation.objects()?;
    let (verified, mut after) = (Verified::default(), None);
    loop {
        let page = installation.store.checkpoints_all(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some((last.org, last.checkpoint));
        let wanted = page.into_iter().filter(|row| only.is_none_or(|session| row.session == session));
        let mut opened = futures::stream::iter(wanted)
            .map(|row| {
                let ids = (row.checkpoint, row.session);
                checkpoint(&objects, keys, row, &verified).map(move |opened| (ids, opened))
            })
            .buffered(AT_ONCE);
        while let Some(((checkpoint_id, session_id), opened)) = opened.next().await {
            checked.note(opened, |error| CheckpointFault { checkpoint_id, session_id, error: chain(error.as_ref()) });
        }
    }
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

async fn checkpoint(objects: &Objects, keys: &OrgKeys, row: Checkpoint, verified: &Verified) -> Result<(), AnyError> {
    let key = keys.existing(row.org).await?.ok_or("its org has no data key")?;
    let name = CheckpointName { org: row.org, session: row.session, checkpoint: row.checkpoint };
    let saved = objects::checkpoint::verify(objects, &key, name, &blob(row.manifest)?, verified).await?;
    if saved.sequence != row.sequence {
        return Err(
            format!("its row says that it covers event {}, its manifest {}", row.sequence, saved.sequence).into()
        );
    }
    Ok(())
}

fn blob(row: BlobRow) -> Result<Blob, AnyError> {
    let sha256 = row.sha256.try_into().map_err(|_| "its blob's row has no SHA-256")?;
    Ok(Blob { key: row.key, size: row.size.try_into()?, sha256 })
}

fn ciphertext_fault(
    table: &'static str,
    id: impl Into<uuid::Uuid>,
    error: impl std::error::Error + 'static,
) -> CiphertextFault {
    CiphertextFault { table, id: id.into().to_string(), error: chain(&error) }
}

impl<T> Default for Checked<T> {
    fn default() -> Self {
        Self { checked: 0, failed: Vec::new() }
    }
}

impl<T> Checked<T> {
    fn note<E>(&mut self, opened: Result<(), E>, fault: impl FnOnce(E) -> T) {
        self.checked += 1;
        self.failed.extend(opened.err().map(fault));
    }
}

impl Report {
    /// A value that is no key is as bad as none.
    fn unusable_key(&mut self, error: &LocalKmsError) {
        for secret in self.secrets.iter_mut().filter(|secret| secret.name == ConfiguredSecrets::ADAPTER_KEY) {
            if !matches!(error, LocalKmsError::Key { version, .. } if *version != secret.version) {
                secret.resolved = false;
                secret.error.get_or_insert_with(|| chain(error));
            }
        }
    }

    fn good(&self) -> bool {
        let resolved = self.secrets.iter().all(|secret| secret.resolved);
        resolved && self.ciphertexts.failed.is_empty() && self.checkpoints.failed.is_empty()
    }

    fn tell(&self) -> String {
        let mut lines = Vec::new();
        for secret in &self.secrets {
            let state = secret.error.as_deref().unwrap_or("resolves");
            lines.push(format!("secret {} version {} ({}): {state}", secret.name, secret.version, secret.reference));
        }
        let count =
            |what: &str, checked: usize, failed: usize| format!("{what}: {checked} opened, {failed} do not open");
        lines.push(count("ciphertexts", self.ciphertexts.checked, self.ciphertexts.failed.len()));
        lines.extend(self.ciphertexts.failed.iter().map(|it| format!("  {} {}: {}", it.table, it.id, it.error)));
        lines.push(count("checkpoints", self.checkpoints.checked, self.checkpoints.failed.len()));
        lines.extend(
            self.checkpoints
                .failed
                .iter()
                .map(|it| format!("  checkpoint {} of session {}: {}", it.checkpoint_id, it.session_id, it.error)),
        );
        lines.into_iter().map(|line| line + "\n").collect()
    }
}
