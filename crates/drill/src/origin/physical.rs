//! Files of a whole Postgres cluster, recovered by replaying archived WAL: what physical backups have in common.
//!
//! The files and the WAL that the recovery needs are first copied into a folder of the drill's own (`data` and `wal`),
//! so the server never sees the archive. Settings of the source are left behind: those that count are written anew, and
//! archiving is switched off. What the running server says of that is asked in [`settled`].
//!
//! A hole in the archived WAL ends a recovery to the newest point early and without a word, so the names of the segments
//! are looked at first.
//!
//! Not here: where the files come from (`base_backup`, `pgbackrest`).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use chrono::SecondsFormat;
use clock::Timestamp;
use ids::BackupId;
use localpg::{Binaries, Cluster, StartError};
use sqlx::{Connection as _, PgConnection};

use super::{Expected, Refusal, Restored, forbid_roles, settings};
use crate::copying;
use crate::plan::Until;
use crate::rehearsal::{Aftermath, Means};
use crate::report::Code;
use crate::said::{Heard, Sentence, say};
use crate::target::Target;

/// Replaying WAL takes as long as it takes.
const RECOVERY_LIMIT: Duration = Duration::from_secs(24 * 3_600);
/// Where Debian and its kin keep one folder of server programs per major version.
const VERSIONED: &str = "/usr/lib/postgresql";

/// A cluster's files, and how to recover them.
#[derive(Debug)]
pub(super) struct Files {
    /// With `data` and `wal`.
    pub(super) folder: PathBuf,
    pub(super) until: Until,
    pub(super) database: String,
    pub(super) user: String,
    pub(super) objects: PathBuf,
    /// When the backup was made, for a recovery to the newest point.
    pub(super) taken_at: Timestamp,
    /// What the tools that brought the files said.
    pub(super) said: String,
    /// What is wrong with the files, though they can be tried.
    pub(super) damage: Option<Sentence>,
    /// What could not be looked at in them.
    pub(super) doubt: Option<&'static str>,
}

impl Files {
    /// Starts a server from the files, which recovers them.
    pub(super) async fn recover(
        self,
        means: &Means<'_>,
        aftermath: &Aftermath,
    ) -> anyhow::Result<Result<Restored, Refusal>> {
        let binaries = binaries_for(&self.folder.join("data"), means.binaries)?;
        configure(&self.folder.join("data"), self.until)?;
        let (parent, folder) = (means.work.path().to_owned(), self.folder.clone());
        let options = localpg::Options { start_limit: RECOVERY_LIMIT, ..localpg::Options::safe() };
        let start = move || Cluster::temporary_from(&binaries, parent.parent().unwrap_or(&parent), &folder, options);
        let cluster = match tokio::task::spawn_blocking(start).await? {
            Ok(cluster) => cluster,
            Err(StartError::Server { tail, .. }) => return Ok(Err(self.refusal(&tail))),
            Err(other) => return Err(other.into()),
        };
        let url = cluster.endpoint().url_as(&self.user, &self.database);
        let backup_id: BackupId = means.sources.id();
        if let Err(refusal) = settled(&url, self.until).await? {
            return Ok(Err(refusal));
        }
        let taken_at = match self.until {
            Until::At(at) => at,
            Until::Latest => self.taken_at,
        };
        forbid_roles(&url, backup_id, taken_at).await?;
        let settings = settings(means, aftermath, url)?;
        let target = Target::prepare(Some(cluster), settings, &aftermath.secrets, means.executable)?;
        copying::copied(self.objects.clone(), target.settings.objects()).await?;
        let expected = Expected::Surveyed { backup_id, taken_at, damage: self.damage, doubt: self.doubt };
        Ok(Ok(Restored { target, expected, output: self.said }))
    }

    /// What the server's last words mean.
    fn refusal(self, tail: &str) -> Refusal {
        let (code, meaning) = meaning(tail);
        let cause = match self.damage {
            Some(damage) => say!("{}; besides, {}", meaning, damage),
            None => meaning.into(),
        };
        Refusal { code, cause: say!("{}; Postgres said: {}", cause, Heard::of(fatal(tail))), output: self.said + tail }
    }
}

/// A server recovers past an instant that lies before the backup's end, to its end, and is content.
pub(super) fn too_early(until: Until, ended: Timestamp) -> Option<Refusal> {
    let Until::At(at) = until else { return None };
    let cause = say!("the instant to recover to ({}) lies before the backup's end ({})", at, ended);
    (at < ended).then(|| Refusal { code: Code::TargetBeforeBackup, cause, output: String::new() })
}

