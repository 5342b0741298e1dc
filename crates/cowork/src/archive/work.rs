//! Where Postgres' tools are, and giving work up on a signal.

use std::path::PathBuf;

use archive::Tools;
use localpg::Binaries;
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Failure;
use crate::process::Process;

/// The tools of the machine's server; on a machine that has only the client's, those of the search path.
pub(crate) fn tools(process: &Process) -> Tools {
    let path = process.environment.get("PATH").map(AsRef::as_ref);
    Binaries::find(path).map_or_else(
        |_| Tools { pg_dump: PathBuf::from("pg_dump"), pg_restore: PathBuf::from("pg_restore") },
        |binaries| Tools::in_folder(binaries.folder()),
    )
}

/// Does `work`, unless SIGINT or SIGTERM comes first: then it is dropped, and so cleans up after itself.
pub(crate) async fn unless_interrupted<T>(what: &str, work: impl Future<Output = T>) -> Result<T, Failure> {
    let listen = |kind| {
        signal(kind).map_err(|error| {
            Failure::could_not("The program can't hear signals.", error, "Look at this machine's limits on open files.")
        })
    };
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    tokio::select! {
        done = work => return Ok(done),
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Err(Failure::could_not(
        format!("The {what} was interrupted."),
        "a signal arrived before it was done",
        "Nothing of it is left. Start it again.",
    ))
}
