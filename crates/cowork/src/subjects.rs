//! `cowork subjects`: erasing a person from the installation.
//!
//! Not here: what goes and what stays (`store::subject`). Over the API an erasure is carried out by the scheduler; here it is
//! carried out before the command ends.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use ids::AccountId;
use serde_json::json;
use store::{EraseError, ErasedFor, Erasure};

use crate::cli::ConfigArgs;
use crate::failure::Failure;
use crate::installation::Installation;
use crate::process::Process;

#[derive(Debug, Subcommand)]
pub(crate) enum Subjects {
    /// Erase an account's personal data from rows and objects, and remember it for restores to come
    Erase(Erase),
}

#[derive(Debug, Args)]
pub(crate) struct Erase {
    #[command(flatten)]
    config: ConfigArgs,
    /// Whose; there is no way back
    #[arg(long, value_name = "ID")]
    account: AccountId,
    /// Answer with one line of JSON
    #[arg(long)]
    json: bool,
}

impl Subjects {
    pub(crate) fn json(&self) -> bool {
        let Self::Erase(erase) = self;
        erase.json
    }

    pub(crate) async fn run(self, process: Process) -> Result<ExitCode, Failure> {
        let Self::Erase(erase) = self;
        let installation = Installation::open(erase.config.load(&process)?, &process).await?;
        let erased = erase.erase(&installation).await;
        installation.close().await;
        tell(&erased?, erase.json);
        Ok(ExitCode::SUCCESS)
    }
}

impl Erase {
    async fn erase(&self, installation: &Installation) -> Result<Erasure, Failure> {
        installation.generation_to_serve().await?;
        let store = &installation.store;
        store.subject_erase(self.account, ErasedFor::Installation, "role:admin").await.map_err(refused)?;
        store.subject_erasure_carry_out(self.account).await?;
        let erasure = store.subject_erasure(self.account, ErasedFor::Installation).await?;
        Ok(erasure.expect("it was just carried out"))
    }
}

fn tell(erasure: &Erasure, as_json: bool) {
    let Erasure { account_id, sessions, commands, events, artifacts, deliveries, blobs, .. } = erasure;
    if as_json {
        let answer = json!({
            "account_id": account_id, "sessions": sessions, "commands": commands, "events": events,
            "artifacts": artifacts, "deliveries": deliveries, "blobs": blobs, "finished_at": erasure.finished_at,
        });
        return println!("{answer}");
    }
    println!("The account {account_id} is erased: {sessions} sessions, {commands} commands, {artifacts} artifacts.");
    println!("A scheduler deletes {blobs} objects after a day. Older backups still hold what was erased.");
}

fn refused(error: EraseError) -> Failure {
    match error {
        EraseError::Store(error) => error.into(),
        error => Failure::failed("Nobody was erased.", error, "See `GET /api/members` for the ids of accounts."),
    }
}
