//! What `pg_dump` wrote: a custom-format file, a directory, or plain SQL.
//!
//! It is loaded in one transaction. `psql` restores the half of a plain dump that is there and is content, so plain SQL
//! must end as `pg_dump` ends it before anything is loaded.
//!
//! Not here: what must be in it; a dump does not say.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, NaiveDateTime, Utc};
use clock::Timestamp;
use ids::BackupId;
use localpg::Cluster;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use super::tool::{self, Said};
use super::{DATABASE, Expected, Refusal, Restored, forbid_roles, settings, settle};
use crate::copying;
use crate::plan::DumpSource;
use crate::rehearsal::{Aftermath, Means};
use crate::report::Code;
use crate::said::{Heard, say};
use crate::target::Target;

/// A load takes as long as it takes; this is for one that hangs.
const LIMIT: Duration = Duration::from_secs(24 * 3_600);
/// How a plain dump ends, if it is whole.
const TRAILER: &[u8] = b"-- PostgreSQL database dump complete";
/// The trailer lies within this many bytes of the end.
const TRAILER_WITHIN: u64 = 1_024;
/// More owners and grantees than this nobody has.
const ROLES_MAX: usize = 200;

/// How the dump is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// For `pg_restore`.
    Archive,
    Plain,
}

pub(super) async fn restore(
    source: &DumpSource,
    cluster: Cluster,
    means: &Means<'_>,
    aftermath: &Aftermath,
) -> anyhow::Result<Result<Restored, Refusal>> {
    let format = match look_at(&source.path)? {
        Ok(format) => format,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let url = cluster.url(DATABASE);
    let taken_at = match source.taken_at {
        Some(at) => at.0,
        None => taken_at(format, &source.path, means).await?,
    };
    let backup_id: BackupId = means.sources.id();
    forbid_roles(&url, backup_id, taken_at).await?;
    make_roles(format, &source.path, &url, means).await?;
    let said = tool::run(load(format, &source.path, &url, means), LIMIT).await?;
    if !said.succeeded() {
        let cause = say!("the dump can't be loaded: {}", Heard::of(said.complaint()));
        return Ok(Err(Refusal { code: Code::DumpBroken, cause, output: said.all() }));
    }
    settle(&url).await?;
    let settings = settings(means, aftermath, url)?;
    let target = Target::prepare(Some(cluster), settings, &aftermath.secrets, means.executable)?;
    copying::copied(source.objects.clone(), target.settings.objects()).await?;
    Ok(Ok(Restored {
        target,
        expected: Expected::Surveyed { backup_id, taken_at, damage: None, doubt: None },
        output: said.all(),
    }))
}

/// Roles belong to a cluster, so no dump brings those that grants name, nor those that plain SQL gives its objects to: they are
/// made here, without login. `pg_restore` is asked to leave owners out instead.
async fn make_roles(format: Format, path: &Path, url: &str, means: &Means<'_>) -> anyhow::Result<()> {
    let roles = match format {
        Format::Plain => roles_of(path)?,
        Format::Archive => {
            let definitions = tempfile::NamedTempFile::new_in(means.work.path())?;
            let mut command = tool::command(means.binaries.tool("pg_restore"), means.search_path, means.work.path());
            command.args(["--schema-only", "--no-owner", "--file"]).arg(definitions.path()).arg(path);
            // A damaged one is told by loading it.
            tool::run(command, LIMIT).await?;
            roles_of(definitions.path())?
        }
    };
    let mut connection = PgConnection::connect(url).await?;
    for role in roles.into_iter().take(ROLES_MAX) {
        let sql = "SELECT CASE WHEN to_regrole(quote_ident($1)) IS NULL THEN format('CREATE ROLE %I', $1) END";
        let make: Option<String> = sqlx::query_scalar(sql).bind(role).fetch_one(&mut connection).await?;
        if let Some(make) = make {
            connection.execute(AssertSqlSafe(make)).await?;
        }
    }
    Ok(connection.close().await?)
}

fn roles_of(path: &Path) -> anyhow::Result<BTreeSet<String>> {
    let mut roles = BTreeSet::new();
    for line in BufReader::new(File::open(path)?).split(b'\n') {
        let line = line?;
        roles.extend(owner_of(&line).or_else(|| grantee_of(&line)));
    }
    Ok(roles)
}

/// From `ALTER TABLE public.events OWNER TO postgres;`, with the name out of its quotes.
fn owner_of(line: &[u8]) -> Option<String> {
    let line = std::str::from_utf8(line).ok()?;
    Some(unquoted(line.strip_prefix("ALTER ")?.rsplit_once(" OWNER TO ")?.1.trim_end().strip_suffix(';')?))
}

/// From `GRANT SELECT ON TABLE public.events TO reader;`, as above. `PUBLIC` is everybody and no role.
fn grantee_of(line: &[u8]) -> Option<String> {
    let line = std::str::from_utf8(line).ok()?;
    let name = line.strip_prefix("GRANT ")?.rsplit_once(" TO ")?.1.trim_end().strip_suffix(';')?;
    let name = name.strip_suffix(" WITH GRANT OPTION").unwrap_or(name);
    (name != "PUBLIC").then(|| unquoted(name))
}

fn unquoted(name: &str) -> String {
    let bare = name.strip_prefix('"').and_then(|name| name.strip_suffix('"'));
    bare.map_or_else(|| name.to_owned(), |name| name.replace("\"\"", "\""))
}

/// What kind of dump it is; a refusal if it is visibly not whole.
fn look_at(path: &Path) -> anyhow::Result<Result<Format, Refusal>> {
    let refusal = |code, cause: &'static str| Ok(Err(Refusal { code, cause: cause.into(), output: String::new() }));
    if path.is_dir() {
        return match path.join("toc.dat").is_file() {
            true => Ok(Ok(Format::Archive)),
            false => refusal(Code::DumpBroken, "the folder of the dump has no table of contents"),
        };
    }
    let mut file = File::open(path).context("the dump can't be opened")?;
    let size = file.metadata()?.len();
    if size == 0 {
        return refusal(Code::DumpEmpty, "the dump is an empty file");
    }
    let mut magic = Vec::new();
    file.by_ref().take(5).read_to_end(&mut magic)?;
    if magic == b"PGDMP" {
        return Ok(Ok(Format::Archive));
    }
    file.seek(SeekFrom::Start(size.saturating_sub(TRAILER_WITHIN)))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    match end.windows(TRAILER.len()).any(|window| window == TRAILER) {
        true => Ok(Ok(Format::Plain)),
        false => refusal(Code::DumpTruncated, "the dump does not end as pg_dump ends one: a part of it is missing"),
    }
}

fn load(format: Format, path: &Path, url: &str, means: &Means<'_>) -> tokio::process::Command {
    let tool = |name: &str| tool::command(means.binaries.tool(name), means.search_path, means.work.path());
    match format {
        Format::Archive => {
            let mut command = tool("pg_restore");
            command.args(["--exit-on-error", "--single-transaction", "--no-owner", "--dbname", url]).arg(path);
            command
        }
        Format::Plain => {
            let mut command = tool("psql");
            command.args(["--no-psqlrc", "--quiet", "--output=/dev/null", "--set=ON_ERROR_STOP=1"]);
            command.args(["--single-transaction", "--dbname", url, "--file"]).arg(path);
            command
        }
    }
}

/// When the dump was made: what it says itself, else when its file was last written.
async fn taken_at(format: Format, path: &Path, means: &Means<'_>) -> anyhow::Result<Timestamp> {
    if format == Format::Archive {
        let mut command = tool::command(means.binaries.tool("pg_restore"), means.search_path, means.work.path());
        command.arg("--list").arg(path);
        // A damaged one is told by loading it.
        if let Some(at) = created(&tool::run(command, LIMIT).await?) {
            return Ok(at);
        }
    }
    let modified = std::fs::metadata(path)?.modified()?;
    Ok(DateTime::<Utc>::from(modified))
}

/// From `;     Archive created at 2026-11-23 09:00:00 UTC`; tools run in UTC.
fn created(said: &Said) -> Option<Timestamp> {
    let line = said.stdout.lines().find_map(|line| line.split_once("Archive created at "))?.1;
    NaiveDateTime::parse_from_str(line.trim().strip_suffix(" UTC")?, "%Y-%m-%d %H:%M:%S").ok().map(|at| at.and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looked_at(content: &[u8]) -> Result<Format, Code> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        look_at(file.path()).unwrap().map_err(|refusal| refusal.code)
    }

    #[test]
    fn a_plain_dump_without_its_end_is_not_loaded() {
        let whole = b"COPY a FROM stdin;\n1\n\\.\n--\n-- PostgreSQL database dump complete\n--\n\n";
        assert_eq!(looked_at(whole), Ok(Format::Plain));
        assert_eq!(looked_at(&whole[..30]), Err(Code::DumpTruncated));
        assert_eq!(looked_at(b""), Err(Code::DumpEmpty));
        assert_eq!(looked_at(b"PGDMP\x01"), Ok(Format::Archive));
    }

    #[test]
    fn an_owner_is_known_by_its_name() {
        assert_eq!(owner_of(b"ALTER TABLE public.a OWNER TO postgres;").as_deref(), Some("postgres"));
        assert_eq!(owner_of(b"ALTER TABLE public.a OWNER TO \"a b\"\"c\";").as_deref(), Some("a b\"c"));
        assert_eq!(owner_of(b"INSERT INTO a VALUES (' OWNER TO x;');"), None);
    }

    #[test]
    fn a_grantee_is_known_by_its_name() {
        assert_eq!(grantee_of(b"GRANT SELECT ON TABLE public.a TO reader;").as_deref(), Some("reader"));
        assert_eq!(grantee_of(b"GRANT ALL ON TABLE a TO \"a b\" WITH GRANT OPTION;").as_deref(), Some("a b"));
        assert_eq!(grantee_of(b"GRANT USAGE ON SCHEMA public TO PUBLIC;"), None);
    }

    #[test]
    fn a_dump_says_when_it_was_made() {
        let stdout = ";\n; Archive created at 2026-11-23 09:00:01 UTC\n;     dbname: cowork\n".to_owned();
        let said = Said { code: Some(0), stdout, stderr: String::new() };
        assert_eq!(created(&said).unwrap().to_rfc3339(), "2026-11-23T09:00:01+00:00");
    }
}