fn meaning(tail: &str) -> (Code, &'static str) {
    let says = |text: &str| tail.contains(text);
    if says("recovery stop point is before consistent recovery point") {
        (Code::TargetBeforeBackup, "the instant to recover to lies before the end of the backup")
    } else if says("recovery ended before configured recovery target was reached") {
        (Code::TargetUnreached, "the archived WAL ends before the instant to recover to")
    } else if says("could not locate required checkpoint record")
        || says("could not locate a valid checkpoint record")
        || says("WAL ends before")
        || says("WAL ends before end of online backup")
        || says("requested WAL segment")
    {
        (Code::WalMissing, "WAL that the backup needs is missing")
    } else {
        (Code::ServerRefused, "Postgres does not start from the restored files")
    }
}

/// The line that says why it ended.
fn fatal(tail: &str) -> String {
    let loud = |line: &&str| line.contains("FATAL:") || line.contains("PANIC:");
    let line = tail.lines().rev().find(loud).or_else(|| tail.lines().next_back()).unwrap_or_default();
    line.split_once("  ").map_or(line, |(_, words)| words).to_owned()
}

/// The server's programs of the files' version.
fn binaries_for(data: &Path, default: &Binaries) -> anyhow::Result<Binaries> {
    let version = std::fs::read_to_string(data.join("PG_VERSION")).context("the backup has no PG_VERSION")?;
    let folder = Path::new(VERSIONED).join(version.trim()).join("bin");
    Ok(Binaries::find(Some(folder.as_os_str())).unwrap_or_else(|_| default.clone()))
}

/// Replaces the source's settings by those of a recovery that touches nobody.
fn configure(data: &Path, until: Until) -> anyhow::Result<()> {
    for gone in ["postgresql.auto.conf", "standby.signal", "postmaster.pid", "postmaster.opts"] {
        match std::fs::remove_file(data.join(gone)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    let tablespaces = std::fs::read_dir(data.join("pg_tblspc")).map_or(0, Iterator::count);
    if tablespaces > 0 || data.join("tablespace_map").exists() {
        bail!("the backup has tablespaces, which a drill can't place yet");
    }
    // Relative to the data folder, which is where the server works. A segment that is not there ends the recovery.
    let mut conf = "archive_mode = off\narchive_command = ''\nhot_standby = off\n\
                    restore_command = 'cp ../wal/%f %p'\nrecovery_target_timeline = 'latest'\n"
        .to_owned();
    if let Until::At(at) = until {
        let at = at.to_rfc3339_opts(SecondsFormat::Micros, false);
        conf += &format!("recovery_target_time = '{at}'\nrecovery_target_action = 'promote'\n");
    }
    std::fs::write(data.join("postgresql.conf"), conf)?;
    std::fs::write(data.join("pg_hba.conf"), "local all all trust\n")?;
    std::fs::write(data.join("pg_ident.conf"), "")?;
    std::fs::write(data.join("recovery.signal"), "")?;
    Ok(())
}

/// Asks the running server whether its recovery is over, and whether it would archive: what it was configured to is not
/// what it does.
async fn settled(url: &str, until: Until) -> anyhow::Result<Result<(), Refusal>> {
    let refusal = |code, cause: Sentence| Ok(Err(Refusal { code, cause, output: String::new() }));
    let mut connection = match PgConnection::connect(url).await {
        Ok(connection) => connection,
        Err(sqlx::Error::Database(error)) => {
            return refusal(
                Code::NotOurs,
                say!("the recovered cluster lets nobody in: {}", Heard::of(error.message())),
            );
        }
        Err(other) => return Err(other.into()),
    };
    let sql = "SELECT pg_is_in_recovery(), current_setting('archive_mode'), current_setting('archive_command'),
        coalesce(current_setting('archive_library', true), '')";
    let (recovering, mode, command, library): (bool, String, String, String) =
        sqlx::query_as(sql).fetch_one(&mut connection).await?;
    let idle_command = ["", "(disabled)"].contains(&command.as_str());
    if mode != "off" || !idle_command || !library.is_empty() {
        return refusal(
            Code::ArchivingEnabled,
            say!("the restored server says archive_mode {}; it could write into the source's archive", Heard::of(mode)),
        );
    }
    if recovering {
        let goal = if until == Until::Latest { "the end of the WAL" } else { "the instant to recover to" };
        return refusal(Code::TargetUnreached, say!("the server takes connections and has not reached {}", goal));
    }
    Ok(Ok(()))
}

/// A WAL segment's place in its timeline's order.
type Segment = (u32, u64);

/// The timeline and the number of the segment called `name` (24 hex digits), with segments of `size` bytes.
fn segment(name: &str, size: u64) -> Option<Segment> {
    if name.len() != 24 || !name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let part = |from: usize| u64::from_str_radix(&name[from..from + 8], 16).ok();
    let per_log = (1 << 32) / size.max(1);
    Some((u32::try_from(part(0)?).ok()?, part(8)? * per_log + part(16)?))
}

/// The first segment of `start`'s timeline that is missing between `start` and the newest that is there.
pub(super) fn hole<'a>(names: impl Iterator<Item = &'a str>, start: &str, size: u64) -> Option<String> {
    let (timeline, first) = segment(start, size)?;
    let there: BTreeSet<u64> = names
        .filter_map(|name| segment(name, size))
        .filter(|(of, number)| *of == timeline && *number >= first)
        .map(|(_, number)| number)
        .collect();
    let last = *there.last()?;
    let missing = (first..=last).find(|number| !there.contains(number))?;
    let per_log = (1 << 32) / size.max(1);
    Some(format!("{timeline:08X}{:08X}{:08X}", missing / per_log, missing % per_log))
}

/// What the cluster's control file says of how its files are laid out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// Bytes.
    pub(super) segment: u64,
    /// Bytes.
    pub(super) page: usize,
    pub(super) checksums: bool,
}

