//! What `pg_basebackup` wrote in plain format, with a folder of archived WAL.
//!
//! The files are looked at first: by `pg_verifybackup`, where the backup has a manifest, and page by page, where pages have
//! checksums. What is found is a finding of its own; the files are tried all the same, so that the report also says what
//! it means.
//!
//! Not here: the recovery (`physical`).

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, NaiveDateTime, Utc};
use clock::Timestamp;

use super::pages;
use super::physical::{self, Files, Layout};
use super::tool::{self, Said};
use super::{Refusal, Restored};
use crate::copying;
use crate::plan::BaseBackupSource;
use crate::rehearsal::{Aftermath, Means};
use crate::report::Code;
use crate::said::{Heard, Name, Sentence, say};

const VERIFY_LIMIT: Duration = Duration::from_secs(24 * 3_600);
/// `pg_basebackup`'s own list of files with checksums.
const MANIFEST: &str = "backup_manifest";

pub(super) async fn restore(
    source: &BaseBackupSource,
    means: &Means<'_>,
    aftermath: &Aftermath,
) -> anyhow::Result<Result<Restored, Refusal>> {
    if !source.folder.join("PG_VERSION").is_file() {
        let cause = "the folder holds no base backup in plain format: PG_VERSION is not in it".into();
        return Ok(Err(Refusal { code: Code::BackupDamaged, cause, output: String::new() }));
    }
    let (start, begins_at) = physical::start(&source.folder)?;
    let layout = Layout::of(means, &source.folder).await?;
    let Looked { damage, doubt, said } = look_at(source, means, layout, begins_at).await?;
    let names = wal_names(&source.wal)?;
    if let Some(missing) = physical::hole(names.iter().map(String::as_str), &start, layout.segment) {
        let cause = say!("the WAL archive has newer segments, and {} is missing", Name::catalogued(&missing));
        return Ok(Err(Refusal { code: Code::WalMissing, cause, output: said }));
    }
    let ended = ended(source, &names, &start)?.unwrap_or(started(&source.folder)?);
    if let Some(refusal) = physical::too_early(source.until, ended) {
        return Ok(Err(refusal));
    }
    let folder = means.work.folder("recovering")?;
    copy(source, &folder, &names, &start).await?;
    let files = Files {
        until: source.until,
        database: source.database.as_str().to_owned(),
        user: source.user.as_str().to_owned(),
        objects: source.objects.clone(),
        taken_at: newest(&source.wal, &names)?.unwrap_or(started(&source.folder)?),
        folder,
        said,
        damage,
        doubt,
    };
    files.recover(means, aftermath).await
}

/// What is known of the files before they are tried.
struct Looked {
    damage: Option<Sentence>,
    doubt: Option<&'static str>,
    said: String,
}

/// Looks at every file that has a checksum somewhere: in the backup's manifest, or in its pages.
async fn look_at(source: &BaseBackupSource, means: &Means<'_>, layout: Layout, start: u64) -> anyhow::Result<Looked> {
    let has_manifest = source.folder.join(MANIFEST).is_file();
    let (damage, mut said) = if has_manifest { verify(source, means).await? } else { (None, String::new()) };
    if !(layout.checksums && layout.page == pages::PAGE) {
        let doubt = (!has_manifest).then_some(
            "the backup has neither a manifest nor checksums in its pages: damage within a row could not be looked for",
        );
        return Ok(Looked { damage, doubt, said });
    }
    let folder = source.folder.clone();
    let pages = tokio::task::spawn_blocking(move || pages::look_at(&folder, start)).await??;
    said += &format!("{} pages were looked at, {} are damaged\n", pages.looked_at, pages.damaged);
    let damage = [damage, pages.damage()].into_iter().flatten().reduce(|one, other| say!("{}; {}", one, other));
    Ok(Looked { damage, doubt: None, said })
}

/// What `pg_verifybackup` says against the files. It is not asked about WAL, which is archived elsewhere.
async fn verify(source: &BaseBackupSource, means: &Means<'_>) -> anyhow::Result<(Option<Sentence>, String)> {
    let program = means.binaries.tool("pg_verifybackup");
    let mut command = tool::command(program, means.search_path, means.work.path());
    command.arg("--no-parse-wal").arg(&source.folder);
    let said: Said = tool::run(command, VERIFY_LIMIT).await?;
    let damage = (!said.succeeded()).then(|| say!("pg_verifybackup finds damage: {}", Heard::of(said.complaint())));
    Ok((damage, said.all()))
}

fn wal_names(folder: &Path) -> anyhow::Result<Vec<String>> {
    let entries = std::fs::read_dir(folder).context("the WAL archive can't be read")?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

/// The data, and the WAL from where the backup begins.
async fn copy(source: &BaseBackupSource, folder: &Path, names: &[String], start: &str) -> anyhow::Result<()> {
    copying::copied(source.folder.clone(), folder.join("data")).await?;
    let wal = folder.join("wal");
    std::fs::create_dir(&wal)?;
    // Names of segments sort by timeline and place; those of histories must all be there.
    for name in names.iter().filter(|name| name.as_str() >= start || name.ends_with(".history")) {
        let from = source.wal.join(name);
        if from.is_file() {
            std::fs::copy(from, wal.join(name)).context("a WAL segment can't be copied")?;
        }
    }
    Ok(())
}

/// When the newest segment was archived: what was committed by then can be recovered.
fn newest(folder: &Path, names: &[String]) -> anyhow::Result<Option<Timestamp>> {
    let mut newest = None;
    for name in names.iter().filter(|name| name.len() == 24) {
        let modified = DateTime::<Utc>::from(std::fs::metadata(folder.join(name))?.modified()?);
        newest = newest.max(Some(modified));
    }
    Ok(newest)
}

/// From the backup's label, else when that file was written.
fn started(folder: &Path) -> anyhow::Result<Timestamp> {
    let path = folder.join("backup_label");
    match instant(&std::fs::read_to_string(&path)?, "START TIME: ") {
        Some(at) => Ok(at),
        None => Ok(std::fs::metadata(&path)?.modified()?.into()),
    }
}

/// When the backup had ended: its history file in the WAL archive (`SEGMENT.OFFSET.backup`) says so.
fn ended(source: &BaseBackupSource, names: &[String], start: &str) -> anyhow::Result<Option<Timestamp>> {
    let is_history = |name: &&String| name.starts_with(start) && name.ends_with(".backup");
    let Some(name) = names.iter().find(is_history) else { return Ok(None) };
    let history = std::fs::read_to_string(source.wal.join(name)).context("the backup's history can't be read")?;
    Ok(instant(&history, "STOP TIME: "))
}

/// From a line such as `STOP TIME: 2026-11-23 09:00:00 UTC`.
fn instant(text: &str, label: &str) -> Option<Timestamp> {
    let line = text.lines().find_map(|line| line.strip_prefix(label)?.strip_suffix(" UTC"))?;
    NaiveDateTime::parse_from_str(line, "%Y-%m-%d %H:%M:%S").ok().map(|at| at.and_utc())
}
