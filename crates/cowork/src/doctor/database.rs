//! What the database tells: itself, how it keeps tenants apart, its clock, the ledger's generation, the oldest backup, where
//! channels lead, who is alive, what waits.

use chrono::TimeDelta;
use objects::Objects;
use store::{Generation, RUNTIME_ROLE, Store};

use super::Check;
use crate::archive::oldest;
use crate::failure::Failure;
use crate::installation::Installation;
use crate::keys::Inventory;
use crate::serve::egress;

/// Leases, deletions and idempotency keys are compared across processes whose clocks may differ by a few seconds.
const SKEW_MAX: TimeDelta = TimeDelta::seconds(2);
/// A process beats every 5 s.
const ALIVE_WITHIN: TimeDelta = TimeDelta::seconds(15);
/// An idle worker takes a command within half a second.
const COMMAND_AGE_MAX_MS: i64 = 60_000;
const ROLES: [&str; 4] = ["web", "worker", "scheduler", "gateway"];

/// In the order of `NAMES`.
pub(super) async fn look(installation: &Installation) -> Vec<Check> {
    let generation = match installation.generation_to_serve().await {
        Ok(generation) => generation,
        Err(failure) => {
            let others =
                ["tenants", "keys", "clock", "ledger", "backups", "channels", "roles", "maintenance", "backlog"];
            let others = others.map(|name| Check::could_not(name, "the database is not fit to serve"));
            return [Check::failed("database", &failure)].into_iter().chain(others).collect();
        }
    };
    let fit = format!("schema {}, generation {}", Store::schema_version(), generation.generation);
    vec![
        Check::of("database", Ok(fit)),
        Check::of("tenants", tenants(installation).await),
        Check::of("keys", keys(installation).await),
        Check::of("clock", clock(installation).await),
        Check::of("ledger", ledger(installation, &generation).await),
        Check::of("backups", oldest::covered(installation, generation.system_id).await),
        Check::of("channels", channels(installation).await),
        Check::of("roles", roles(installation, &generation).await),
        Check::of("maintenance", maintenance(installation).await),
        Check::of("backlog", backlog(installation).await),
    ]
}

/// Row-level security stands behind the queries, and roles that are started with this configuration work behind it.
async fn tenants(installation: &Installation) -> Result<String, Failure> {
    let walls = installation.store.walls().await?;
    if !walls.gaps.is_empty() {
        let advice = "Run `cowork admin migrate` as the owner of the tables: it gives lost grants back. A policy that was \
                      lost or changed is put back as the migration raise_walls makes it, or by a restore.";
        return Err(Failure::failed("Tenants are not kept apart at every table.", walls.gaps.join("; "), advice));
    }
    if !walls.stands {
        return Err(Failure::failed(
            "Tenants are kept apart by this program's queries alone.",
            format!("this login can't work as {RUNTIME_ROLE}, so policies don't bind it or it may read nothing"),
            format!(
                "Let a superuser run `CREATE ROLE {RUNTIME_ROLE} NOLOGIN` and `GRANT {RUNTIME_ROLE} TO` this login, run \
                 `cowork admin migrate`, and start the roles anew."
            ),
        ));
    }
    Ok(match walls.owner {
        true => {
            format!("apart by queries and by policies; this login owns the tables and steps down to {RUNTIME_ROLE}")
        }
        false => "apart by queries and by policies; this login owns no table".to_owned(),
    })
}

/// Everything sealed is under a version that is configured, and the current one is the one that was made current.
async fn keys(installation: &Installation) -> Result<String, Failure> {
    let inventory = Inventory::of(installation).await?;
    if !inventory.missing().is_empty() {
        return Err(Failure::failed(
            "Something is sealed under a version of the adapter key that is not configured.",
            inventory.missing().join(", "),
            "Name it under secrets.adapter_key.previous; after a restore that is the version of the backup.",
        ));
    }
    let current = inventory.current();
    if let Some(rotated) = inventory.other_than_rotated() {
        return Err(Failure::failed(
            "The configured adapter key is not the system's current one.",
            format!("version {current} is configured, and {rotated} was made current"),
            "Configure the one that was made current, or run `cowork keys rotate` if you are about to change it.",
        ));
    }
    if !inventory.older().is_empty() {
        let older = inventory.older().join(", ");
        return Ok(format!("version {current} is current; still needed: {older}; `cowork keys rewrap` changes that"));
    }
    match &inventory.unneeded()[..] {
        [] => Ok(format!("everything is sealed under version {current}")),
        unneeded => {
            let versions = unneeded.join(", ");
            Ok(format!("everything is sealed under version {current}; only backups may need {versions}"))
        }
    }
}

