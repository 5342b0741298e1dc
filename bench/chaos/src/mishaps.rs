//! What goes wrong, and when: a chooser whose dice begin at the seed of the run.
//!
//! It draws a mishap with all that belongs to it, sends it on its way and draws the next; a few are under way at once. With the
//! same seed the same mishaps come in the same order. What they meet differs from run to run, as does who wins a race.
//!
//! Each ends what it began: who was stopped goes on, who was down comes up, what was blocked is free.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clock::Sources;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::roles::Roles;
use crate::server::Server;
use crate::sink::{Sink, Weather};
use crate::told::Told;
use crate::wire::{Share, Wire};

/// Mishaps that are under way at the same time.
const AT_ONCE: usize = 3;

/// What can go wrong, and how often it does beside the others.
const ODDS: [(Mishap, u32); 10] = [
    (Mishap::Kill, 26),
    (Mishap::Pause, 14),
    (Mishap::Fall, 5),
    (Mishap::Terminate, 9),
    (Mishap::CutDatabase, 9),
    (Mishap::StallDatabase, 6),
    (Mishap::CutClients, 9),
    (Mishap::StallClients, 5),
    (Mishap::Weather, 10),
    (Mishap::Block, 7),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mishap {
    /// `kill -9` of a role, sometimes of both that run it.
    Kill,
    /// A role is stopped in its tracks and goes on later, mostly when its leases have run out.
    Pause,
    /// An immediate stop of Postgres.
    Fall,
    /// Postgres ends connections.
    Terminate,
    CutDatabase,
    StallDatabase,
    CutClients,
    StallClients,
    /// Destinations have a bad day.
    Weather,
    /// The object store or the recovery ledger can't be reached.
    Block,
}

/// What mishaps have happened so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) kills: u64,
    pub(crate) pauses: u64,
    /// Of connections, by Postgres or on a wire, and of stalls.
    pub(crate) cuts: u64,
    pub(crate) postgres: u64,
    /// Bad days of destinations.
    pub(crate) weather: u64,
    /// Folders that were out of reach.
    pub(crate) blocks: u64,
}

/// Everything that something can happen to.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) server: Server,
    pub(crate) roles: Roles,
    /// Clients reach web and gateway by these.
    pub(crate) clients: Vec<Wire>,
    pub(crate) sink: Sink,
    /// Of the object store and the recovery ledger.
    pub(crate) folders: Vec<PathBuf>,
    /// A worker's lease, and a gateway's.
    pub(crate) leases: (Duration, Duration),
    pub(crate) told: Told,
    pub(crate) state: State,
}

/// What has happened, and what happens once at a time.
#[derive(Debug, Default)]
pub(crate) struct State {
    counts: Mutex<Counts>,
    falling: tokio::sync::Mutex<()>,
    blocking: tokio::sync::Mutex<()>,
    raining: tokio::sync::Mutex<()>,
}

/// A mishap as it was drawn.
#[derive(Debug, Clone)]
struct Drawn {
    mishap: Mishap,
    /// Which of several.
    which: usize,
    time: Duration,
    share: Share,
    /// For what is drawn while it happens.
    dice: Sources,
}

