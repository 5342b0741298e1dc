//! The replay of a million records over SQL into a database, as a restore does it, whose rows know none of them; in a
//! process of its own, for the memory. Its floor is reading the same files and hashing their bytes.

use std::path::Path;
use std::time::Instant;

use chrono::DateTime;
use clock::Sources;
use ids::SystemId;
use ledger::Reader;
use objects::Objects;
use recovery::{Memory, Recovery};
use serde_json::{Value, json};
use store::{Environment, Generation};

use crate::database::Database;

pub(crate) async fn replay(folder: &Path, system: SystemId) -> anyhow::Result<Value> {
    let database = Database::start()?;
    let sources = Sources::system();
    let (store, generation) = database.system(sources.clone()).await?;
    let own = tempfile::tempdir()?;
    let own = Objects::open_folder(own.path())?;
    let reader = Reader::open(Objects::open_folder(folder)?, system, sources.now()).await?;
    let current = Generation { system_id: system, started_at: DateTime::UNIX_EPOCH, ..generation };
    let recovery = Recovery {
        store: &store,
        current: &current,
        own: &own,
        environment: Environment::Production,
        backup: sources.id(),
        memory: Memory::Ledger(&reader),
    };
    let began = Instant::now();
    let begun = recovery.begin(&mut |_| {}).await?;
    let seconds = began.elapsed().as_secs_f64();
    Ok(json!({ "seconds": seconds, "records": begun.report["records"], "read_ms": begun.report["read_ms"] }))
}
