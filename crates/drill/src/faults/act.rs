//! What can be done to a system: to its rows, objects, configuration, secrets, logs and processes. A fault is made of
//! these.
//!
//! Not here: which faults there are (`catalogue`), when they are made (`sabotage`, `making`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::sys::signal::Signal;
use redact::Needle;
use sha2::{Digest as _, Sha256};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use super::front::Tamper;
use crate::processes::{Role, RoleProcess};

/// One thing that is done. SQL that names an object gives one key.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Act {
    /// Statements; together they have to touch a row.
    Sql(&'static str),
    /// Statements that define something, and touch no row.
    Define(&'static str),
    Object {
        key: &'static str,
        change: Change,
    },
    /// Two objects change places.
    Swap {
        one: &'static str,
        other: &'static str,
    },
    /// An object that nobody made.
    Put {
        key: &'static str,
    },
    /// Text of the configuration is replaced.
    Config {
        from: &'static str,
        to: &'static str,
    },
    /// The file of a secret.
    Secret {
        name: &'static str,
        change: SecretChange,
    },
    /// The environment of processes that are started from now on; `None` takes the variable away.
    Variable {
        name: &'static str,
        value: Option<&'static str>,
    },
    /// A line with a canary, as a role would log it, in the file of the process `process`.
    Say {
        process: &'static str,
        label: &'static str,
        form: Form,
    },
    /// `kill -9` of the processes of a role.
    Kill(Role),
    /// `kill -9` of one process.
    KillOne(&'static str),
    /// A process that nobody asked for.
    Start(&'static str, Role),
    /// A bit of an object is flipped, and its row made to agree.
    ForgeObject {
        key: &'static str,
    },
    /// An artifact with a blob and rows of its own.
    AddArtifact,
    /// The value of a secret in a file is written where its version belongs.
    SecretAsVersion(&'static str),
    /// A stand-in before a role changes what it says.
    Front(Role, Tamper),
    /// A stand-in before the receiver of redirected deliveries.
    FrontOfSink(Tamper),
    /// Waits until a question is answered with true.
    Await(&'static str),
    /// Statements that are made again and again from now on, as by somebody who should not be there.
    Restless(&'static str),
    /// A bit of a file of the database, while its server is down: SQL that gives the path of a relation's file.
    Page(&'static str),
}

/// What is done to a file.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change {
    Remove,
    /// Half of it is gone.
    Truncate,
    Empty,
    /// One bit in the middle; the size stays.
    Flip,
    /// A folder stands in its place.
    Folder,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum SecretChange {
    Remove,
    /// It is moved away.
    Hide,
    /// And back.
    Show,
    /// Another key of the same form.
    Other,
}

/// How a canary is written down.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Form {
    Raw,
    Base64,
    Hex,
    Percent,
    Json,
}

/// The system that something is done to.
pub(crate) struct Scene<'a> {
    pub(crate) database_url: &'a str,
    /// Of the configuration, the secrets and the logs.
    pub(crate) folder: &'a Path,
    pub(crate) objects: PathBuf,
    pub(crate) environment: &'a mut BTreeMap<String, String>,
    pub(crate) roles: &'a mut [RoleProcess],
    pub(crate) needles: &'a [Needle],
    /// What `{sink}` and `{email}` in SQL stand for.
    pub(crate) sink: String,
}

/// How long something that is bound to happen may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks.
const REST: Duration = Duration::from_millis(20);

impl Scene<'_> {
    pub(crate) async fn act(&mut self, act: Act) -> anyhow::Result<()> {
        match act {
            Act::Sql(sql) => {
                let touched = self.execute(sql).await?;
                ensure!(touched > 0, "it touched no row: {sql}");
                Ok(())
            }
            Act::Define(sql) => self.execute(sql).await.map(drop),
            Act::Await(sql) => self.wait_for(sql).await,
            Act::Object { key, change } => {
                let path = self.object(key).await?;
                alter(&path, change)
            }
            Act::Swap { one, other } => {
                let (one, other) = (self.object(one).await?, self.object(other).await?);
                let (first, second) = (std::fs::read(&one)?, std::fs::read(&other)?);
                ensure!(first != second, "the two objects are the same");
                replace(&one, &second)?;
                replace(&other, &first)
            }
            Act::Put { key } => {
                let path = self.object(key).await?;
                std::fs::create_dir_all(path.parent().context("a key has a folder")?)?;
                Ok(std::fs::write(path, "nobody's")?)
            }
            Act::Config { from, to } => {
                let path = self.folder.join("cowork.toml");
                let text = std::fs::read_to_string(&path)?;
                ensure!(text.contains(from), "the configuration has no {from:?}");
                Ok(std::fs::write(path, text.replace(from, to))?)
            }
            Act::Secret { name, change } => self.change_secret(name, change),
            Act::Variable { name, value } => {
                match value {
                    Some(value) => self.environment.insert(name.to_owned(), value.to_owned()),
                    None => self.environment.remove(name),
                };
                Ok(())
            }
            Act::KillOne(name) => {
                let process = self.roles.iter().find(|process| process.name == name);
                process.with_context(|| format!("no {name} runs"))?.signal(Signal::SIGKILL);
                Ok(())
            }
            Act::Start(..) | Act::Page(_) | Act::Front(..) | Act::FrontOfSink(_) | Act::Restless(_) => {
                bail!("only a target can suffer this")
            }
            Act::ForgeObject { key } => self.forge(key).await,
            Act::AddArtifact => self.add_artifact().await,
            Act::SecretAsVersion(name) => {
                let value = std::fs::read_to_string(self.folder.join("secrets").join(name))?;
                let path = self.folder.join("cowork.toml");
                let text = std::fs::read_to_string(&path)?;
                let from = format!("reference = \"file:secrets/{name}\"\nversion = \"1\"");
                ensure!(text.contains(&from), "the configuration has no such secret");
                Ok(std::fs::write(path, text.replace(&from, &from.replace("\"1\"", &format!("{value:?}"))))?)
            }
            Act::Say { process, label, form } => self.say(process, label, form),
            Act::Kill(role) => {
                let of_role = |process: &&RoleProcess| process.addresses.contains_key(role.as_str());
                let found: Vec<_> = self.roles.iter().filter(of_role).collect();
                ensure!(!found.is_empty(), "no {} runs", role.as_str());
                found.into_iter().for_each(|process| process.signal(Signal::SIGKILL));
                Ok(())
            }
        }
    }

    /// One statement after the other, each by itself. Gives back how many rows all of them touched.
    async fn execute(&self, sql: &str) -> anyhow::Result<u64> {
        let mut connection = PgConnection::connect(self.database_url).await?;
        let sql = sql.replace("{sink}", &self.sink).replace("{email}", &self.canary("a member's email")?);
        let done = connection.execute(AssertSqlSafe(sql.clone())).await.context(sql)?;
        connection.close().await?;
        Ok(done.rows_affected())
    }

    async fn wait_for(&self, sql: &str) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect(self.database_url).await?;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !sqlx::query_scalar::<_, bool>(AssertSqlSafe(sql.to_owned())).fetch_one(&mut connection).await? {
            ensure!(tokio::time::Instant::now() < deadline, "it never came to this: {sql}");
            tokio::time::sleep(REST).await;
        }
        Ok(connection.close().await?)
    }

    fn canary(&self, label: &str) -> anyhow::Result<String> {
        canary_of(self.needles, label)
    }

    async fn forge(&self, key: &str) -> anyhow::Result<()> {
        let path = self.object(key).await?;
        alter(&path, Change::Flip)?;
        let sha256 = hex::encode(Sha256::digest(std::fs::read(&path)?));
        let sql = format!("UPDATE blobs SET sha256 = '\\x{sha256}' WHERE blob_key = ({key})");
        ensure!(self.execute(&sql).await? > 0, "the object has no row");
        Ok(())
    }

    async fn add_artifact(&self) -> anyhow::Result<()> {
        let content = b"late";
        let sha256 = hex::encode(Sha256::digest(content));
        let key = "SELECT 'orgs/' || org_id || '/g1/artifacts/late' FROM artifacts ORDER BY artifact_id LIMIT 1";
        let path = self.object(key).await?;
        std::fs::create_dir_all(path.parent().context("a key has a folder")?)?;
        std::fs::write(path, content)?;
        let sql = format!(
            "INSERT INTO blobs SELECT org_id, ({key}), 4, '\\x{sha256}', now()
             FROM artifacts ORDER BY artifact_id LIMIT 1;
             INSERT INTO artifacts SELECT org_id, gen_random_uuid(), session_id, 'late.txt', media_type, ({key}), now()
             FROM artifacts ORDER BY artifact_id LIMIT 1"
        );
        self.execute(&sql).await.map(drop)
    }

    async fn object(&self, sql: &str) -> anyhow::Result<PathBuf> {
        let mut connection = PgConnection::connect(self.database_url).await?;
        let keys: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_all(&mut connection).await?;
        connection.close().await?;
        ensure!(keys.len() == 1, "{} objects were named: {sql}", keys.len());
        Ok(self.objects.join(&keys[0]))
    }

    fn change_secret(&self, name: &str, change: SecretChange) -> anyhow::Result<()> {
        let path = self.folder.join("secrets").join(name);
        match change {
            SecretChange::Remove => std::fs::remove_file(path)?,
            SecretChange::Hide => std::fs::rename(&path, path.with_extension("away"))?,
            SecretChange::Show => std::fs::rename(path.with_extension("away"), path)?,
            SecretChange::Other => {
                let key = std::fs::read_to_string(&path)?;
                // 32 bytes as base64, of which the first letter gives the first six bits.
                let first = if key.starts_with('A') { "B" } else { "A" };
                std::fs::write(path, format!("{first}{}", &key[1..]))?;
            }
        }
        Ok(())
    }

    fn say(&self, process: &str, label: &str, form: Form) -> anyhow::Result<()> {
        use std::io::Write as _;
        let canary = self.canary(label)?;
        let path = self.folder.join("logs").join(format!("{process}.log"));
        let mut log = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
        Ok(writeln!(log, "{{\"level\":\"INFO\",\"message\":\"about {}\"}}", form.write(canary.as_bytes()))?)
    }
}

pub(crate) fn canary_of(needles: &[Needle], label: &str) -> anyhow::Result<String> {
    let needle = needles.iter().find(|needle| needle.label == label);
    let needle = needle.with_context(|| format!("there is no canary called {label}"))?;
    Ok(String::from_utf8_lossy(&needle.value).into_owned())
}

impl Form {
    fn write(self, value: &[u8]) -> String {
        let text = String::from_utf8_lossy(value);
        match self {
            Self::Raw => text.into_owned(),
            Self::Base64 => STANDARD.encode(value),
            Self::Hex => hex::encode_upper(value),
            Self::Percent => text.replace('@', "%40"),
            Self::Json => text.replace('/', "\\/").replace('"', "\\\""),
        }
    }
}

/// Never in place: the file may have links.
pub(crate) fn alter(path: &Path, change: Change) -> anyhow::Result<()> {
    let mut bytes = std::fs::read(path).with_context(|| format!("{} can't be read", path.display()))?;
    let middle = bytes.len() / 2;
    match change {
        Change::Remove => return Ok(std::fs::remove_file(path)?),
        Change::Folder => {
            std::fs::remove_file(path)?;
            return Ok(std::fs::create_dir(path)?);
        }
        Change::Truncate => bytes.truncate(middle),
        Change::Empty => bytes.clear(),
        Change::Flip => *bytes.get_mut(middle).context("an empty file has no byte to flip")? ^= 1,
    }
    replace(path, &bytes)
}

/// Never in place: the file may have links.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let fresh = path.with_added_extension("fresh");
    std::fs::write(&fresh, bytes)?;
    Ok(std::fs::rename(fresh, path)?)
}