impl Scene {
    pub(crate) fn counts(&self) -> Counts {
        *self.state.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, add: impl FnOnce(&mut Counts)) {
        add(&mut self.state.counts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    async fn happen(&self, drawn: Drawn) -> anyhow::Result<()> {
        let Drawn { mishap, which, time, share, dice } = drawn;
        match mishap {
            Mishap::Kill => self.kill(which, share),
            Mishap::Pause => self.pause(which, time).await,
            Mishap::Fall => {
                let _alone = self.state.falling.lock().await;
                self.count(|counts| counts.postgres += 1);
                self.server.fall(time).await?;
            }
            Mishap::Terminate => {
                // It may be down just now.
                if self.server.terminate(share, &dice).await.is_ok() {
                    self.count(|counts| counts.cuts += 1);
                }
            }
            Mishap::CutDatabase => self.cut(&self.server.wire, share, &dice),
            Mishap::CutClients => self.cut(&self.clients[which % self.clients.len()], share, &dice),
            Mishap::StallDatabase => self.stall(&self.server.wire, time).await,
            Mishap::StallClients => self.stall(&self.clients[which % self.clients.len()], time).await,
            Mishap::Weather => {
                let _alone = self.state.raining.lock().await;
                self.count(|counts| counts.weather += 1);
                self.sink.turn([Weather::Refusing, Weather::Silent, Weather::Losing][which % 3]);
                sleep(time).await;
                self.sink.turn(Weather::Fair);
            }
            Mishap::Block => {
                let _alone = self.state.blocking.lock().await;
                self.count(|counts| counts.blocks += 1);
                block(&self.folders[which % self.folders.len()], time).await?;
            }
        }
        Ok(())
    }

    /// One, or all that run its role.
    fn kill(&self, which: usize, share: Share) {
        let keepers = self.roles.all();
        let chosen = &keepers[which % keepers.len()];
        let both = share == Share::All;
        for keeper in keepers.iter().filter(|keeper| keeper.name == chosen.name || (both && keeper.role == chosen.role))
        {
            keeper.kill();
            self.count(|counts| counts.kills += 1);
        }
    }

    async fn pause(&self, which: usize, time: Duration) {
        let keepers = self.roles.all();
        let keeper = &keepers[which % keepers.len()];
        self.count(|counts| counts.pauses += 1);
        keeper.suspend();
        sleep(time).await;
        keeper.resume();
    }

    fn cut(&self, wire: &Wire, share: Share, dice: &Sources) {
        wire.cut(share, dice);
        self.count(|counts| counts.cuts += 1);
    }

    async fn stall(&self, wire: &Wire, time: Duration) {
        self.count(|counts| counts.cuts += 1);
        wire.stall(true);
        sleep(time).await;
        wire.stall(false);
    }
}

/// Lets things go wrong until `until`, and gives back when all have ended.
pub(crate) async fn make(scene: Arc<Scene>, seed: u64, until: Instant) {
    let dice = testkit::sources(seed).1;
    let mut under_way: JoinSet<anyhow::Result<()>> = JoinSet::new();
    while Instant::now() < until {
        sleep(Duration::from_millis((150 + dice.below(1_200)).into())).await;
        if under_way.len() >= AT_ONCE {
            note(&scene, under_way.join_next().await);
        }
        let (scene, drawn) = (scene.clone(), draw(&scene, &dice, until));
        under_way.spawn(async move { scene.happen(drawn).await });
    }
    while let Some(ended) = under_way.join_next().await {
        note(&scene, Some(ended));
    }
}

fn note(scene: &Scene, ended: Option<Result<anyhow::Result<()>, tokio::task::JoinError>>) {
    match ended {
        Some(Ok(Err(error))) => scene.told.surprise(format!("a mishap went wrong: {error:#}")),
        Some(Err(error)) => scene.told.surprise(format!("a mishap went wrong: {error}")),
        Some(Ok(Ok(()))) | None => {}
    }
}

/// Everything about the next mishap, with as many throws whatever it is.
fn draw(scene: &Scene, dice: &Sources, until: Instant) -> Drawn {
    let sum: u32 = ODDS.iter().map(|(_, odds)| odds).sum();
    let (mut throw, which, share) = (dice.below(sum), dice.below(1_000) as usize, dice.below(5));
    let part = f64::from(dice.below(1_000)) / 1_000.0;
    let seed = dice.below(u32::MAX);
    let chosen = ODDS.iter().find(|(_, odds)| {
        let hit = throw < *odds;
        throw = throw.saturating_sub(*odds);
        hit
    });
    let mishap = chosen.map_or(Mishap::Kill, |(mishap, _)| *mishap);
    let share = match mishap {
        Mishap::Kill if share > 0 => Share::Half,
        _ if share > 2 => Share::Half,
        _ => Share::All,
    };
    let left = until.saturating_duration_since(Instant::now());
    Drawn { mishap, which, time: time(scene, mishap, which, part, left), share, dice: testkit::sources(seed.into()).1 }
}

/// How long it lasts; `part` says how much of what is possible.
fn time(scene: &Scene, mishap: Mishap, which: usize, part: f64, left: Duration) -> Duration {
    let between = |least: Duration, most: Duration| least + (most - least).mul_f64(part);
    let millis = Duration::from_millis;
    match mishap {
        Mishap::Pause => {
            let keepers = scene.roles.all();
            let (worker, gateway) = scene.leases;
            match keepers[which % keepers.len()].role {
                "worker" => between(worker + millis(300), worker * 2),
                // So long that it is rare, and not the last thing that happens.
                "gateway" if part < 0.4 && left > gateway * 2 => gateway + millis(1_500),
                _ => between(millis(500), millis(5_000)),
            }
        }
        Mishap::Fall => between(Duration::ZERO, millis(2_000)),
        Mishap::Block => between(millis(200), millis(2_500)),
        _ => between(millis(500), millis(4_500)),
    }
}

/// Puts a file in the folder's place for a while: what is in it can be neither read nor written, whoever asks.
async fn block(folder: &Path, time: Duration) -> anyhow::Result<()> {
    let aside = folder.with_extension("aside");
    std::fs::write(&aside, "")?;
    exchange(folder, &aside)?;
    sleep(time).await;
    exchange(folder, &aside)?;
    Ok(std::fs::remove_file(&aside)?)
}

/// In one step, so that nobody finds nothing there and makes a folder.
fn exchange(one: &Path, other: &Path) -> nix::Result<()> {
    renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_blocked_folder_is_out_of_reach_and_then_as_it_was() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("objects");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("blob"), "kept").unwrap();
        let aside = folder.with_extension("aside");
        std::fs::write(&aside, "").unwrap();
        exchange(&folder, &aside).unwrap();
        assert!(std::fs::write(folder.join("another"), "").is_err());
        assert!(std::fs::create_dir_all(folder.join("deeper")).is_err());
        exchange(&folder, &aside).unwrap();
        assert_eq!(std::fs::read_to_string(folder.join("blob")).unwrap(), "kept");
        block(&folder, Duration::ZERO).await.unwrap();
        assert!(!aside.exists());
    }
}