/// This machine's clock against the database's, which is asked in between.
async fn clock(installation: &Installation) -> Result<String, Failure> {
    let sources = installation.store.sources();
    let before = sources.now();
    let there = installation.store.diagnostics_clock().await?;
    let after = sources.now();
    let skew = (before - there).max(there - after).max(TimeDelta::zero());
    if skew > SKEW_MAX {
        return Err(Failure::failed(
            "This machine and the database differ in time.",
            format!("by {} ms at least", skew.num_milliseconds()),
            "Let both follow the same time server.",
        ));
    }
    Ok(format!("at most {} ms from the database's", (skew + (after - before)).num_milliseconds()))
}

/// Nobody has restored this system elsewhere, and what happened was told.
async fn ledger(installation: &Installation, generation: &Generation) -> Result<String, Failure> {
    let folder = &installation.config.ledger.folder;
    let advice = "Set ledger.folder to this system's ledger and let the roles' account write there.";
    let missing = |detail: &str| Failure::failed("The recovery ledger is not there.", detail.to_owned(), advice);
    if !folder.is_dir() {
        return Err(missing("its folder does not exist"));
    }
    let objects =
        Objects::open_folder(folder).map_err(|error| Failure::failed("It can't be opened.", error, advice))?;
    let markers = ledger::generations(&objects, generation.system_id).await;
    let markers = markers.map_err(|error| Failure::failed("It can't be read.", error, advice))?;
    let newest = markers.iter().map(|marker| marker.started.generation).max();
    if let Some(newest) = newest.filter(|newest| *newest > generation.generation) {
        return Err(Failure::failed(
            "This system was replaced.",
            format!("generation {newest} has begun elsewhere, and this database is of {}", generation.generation),
            "Leave its roles stopped: the restored system works.",
        ));
    }
    let untold = installation.store.diagnostics_backlog().await?.effects_untold;
    Ok(format!("it is this system's; {untold} effects wait to be told"))
}

/// None leads to an address that the gateway does not call. Names are not looked up: they may lead elsewhere where it runs.
async fn channels(installation: &Installation) -> Result<String, Failure> {
    let refused = installation.store.channel_count_refused(&egress(&installation.config)).await?;
    if refused == 0 {
        return Ok("none leads to an address that is not called from here".into());
    }
    Err(Failure::failed(
        "Channels lead to addresses that are not called from here.",
        format!("{refused} of them, so their deliveries become dead letters"),
        "Allow their networks in gateway.allowed_networks of web and gateway, or make channels with public addresses.",
    ))
}

async fn roles(installation: &Installation, generation: &Generation) -> Result<String, Failure> {
    let store = &installation.store;
    let counts = store.instance_counts(generation.generation, store.sources().now() - ALIVE_WITHIN).await?;
    let alive = |role: &str| counts.iter().find(|count| count.role == role).map_or(0, |count| count.instances);
    let absent: Vec<&str> = ROLES.into_iter().filter(|role| alive(role) == 0).collect();
    let told: Vec<String> = ROLES.into_iter().map(|role| format!("{role} {}", alive(role))).collect();
    if absent.is_empty() {
        return Ok(told.join(", "));
    }
    Err(Failure::failed(
        "Roles are not running.",
        told.join(", "),
        format!("Start `cowork serve --roles {}`.", absent.join(",")),
    ))
}

/// Nobody forgot to end it.
async fn maintenance(installation: &Installation) -> Result<String, Failure> {
    let Some(maintenance) = installation.store.maintenance().await? else { return Ok("there is none".into()) };
    Err(Failure::failed(
        "The system is in maintenance and changes nothing.",
        format!("since {}: {}", maintenance.since, maintenance.reason),
        "When it is done, run `cowork maintenance off`.",
    ))
}

async fn backlog(installation: &Installation) -> Result<String, Failure> {
    let backlog = installation.store.diagnostics_backlog().await?;
    let told = format!(
        "{} commands and {} deliveries wait, {} slots are due, {} dead letters",
        backlog.commands_pending, backlog.deliveries_pending, backlog.triggers_due, backlog.deliveries_dead
    );
    let age = backlog.oldest_command_age_ms.unwrap_or(0);
    if age > COMMAND_AGE_MAX_MS {
        let detail = format!("the oldest command has waited for {} s; {told}", age / 1_000);
        let advice = "See that workers run and what their log says; a session may also wait for an approval.";
        return Err(Failure::failed("Work is not done.", detail, advice));
    }
    if backlog.deliveries_unknown > 0 {
        let detail = format!("{} deliveries may have arrived; {told}", backlog.deliveries_unknown);
        return Err(Failure::failed("Somebody has to decide.", detail, "See `cowork deliveries unknown list`."));
    }
    Ok(told)
}
