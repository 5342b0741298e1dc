//! A run: a system comes up, is used, suffers, comes to rest, and is judged.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use client::Client;
use e2e::{Folder, Installation};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::judge::{self, Violation};
use crate::mishaps::{self, Counts, Scene, State};
use crate::people::{self, Person, Progress};
use crate::place;
use crate::roles::Roles;
use crate::server::Server;
use crate::sink::Sink;
use crate::told::Told;
use crate::wire::Wire;
use crate::{Options, folds, outside, proof, rest, watch};

/// Short enough that many run out in a run.
const LEASE: Duration = Duration::from_secs(3);
const SEND: Duration = Duration::from_millis(1_500);
/// What a gateway's lease has over its sending.
const SEND_GRACE: Duration = Duration::from_secs(15);
/// Between two lines that say how far it is.
const TELL_EVERY: Duration = Duration::from_secs(15);

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) counts: Counts,
    /// What there was to see, in words.
    pub(crate) seen: String,
    pub(crate) violations: Vec<Violation>,
}

/// A system at work. What is not ended in order is ended when it is dropped: roles, Postgres, the folder.
struct System {
    person: Person,
    scene: Arc<Scene>,
    installation: Installation,
    server: Server,
    logs: PathBuf,
    _watch: Ended,
}

/// A task that ends with whoever holds this.
struct Ended(JoinHandle<()>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<Outcome> {
    let folder = Folder::new();
    let told = Told::default();
    let system = System::begin(folder.path(), options, &told).await?;
    let people = people::arrive(&system.person);
    let progress = Progress::default();
    let readers = people::follow_all(&system.person, &progress);

    let until = Instant::now() + Duration::from_secs(options.seconds);
    let telling = Ended(tokio::spawn(tell(system.scene.clone(), told.clone(), until)));
    mishaps::make(system.scene.clone(), options.seed, until).await;
    drop(telling);
    eprintln!("the mishaps have ended; the system comes to rest");

    let mut violations = rest::come(&system.server, &system.person, people, &progress).await?;
    violations.extend(rest::downloads(&system.person).await);
    drop(readers);
    let counts = system.scene.counts();
    let seen = system.end(folder.path(), options, &mut violations).await?;
    Ok(Outcome { counts, seen, violations })
}

impl System {
    async fn begin(folder: &Path, options: &Options, told: &Told) -> anyhow::Result<Self> {
        let server = Server::start(&folder.join("postgres")).await?;
        let installation = install(folder, &server.url())?;
        let logs = options.logs.as_ref().map_or_else(|| Ok(folder.join("logs")), std::path::absolute)?;
        std::fs::create_dir_all(&logs)?;
        let first = installation.clone();
        let token = spawn_blocking(move || first.init()).await?;
        std::fs::write(installation.folder().join("operator-token"), &token)?;

        let (web, gateway) = (Wire::start().await?, Wire::start().await?);
        let wires = BTreeMap::from([("web", web.clone()), ("gateway", gateway.clone())]);
        let roles = Roles::start(installation.folder(), &logs, &wires, told);
        let (sources, sink) = (testkit::system_sources(), Sink::start(dice(options, 1)).await?);
        let operator = Client::new(web.url(), token.into());
        let place = place::settle(&operator, &gateway.url(), &sink, &sources).await?;
        eprintln!("a system is up, in {}", folder.display());

        let person = Person {
            operator,
            gateway: gateway.url(),
            place: Arc::new(place),
            told: told.clone(),
            dice: dice(options, 2),
            sources,
            leave: CancellationToken::new(),
        };
        let scene = Scene {
            server: server.clone(),
            roles,
            clients: vec![web, gateway],
            sink,
            folders: ["objects", "ledger"].map(|name| installation.data().join(name)).to_vec(),
            leases: (LEASE, SEND + SEND_GRACE),
            told: told.clone(),
            state: State::default(),
        };
        let watch = Ended(tokio::spawn(watch::watch(server.clone(), told.clone())));
        Ok(Self { person, scene: Arc::new(scene), installation, server, logs, _watch: watch })
    }

    /// Stops it in an orderly way and judges it. What there was to see.
    async fn end(self, folder: &Path, options: &Options, violations: &mut Vec<Violation>) -> anyhow::Result<String> {
        let Self { person, scene, installation, server, logs, _watch } = self;
        scene.roles.stop(&person.told).await;
        let arrivals = scene.sink.arrivals();
        let mut connection = server.connect().await?;
        let record = std::mem::take(&mut *person.told.record());
        outside::tell(&mut connection, &record, &arrivals).await?;
        violations.extend(judge::ask(&mut connection).await?);
        violations.extend(folds::compare(&mut connection).await?);
        violations.extend(record.surprises.iter().map(|found| {
            Violation::new("no-surprises", "nothing happens that nobody asked for, and nothing right is refused", found)
        }));
        violations.extend(panics(&logs)?);
        let seen = judge::seen(&mut connection).await?;
        drop(connection);
        violations.extend(proof::verify(&installation).await?);
        if !options.without_drill {
            eprintln!("the system is backed up and drilled");
            violations.extend(proof::drill(&installation, folder, &person.place.facts).await?);
        }
        server.stop().await;
        Ok(seen)
    }
}

/// Each who throws has dice of their own.
fn dice(options: &Options, whose: u64) -> clock::Sources {
    testkit::sources(options.seed.wrapping_mul(1_000_003).wrapping_add(whose)).1
}

fn install(folder: &Path, url: &str) -> anyhow::Result<Installation> {
    let own = folder.join("system");
    std::fs::create_dir(&own)?;
    // Ends the gateway's part, which is the last in what every installation of a story has.
    let more = format!(
        "max_attempts = 100000\nbackoff_ms = 50\nbackoff_max_ms = 1000\ntimeout_ms = {}\n\
         [database]\nurl = {url:?}\n[worker]\nlease_ms = {}\n",
        SEND.as_millis(),
        LEASE.as_millis(),
    );
    Ok(Installation::with_own_secrets(&own, &more))
}

/// How far it is.
async fn tell(scene: Arc<Scene>, told: Told, until: Instant) {
    let mut ticks = tokio::time::interval(TELL_EVERY);
    loop {
        ticks.tick().await;
        let (counts, left) = (scene.counts(), until.saturating_duration_since(Instant::now()).as_secs());
        let (commands, seen, surprises) = {
            let record = told.record();
            (record.commands.len(), record.fed.len(), record.surprises.len())
        };
        eprintln!(
            "{left} s left: {} kills, {} pauses, {} cuts, {} falls of Postgres, {} bad days, {} blocked folders; \
             {commands} acknowledgements, {} messages, {seen} events, {surprises} surprises",
            counts.kills,
            counts.pauses,
            counts.cuts,
            counts.postgres,
            counts.weather,
            counts.blocks,
            scene.sink.arrivals().len(),
        );
    }
}

/// Lines of the roles' logs that tell of a panic.
fn panics(logs: &Path) -> anyhow::Result<Vec<Violation>> {
    let mut violations = Vec::new();
    for entry in std::fs::read_dir(logs)? {
        let path = entry?.path();
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let panics = text.lines().filter(|line| line.contains("\"target\":\"panic\"") || line.contains("panicked at"));
        violations.extend(panics.take(3).map(|line| {
            let line: String = line.chars().take(500).collect();
            let name = path.file_name().unwrap_or_default().display();
            Violation::new("no-panics", "no role panics", format!("{name}: {line}"))
        }));
    }
    Ok(violations)
}
