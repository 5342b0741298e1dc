//! A repository of pgBackRest. Its own `restore` brings the files, and its `archive-get` the WAL, both as the account that
//! drills; the server then recovers from files alone and needs no right to the repository.
//!
//! Its `verify` is not asked: it ends with 0 whatever it finds. Its `restore` does compare checksums.
//!
//! Not here: the recovery (`physical`).

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use chrono::{DateTime, SecondsFormat, TimeDelta};
use clock::Timestamp;
use serde::Deserialize;
use tokio::process::Command;

use super::physical::{self, Files, Layout};
use super::tool::{self, Said};
use super::{Refusal, Restored};
use crate::plan::{Name, PgBackRestSource, Until};
use crate::rehearsal::{Aftermath, Means};
use crate::report::Code;
use crate::said::{self, Heard, say};

const PROGRAM: &str = "pgbackrest";
const LIMIT: Duration = Duration::from_secs(24 * 3_600);

/// An entry of `info --output=json`, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Stanza {
    backup: Vec<Known>,
}

#[derive(Debug, Deserialize)]
struct Known {
    label: String,
    timestamp: Stamp,
}

#[derive(Debug, Deserialize)]
struct Stamp {
    stop: i64,
}

/// What a drill asks of one repository.
struct Repository<'a> {
    source: &'a PgBackRestSource,
    means: &'a Means<'a>,
    data: &'a Path,
}

