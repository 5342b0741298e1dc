//! The replay of a million records over SQL into a database, as a restore does it, whose rows know none of them; in a
//! process of its own, for the memory. Its floor is reading the same files and hashing their bytes.

use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;
use clock::Sources;
use ids::SystemId;
use ledger::Reader;
use objects::Objects;
use recovery::{Memory, Recovery};
use serde_json::{Value, json};
use store::Environment;

use crate::database::Database;

pub(crate) async fn replay(folder: &Path, system: SystemId) -> anyhow::Result<Value> {
    let database = Database::start()?;
    let sources = Sources::system();
    let (store, _) = database.system(sources.clone()).await?;
    // The ledger is of the system that is restored here.
    database.tell(format!("UPDATE generations SET system_id = '{system}'")).await?;
    let current = store.generation_current().await?.context("the database has no generation")?;
    let own = tempfile::tempdir()?;
    let own = Objects::open_folder(own.path())?;
    let reader = Reader::open(Objects::open_folder(folder)?, system, sources.now()).await?;
    let recovery = Recovery {
        store: &store,
        current: &current,
        own: &own,
        environment: Environment::Production,
        backup: sources.id(),
        memory: Memory::Ledger(&reader),
    };
    let before = database.processor();
    let began = Instant::now();
    let begun = recovery.begin(&mut |_| {}).await?;
    let seconds = began.elapsed().as_secs_f64();
    let used = database.processor() - before;
    let told = |name: &str| begun.report[name].clone();
    Ok(json!({
        "seconds": seconds,
        "processor_s": used.program_s(),
        "postgres_processor_s": used.postgres_s(),
        "records": told("records"),
        "read_ms": told("read_ms"),
        "apply_ms": told("apply_ms"),
        "rows_written": begun.report["remembered"]["deliveries"],
    }))
}
