//! SIGTERM and SIGINT.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::failure::{EXIT_COULD_NOT, Failure};

/// A token that the first signal cancels. The second one ends the process.
pub(crate) fn shutdown() -> Result<CancellationToken, Failure> {
    let (terminate, interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let token = CancellationToken::new();
    tokio::spawn(watch(terminate, interrupt, token.clone()));
    Ok(token)
}

fn listen(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| {
        Failure::could_not("The program can't hear signals.", error, "Look at this machine's limits on open files.")
    })
}

async fn watch(mut terminate: Signal, mut interrupt: Signal, token: CancellationToken) {
    for again in [false, true] {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if again {
            tracing::warn!("a second signal: ending without finishing what is in hand");
            std::process::exit(EXIT_COULD_NOT.into());
        }
        tracing::info!("draining");
        token.cancel();
    }
}