pub(super) async fn restore(
    source: &PgBackRestSource,
    means: &Means<'_>,
    aftermath: &Aftermath,
) -> anyhow::Result<Result<Restored, Refusal>> {
    let folder = means.work.folder("recovering")?;
    let data = means.work.folder("recovering/data")?;
    let repository = Repository { source, means, data: &data };
    let stop = match repository.newest_stop().await? {
        Ok(stop) => stop,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let restored = repository.restore().await?;
    if !restored.succeeded() {
        let cause = say!("pgBackRest does not restore the backup: {}", Heard::of(restored.complaint()));
        return Ok(Err(Refusal { code: Code::BackupDamaged, cause, output: restored.all() }));
    }
    if let Err(refusal) = repository.fetch_wal(&means.work.folder("recovering/wal")?).await? {
        return Ok(Err(refusal));
    }
    let files = Files {
        folder,
        until: source.until,
        database: source.database.as_str().to_owned(),
        user: source.user.as_str().to_owned(),
        objects: source.objects.clone(),
        taken_at: stop,
        said: restored.all(),
        damage: None,
        doubt: None,
    };
    files.recover(means, aftermath).await
}

impl Repository<'_> {
    fn command(&self, verb: &str) -> Command {
        let mut command = tool::command(PROGRAM, self.means.search_path, self.means.work.path());
        command.arg(format!("--config={}", self.source.config.display()));
        command.arg(format!("--stanza={}", self.source.stanza.as_str()));
        // Neither a log nor a lock of the drill's in the places of the live installation.
        command.args(["--log-level-file=off", "--log-level-console=warn"]);
        command.arg(verb);
        command
    }

    /// For verbs that work on a cluster's files: those of the drill, whatever the configuration names.
    fn on_files(&self, verb: &str) -> Command {
        let mut command = self.command(verb);
        command.arg(format!("--pg1-path={}", self.data.display()));
        command.arg(format!("--lock-path={}", self.means.work.path().join("locks").display()));
        command
    }

    /// When the newest backup that could be meant had ended.
    async fn newest_stop(&self) -> anyhow::Result<Result<Timestamp, Refusal>> {
        let mut info = self.command("info");
        info.arg("--output=json");
        let said = tool::run(info, LIMIT).await?;
        if !said.succeeded() {
            bail!("`pgbackrest info` failed: {}", said.complaint());
        }
        let stanzas: Vec<Stanza> = serde_json::from_str(&said.stdout).context("`pgbackrest info` gave no JSON")?;
        let label = self.source.set.as_ref().map(Name::as_str);
        let wanted = |known: &&Known| label.is_none_or(|label| known.label == label);
        let known = stanzas.iter().flat_map(|stanza| &stanza.backup).filter(wanted);
        let stops: Vec<Timestamp> = known.filter_map(|one| DateTime::from_timestamp(one.timestamp.stop, 0)).collect();
        let (Some(oldest), Some(newest)) = (stops.iter().min(), stops.iter().max()) else {
            let cause = "the repository has no such backup".into();
            return Ok(Err(Refusal { code: Code::BackupDamaged, cause, output: said.all() }));
        };
        // pgBackRest takes a backup that had ended in an earlier second than the instant's.
        let taken_from = *oldest + TimeDelta::seconds(1);
        Ok(physical::too_early(self.source.until, taken_from).map_or(Ok(*newest), Err))
    }

    async fn restore(&self) -> anyhow::Result<Said> {
        let mut command = self.on_files("restore");
        if let Some(set) = &self.source.set {
            command.arg(format!("--set={}", set.as_str()));
        }
        if let Until::At(at) = self.source.until {
            // Chooses the backup that ended before it.
            let at = at.to_rfc3339_opts(SecondsFormat::Micros, false).replace('T', " ");
            command.args(["--type=time", "--target-action=promote"]).arg(format!("--target={at}"));
        }
        tool::run(command, LIMIT).await
    }

    /// Every archived segment from where the restored backup begins.
    async fn fetch_wal(&self, wal: &Path) -> anyhow::Result<Result<(), Refusal>> {
        let (start, _) = physical::start(self.data)?;
        let size = Layout::of(self.means, self.data).await?.segment;
        let names = self.archived().await?;
        if let Some(missing) = physical::hole(names.iter().map(String::as_str), &start, size) {
            let cause =
                say!("the repository has newer WAL, and the segment {} is missing", said::Name::catalogued(&missing));
            return Ok(Err(Refusal { code: Code::WalMissing, cause, output: String::new() }));
        }
        for name in names.iter().filter(|name| name.as_str() >= start.as_str() || name.ends_with(".history")) {
            let mut command = self.on_files("archive-get");
            command.arg(name).arg(wal.join(name));
            let said = tool::run(command, LIMIT).await?;
            if !said.succeeded() {
                let cause = say!(
                    "pgBackRest does not give back the WAL segment {}: {}",
                    said::Name::catalogued(name),
                    Heard::of(said.complaint())
                );
                return Ok(Err(Refusal { code: Code::BackupDamaged, cause, output: said.all() }));
            }
        }
        Ok(Ok(()))
    }

    /// The names of segments and histories in the repository: `15-1/0000000100000000/SEGMENT-CHECKSUM.lz4`.
    async fn archived(&self) -> anyhow::Result<Vec<String>> {
        let mut command = self.command("repo-ls");
        command.args(["--recurse", "--output=text"]).arg(format!("archive/{}", self.source.stanza.as_str()));
        let said = tool::run(command, LIMIT).await?;
        if !said.succeeded() {
            bail!("`pgbackrest repo-ls` failed: {}", said.complaint());
        }
        let mut names: Vec<String> = said.stdout.lines().filter_map(archived_name).map(str::to_owned).collect();
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }
}

/// The segment or history that a file of the archive holds.
fn archived_name(path: &str) -> Option<&str> {
    let file = path.rsplit('/').next()?;
    if file.ends_with(".history") {
        return Some(file);
    }
    let name = file.split_once('-')?.0;
    (name.len() == 24 && name.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_archive_tells_its_segment() {
        let path = "15-1/0000000100000000/000000010000000000000002-1bd6f31ec1d9c7ac6fdb2a21d3e3e7d1d6d9a2a6.lz4";
        assert_eq!(archived_name(path), Some("000000010000000000000002"));
        assert_eq!(archived_name("15-1/00000002.history"), Some("00000002.history"));
        assert_eq!(archived_name("archive.info"), None);
        assert_eq!(archived_name("15-1/0000000100000000/000000010000000000000002.00000028.backup"), None);
    }
}
