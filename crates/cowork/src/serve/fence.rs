//! The recovery ledger of a process that serves, and stopping when it says so.
//!
//! Of two copies of one system that share a ledger the older one is fenced: it stops at its next write or heartbeat,
//! whichever comes first.
//!
//! Not here: what is told to the ledger (`effects`), how a newer generation fences (`ledger`).

use std::time::Duration;

use effects::Effects;
use ledger::{DigestKey, Identity, Ledger, LedgerError, Settings};
use objects::Objects;
use store::{Environment, Generation};
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::installation::Installation;

/// How long an effect waits for the ledger before it is put off: shorter than the grace of a delivery's lease.
const PATIENCE: Duration = Duration::from_secs(5);

/// Opens the ledger. `secret` must be the same after a restore: what providers call their events is digested with it.
pub(crate) fn open(installation: &Installation, generation: &Generation, secret: &[u8]) -> Result<Effects, Failure> {
    let config = &installation.config.ledger;
    let objects = Objects::open_folder(&config.folder).map_err(|error| {
        Failure::could_not(
            "The recovery ledger can't be opened.",
            error,
            "Make the folder that ledger.folder names writable, or correct it.",
        )
    })?;
    let spacing = Duration::from_millis(config.flush_ms);
    let settings = Settings {
        quiet: spacing.min(Settings::default().quiet),
        linger: spacing * 5,
        spacing,
        patience: PATIENCE,
        ..Settings::default()
    };
    let identity = Identity {
        system: generation.system_id,
        generation: generation.generation,
        // A drill's copy that finds the ledger of a living system must not stop it.
        supersedes: (generation.generation > 1 && generation.environment == Environment::Production)
            .then_some(generation.started_at),
    };
    let sources = installation.store.sources();
    let ledger = Ledger::open(objects, identity, sources.id(), sources.clone(), settings);
    Ok(Effects::new(installation.store.clone(), ledger, DigestKey::derive(secret)))
}

/// Whether this process may act at all.
pub(crate) async fn check(effects: &Effects) -> Result<(), Failure> {
    effects.check().await.map_err(stopped)
}

/// Ends with the reason why this process must stop, or with the shutdown.
pub(crate) async fn watch(effects: Effects, shutdown: CancellationToken) -> Result<(), Failure> {
    tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        why = effects.must_stop() => Err(stopped(why)),
    }
}

fn stopped(error: LedgerError) -> Failure {
    match error {
        LedgerError::Fenced { generation } => Failure::could_not(
            "This process belongs to a system that was replaced.",
            format!("generation {generation} of this system has begun, and this process is of an older one"),
            "Leave it stopped: the restored system works. Start nothing more with this database.",
        ),
        error => Failure::could_not(
            "The recovery ledger can't be used, and nothing may happen that it does not know of.",
            error,
            "See that ledger.folder is this system's own; starting again is safe.",
        ),
    }
}