impl Layout {
    pub(super) async fn of(means: &Means<'_>, data: &Path) -> anyhow::Result<Self> {
        let program = means.binaries.tool("pg_controldata");
        let mut command = super::tool::command(program, means.search_path, means.work.path());
        command.arg("-D").arg(data);
        let said = super::tool::run(command, Duration::from_secs(60)).await?;
        let number = |label: &str| {
            let line = said.stdout.lines().find_map(|line| line.strip_prefix(label)?.strip_prefix(':'));
            let number = line.and_then(|number| number.trim().parse::<u64>().ok());
            number.with_context(|| format!("pg_controldata does not say: {label}"))
        };
        Ok(Self {
            segment: number("Bytes per WAL segment")?,
            page: usize::try_from(number("Database block size")?)?,
            checksums: number("Data page checksum version")? > 0,
        })
    }
}

/// Where the backup begins: the segment's name, and the place in the WAL. From
/// `START WAL LOCATION: 0/2000028 (file 000000010000000000000002)` of a `backup_label`.
pub(super) fn start(data: &Path) -> anyhow::Result<(String, u64)> {
    let label = std::fs::read_to_string(data.join("backup_label")).context("the backup has no backup_label")?;
    let line = label.lines().find_map(|line| line.strip_prefix("START WAL LOCATION: ")?.split_once(" (file "));
    let (place, name) = line.context("the backup_label names no WAL")?;
    let half = |digits: &str| u64::from_str_radix(digits, 16).context("the backup_label names no place in the WAL");
    let (high, low) = place.split_once('/').context("the backup_label names no place in the WAL")?;
    Ok((name.trim_end_matches(')').to_owned(), (half(high)? << 32) | half(low)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 16 << 20;

    #[test]
    fn a_hole_in_the_wal_is_named() {
        let names = ["000000010000000000000002", "000000010000000000000003", "000000010000000000000005", "x.history"];
        let first_missing = hole(names.into_iter(), names[0], SIZE);
        assert_eq!(first_missing.as_deref(), Some("000000010000000000000004"));
        assert_eq!(hole(names.into_iter().take(2), names[0], SIZE), None);
    }

    #[test]
    fn the_last_segment_of_a_log_is_followed_by_the_first_of_the_next() {
        let names = ["0000000100000000000000FF", "000000010000000100000000"];
        assert_eq!(hole(names.into_iter(), names[0], SIZE), None);
    }

    #[test]
    fn the_servers_last_words_have_a_meaning() {
        let said = |text: &str| meaning(&format!("LOG:  x\n2026 UTC [1] FATAL:  {text}\n")).0;
        assert_eq!(said("recovery ended before configured recovery target was reached"), Code::TargetUnreached);
        assert_eq!(said("requested recovery stop point is before consistent recovery point"), Code::TargetBeforeBackup);
        assert_eq!(said("could not locate required checkpoint record"), Code::WalMissing);
        assert_eq!(said("something else"), Code::ServerRefused);
    }
}
