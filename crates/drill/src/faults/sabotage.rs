//! What is done to a target between the stages of its recovery.
//!
//! Not here: what is done to rows, files and processes (`act`), stand-ins (`front`).

use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use super::act::{Act, Scene, canary_of};
use super::front::{Background, stand_before};
use crate::rehearsal::Aftermath;
use crate::target::Target;

/// Between two things that somebody restless does.
const REST: Duration = Duration::from_millis(20);

/// Acts between the stages of a recovery, by the stage after which each comes.
#[derive(Debug)]
pub(crate) struct Sabotage {
    acts: Vec<(&'static str, Act)>,
    /// The stage after which the drill is over.
    until: Option<&'static str>,
    /// Ends with the trial.
    background: Mutex<Vec<Background>>,
    /// Why something could not be done: then the trial shows nothing.
    undone: Mutex<Option<String>>,
}

impl Sabotage {
    pub(crate) fn of(acts: Vec<(&'static str, Act)>, until: Option<&'static str>) -> Self {
        Self { acts, until, background: Mutex::default(), undone: Mutex::default() }
    }

    /// What is done beside the system, and not to it. `false`: it is something else.
    async fn beside(&self, act: Act, target: &mut Target, aftermath: &Aftermath) -> anyhow::Result<bool> {
        let canary = || canary_of(aftermath.canaries.needles(), "a member's email");
        match act {
            Act::Front(role, tamper) => {
                let upstream = target.url(role);
                ensure!(!upstream.is_empty(), "no {} runs", role.as_str());
                let address = stand_before(upstream, tamper, canary()?, &self.background).await?;
                let before = target.roles.iter_mut().find_map(|process| process.addresses.get_mut(role.as_str()));
                *before.context("it has an address")? = address;
            }
            Act::FrontOfSink(tamper) => {
                let sink = aftermath.sink.url("accept", "accept");
                let upstream = sink.strip_suffix("/accept/accept").context("a sink has this path")?.to_owned();
                let address = stand_before(upstream.clone(), tamper, canary()?, &self.background).await?;
                let path = target.settings.config_path();
                let text = std::fs::read_to_string(&path)?;
                ensure!(text.contains(&upstream), "deliveries are not redirected");
                std::fs::write(path, text.replace(&upstream, &format!("http://{address}")))?;
            }
            Act::Restless(sql) => {
                let work = again_and_again(target.settings.database_url.clone(), sql);
                self.background.lock().expect("no holder of this lock can panic").push(Background::of(work));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What is to be done after `stage`.
    pub(crate) async fn after(&self, stage: &str, target: &mut Target, aftermath: &Aftermath) -> anyhow::Result<()> {
        let done = self.act_after(stage, target, aftermath).await;
        done.inspect_err(|error| *self.lock_undone() = Some(format!("{error:#}")))?;
        ensure!(self.until != Some(stage), "enough was seen");
        Ok(())
    }

    pub(crate) fn undone(&self) -> Option<String> {
        self.lock_undone().clone()
    }

    fn lock_undone(&self) -> MutexGuard<'_, Option<String>> {
        self.undone.lock().expect("no holder of this lock can panic")
    }

    async fn act_after(&self, stage: &str, target: &mut Target, aftermath: &Aftermath) -> anyhow::Result<()> {
        for (_, act) in self.acts.iter().filter(|(after, _)| *after == stage) {
            if let Act::Start(name, role) = act {
                target.start(name, *role).await.context("the fault could not be made")?;
                continue;
            }
            if let Act::Page(sql) = act {
                flip_page(target, sql).await.context("the fault could not be made")?;
                continue;
            }
            if self.beside(*act, target, aftermath).await.context("the fault could not be made")? {
                continue;
            }
            let (database_url, folder) = (target.settings.database_url.clone(), target.settings.folder.clone());
            let mut scene = Scene {
                database_url: &database_url,
                folder: &folder,
                objects: target.settings.objects(),
                environment: &mut target.launcher.environment,
                roles: &mut target.roles,
                needles: aftermath.canaries.needles(),
                sink: aftermath.sink.url("accept", "accept"),
            };
            scene.act(*act).await.context("the fault could not be made")?;
        }
        Ok(())
    }
}

/// Until the database is gone, or somebody ends it.
async fn again_and_again(database_url: String, sql: &'static str) {
    let Ok(mut connection) = PgConnection::connect(&database_url).await else { return };
    while connection.execute(sql).await.is_ok() {
        tokio::time::sleep(REST).await;
    }
}

/// The server is stopped for it: pages that it holds in memory are whole.
async fn flip_page(target: &mut Target, sql: &str) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(target.database_url()).await?;
    let file: String = sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&mut connection).await?;
    connection.close().await?;
    let Some(mut cluster) = target.cluster.take() else { bail!("the target's server is not ours") };
    let flipped = tokio::task::spawn_blocking(move || {
        let flip = |data: &Path| {
            use std::os::unix::fs::FileExt as _;
            let file = std::fs::OpenOptions::new().read(true).write(true).open(data.join(&file))?;
            // Near the end of the first page: the first row of a heap, the first entry of an index.
            let (mut byte, place) = ([0], 8_192 - 24);
            file.read_exact_at(&mut byte, place)?;
            file.write_all_at(&[byte[0] ^ 1], place)
        };
        cluster.at_rest(localpg::Options::fast(), flip).map(|()| cluster)
    });
    target.cluster = Some(flipped.await??);
    Ok(())
}
