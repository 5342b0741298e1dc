//! What the database tells: itself, how it keeps tenants apart, its clock, the ledger's generation and what it is owed, the oldest and
//! the newest backup, where channels lead, who is alive, what waits and for how long.

use chrono::TimeDelta;
use objects::Objects;
use store::{Backlog, Generation, RUNTIME_ROLE, Store};

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
/// An idle worker takes a command within half a second, and so do gateways and schedulers with what is theirs.
const AGE_MAX_MS: i64 = 60_000;
/// Schedulers tell the ledger what was left over within seconds. It may be away for a moment.
const UNTOLD_AGE_MAX_MS: i64 = 300_000;
/// Backups are daily in `deploy/`, so one of them failed and the next one is late.
const BACKUP_AGE_MAX: TimeDelta = TimeDelta::days(2);
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
        backups(installation, &generation).await,
        Check::of("channels", channels(installation).await),
        Check::of("roles", roles(installation, &generation).await),
        Check::of("maintenance", maintenance(installation).await),
        backlog(installation).await,
    ]
}

/// Row-level security stands behind the queries, and roles that are started with this configuration work behind it.
async fn tenants(installation: &Installation) -> Result<String, Failure> {
    let walls = installation.store.walls().await?;
    if !walls.gaps.is_empty() {
        let advice = "Run `cowork admin migrate` as the owner of the tables: it gives lost grants back. A policy that was \
                      lost or changed is put back as the migration ask_once_whose_rows makes it, or by a restore.";
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
    untold(&installation.store.diagnostics_backlog().await?)
}

/// What happened is told within minutes.
fn untold(backlog: &Backlog) -> Result<String, Failure> {
    let effects = backlog.effects_untold;
    match backlog.oldest_untold_effect_age_ms.filter(|age_ms| *age_ms > UNTOLD_AGE_MAX_MS) {
        None => Ok(format!("it is this system's; {effects} effects wait to be told")),
        Some(age_ms) => Err(Failure::failed(
            "The recovery ledger does not learn what happened.",
            format!("{effects} effects wait to be told, the oldest for {}", span(age_ms)),
            "See that a scheduler runs and what its log says, and that the roles' account can write into ledger.folder.",
        )),
    }
}

/// Nothing that is to be restored was forgotten, and what happened lately could be restored.
async fn backups(installation: &Installation, generation: &Generation) -> Check {
    match oldest::covered(installation, generation.system_id).await {
        Ok(told) => Check::warned("backups", newest_backup(&installation.store, told).await),
        Err(failure) => Check::of("backups", Err(failure)),
    }
}

/// `told`: what is good of the oldest one. Where no archive is known, backups may be taken in another way.
async fn newest_backup(store: &Store, told: String) -> Result<String, Failure> {
    if store.archive_oldest_backup().await?.is_none() {
        return Ok(told);
    }
    let Some(newest) = store.archive_newest_backup().await? else {
        return Err(Failure::failed(
            "No backup of this generation is known.",
            format!("none was noted since the system was restored, or upgraded to this release; {told}"),
            "Run `cowork backup`, and see that its timer runs.",
        ));
    };
    if store.sources().now() - newest.taken_at <= BACKUP_AGE_MAX {
        return Ok(format!("{told}; the newest is of {}", newest.taken_at));
    }
    Err(Failure::failed(
        "No backup was taken for too long.",
        format!("the newest that is known is {}, of {}; {told}", newest.backup_id, newest.taken_at),
        "Run `cowork backup`, and see why its timer did not run.",
    ))
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

async fn backlog(installation: &Installation) -> Check {
    match installation.store.diagnostics_backlog().await {
        Ok(backlog) => judge(&backlog),
        Err(error) => Check::of("backlog", Err(error.into())),
    }
}

/// What machines have to do and don't comes before what a person has to decide.
fn judge(backlog: &Backlog) -> Check {
    Check::of("backlog", in_time(backlog).and_then(|told| decided(backlog, told)))
}

fn in_time(backlog: &Backlog) -> Result<String, Failure> {
    let told = format!(
        "{} commands and {} deliveries wait, {} slots are due, {} dead letters",
        backlog.commands_pending, backlog.deliveries_pending, backlog.triggers_due, backlog.deliveries_dead
    );
    let ages = [
        (
            backlog.oldest_command_age_ms,
            "the oldest command has waited",
            "See that workers run and what their log says; a session may also wait for an approval.",
        ),
        (
            backlog.oldest_lapsed_lease_age_ms,
            "a session that its worker lost was not taken over",
            "See that workers run, of this generation, and what their log says.",
        ),
        (
            backlog.oldest_due_delivery_age_ms,
            "a delivery that is due was not sent",
            "See that gateways run and what their log says.",
        ),
        (backlog.oldest_due_trigger_age_ms, "a slot has not fired", "See that a scheduler runs and what its log says."),
    ];
    let late = ages.into_iter().filter_map(|(age_ms, what, advice)| {
        let age_ms = age_ms.filter(|age_ms| *age_ms > AGE_MAX_MS)?;
        Some((format!("{what} for {}", span(age_ms)), advice))
    });
    let (late, advice): (Vec<String>, Vec<&str>) = late.unzip();
    if late.is_empty() {
        return Ok(told);
    }
    Err(Failure::failed("Work is not done.", format!("{}; {told}", late.join("; ")), advice.join(" ")))
}

/// `told`: what waits.
fn decided(backlog: &Backlog, told: String) -> Result<String, Failure> {
    let Some(age_ms) = backlog.oldest_unknown_delivery_age_ms else { return Ok(told) };
    let unknown = backlog.deliveries_unknown;
    Err(Failure::failed(
        "Somebody has to decide.",
        format!("{unknown} deliveries may have arrived, the oldest {} ago; {told}", span(age_ms)),
        "See `cowork deliveries unknown list`.",
    ))
}

/// For people: in the largest unit that it has two of.
fn span(ms: i64) -> String {
    const UNITS: [(i64, &str); 3] = [(86_400_000, "days"), (3_600_000, "h"), (60_000, "min")];
    let unit = UNITS.into_iter().find(|(length, _)| ms >= 2 * length);
    let (length, name) = unit.unwrap_or((1_000, "s"));
    format!("{} {name}", ms / length)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    const DAY_MS: i64 = 86_400_000;

    #[test]
    fn an_unknown_delivery_is_a_fault_that_says_how_old() {
        let age = Some(3 * DAY_MS);
        let backlog = Backlog { deliveries_unknown: 1, oldest_unknown_delivery_age_ms: age, ..Backlog::default() };
        let check = judge(&backlog);
        assert_eq!(check.verdict, Verdict::Failed);
        assert!(check.detail.contains("1 deliveries may have arrived, the oldest 3 days ago"), "{check:?}");
        assert!(check.advice.unwrap().contains("cowork deliveries unknown list"));
        assert_eq!(judge(&Backlog::default()).verdict, Verdict::Passed);
    }

    #[test]
    fn work_that_machines_leave_undone_is_a_fault_each_with_its_advice() {
        let late = Some(AGE_MAX_MS + 1);
        let idle = Backlog::default;
        for (backlog, part, who) in [
            (Backlog { oldest_command_age_ms: late, ..idle() }, "the oldest command", "workers"),
            (Backlog { oldest_lapsed_lease_age_ms: late, ..idle() }, "was not taken over", "workers"),
            (Backlog { oldest_due_delivery_age_ms: late, ..idle() }, "was not sent", "gateways"),
            (Backlog { oldest_due_trigger_age_ms: late, ..idle() }, "has not fired", "scheduler"),
        ] {
            let unknown = Some(DAY_MS);
            let check = judge(&Backlog { oldest_unknown_delivery_age_ms: unknown, ..backlog });
            assert_eq!(check.verdict, Verdict::Failed, "{check:?}");
            assert!(check.detail.contains(part) && check.detail.contains("for 60 s"), "{check:?}");
            assert!(check.advice.unwrap().contains(who));
        }
        let in_time = Backlog { oldest_due_delivery_age_ms: Some(AGE_MAX_MS), ..idle() };
        assert_eq!(judge(&in_time).verdict, Verdict::Passed);
    }

    #[test]
    fn a_ledger_that_is_owed_something_for_minutes_is_a_fault() {
        let owed = |age| Backlog { effects_untold: 2, oldest_untold_effect_age_ms: age, ..Backlog::default() };
        assert!(untold(&owed(Some(UNTOLD_AGE_MAX_MS))).unwrap().contains("2 effects wait to be told"));
        let failure = untold(&owed(Some(UNTOLD_AGE_MAX_MS + 1))).unwrap_err();
        assert!(failure.parts().1.contains("the oldest for 5 min"), "{failure:?}");
    }

    #[test]
    fn a_span_is_told_in_the_largest_unit_that_it_has_two_of() {
        for (ms, told) in [
            (0, "0 s"),
            (119_999, "119 s"),
            (120_000, "2 min"),
            (7_199_999, "119 min"),
            (7_200_000, "2 h"),
            (2 * DAY_MS - 1, "47 h"),
            (2 * DAY_MS, "2 days"),
        ] {
            assert_eq!(span(ms), told);
        }
    }
}
