//! The corpus: worlds that are broken in one way each, which the judge has to notice and name, and worlds that are
//! whole, which it has to pass.
//!
//! A fault is caught if the judge says exactly what is expected of it: these rows, these codes, and no others. Faults
//! are data ([`catalogue`]); wherever one can be planted in the source before the backup, it is, so that the backup's
//! own digests agree with it and the deeper check alone can see it.
//!
//! [`Options::blind`] leaves one comparison of the judge out. A corpus that then still calls every fault caught would
//! show that nothing depends on it.
//!
//! Not here: the drill itself (`run`, `recovery`).

mod act;
mod catalogue;
mod fault;
mod front;
mod harm;
mod healthy;
mod live;
mod making;
mod mutation;
mod sabotage;
mod template;
mod trial;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clock::Sources;
use futures::StreamExt as _;
use localpg::Binaries;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use self::fault::Fault;
use self::healthy::Variant;
pub(crate) use self::sabotage::Sabotage;
use self::template::{Template, Tools};
use self::trial::{Ground, Tried, World};
use crate::error::DrillError;
use crate::options::{Isolated, Keeping, Options as DrillOptions};
use crate::plan::Isolation;
use crate::progress::Mode;
use crate::report::{Code, Comparison, Metadata, Objectives};
use crate::work::{self, WorkFolder};

/// Stages whose failure is told by itself.
const STAGES: [&str; 2] = ["tear-down", "scan"];

/// A run of the corpus.
#[derive(Debug, Clone)]
pub struct Options {
    pub work_parent: PathBuf,
    pub executable: PathBuf,
    /// `PATH`, for Postgres' tools.
    pub search_path: String,
    pub build: String,
    pub which: Which,
    /// Drills at the same time.
    pub at_once: usize,
    /// A comparison that the judge leaves out.
    pub blind: Option<Comparison>,
    /// Where the reports of all drills are kept; `None`: nowhere.
    pub reports: Option<PathBuf>,
}

/// Which worlds are tried.
#[derive(Debug, Clone, Default)]
pub struct Which {
    pub faults: bool,
    pub healthy: bool,
    /// A few that stand for the rest.
    pub quick: bool,
    /// These only, by id.
    pub only: Vec<String>,
    /// Those only that have to be noticed by this comparison.
    pub noticed_by: Option<Comparison>,
    /// Judges that leave one comparison out, each of them.
    pub mutations: bool,
}

/// A world and what it is.
#[derive(Debug, Clone, Serialize)]
pub struct Listed {
    pub id: &'static str,
    /// `source`, `backup`, `target`, `program`, `judge`; `healthy`.
    pub place: &'static str,
    pub what: &'static str,
}

/// A fault that was tried.
#[derive(Debug, Clone, Serialize)]
pub struct FaultTried {
    pub id: &'static str,
    pub expected: Vec<String>,
    pub got: Vec<String>,
    pub caught: bool,
    #[serde(skip)]
    pub place: &'static str,
    /// What the judge said of it, in sentences.
    #[serde(skip)]
    pub said: Vec<String>,
    #[serde(skip)]
    pub took: Duration,
}

/// A healthy world that was tried.
#[derive(Debug, Clone, Serialize)]
pub struct HealthyTried {
    pub id: &'static str,
    pub passed: bool,
    /// What the judge said against it.
    #[serde(skip)]
    pub said: Vec<String>,
    #[serde(skip)]
    pub took: Duration,
}

/// A judge that left one comparison out.
#[derive(Debug, Clone, Serialize)]
pub struct MutationTried {
    /// `ROW:CODE`
    pub blind: String,
    /// The fault that this comparison has to notice.
    pub fault: &'static str,
    /// Whether the fault went uncaught: then somebody depends on the comparison.
    pub noticed: bool,
    /// What the row said all the same.
    #[serde(skip)]
    pub said: Vec<String>,
    #[serde(skip)]
    pub took: Duration,
}

/// A corpus that was tried.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Outcome {
    pub faults: Vec<FaultTried>,
    pub healthy: Vec<HealthyTried>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mutations: Vec<MutationTried>,
}

impl Outcome {
    /// Whether every fault was caught, every healthy world passed, and every blind judge was noticed. Nothing tried is
    /// not good.
    #[must_use]
    pub fn good(&self) -> bool {
        let tried = self.faults.len() + self.healthy.len() + self.mutations.len();
        tried > 0
            && self.faults.iter().all(|fault| fault.caught)
            && self.healthy.iter().all(|variant| variant.passed)
            && self.mutations.iter().all(|mutation| mutation.noticed)
    }
}

/// Every world that there is.
#[must_use]
pub fn list() -> Vec<Listed> {
    let faults = catalogue::all().map(|it| Listed { id: it.id, place: it.place().as_str(), what: it.what });
    faults.chain(healthy::all().map(|it| Listed { id: it.id, place: "healthy", what: it.what })).collect()
}

/// Comparisons that no fault needs, though a rehearsal makes them.
#[must_use]
pub fn idle_comparisons() -> Vec<Comparison> {
    let rehearsed = Comparison::all().filter(|it| !Code::OF_PLANS.contains(&it.code));
    rehearsed.filter(|it| catalogue::all().all(|fault| !fault.needs(*it))).collect()
}

/// Tries the worlds. `tell` is called with a line for each that was tried.
///
/// # Errors
/// If the shared world can't be built.
pub async fn run(
    options: Options,
    sources: Sources,
    cancel: CancellationToken,
    tell: impl Fn(String),
) -> Result<Outcome, DrillError> {
    let failed = |source| DrillError::Corpus { source };
    let which = &options.which;
    let faults: Vec<&Fault> = catalogue::all().filter(|fault| which.takes_fault(fault)).collect();
    let variants: Vec<&Variant> = healthy::all().filter(|variant| which.takes_variant(variant)).collect();
    let blinded = if which.mutations { mutation::choose(which.quick) } else { Vec::new() };
    if faults.is_empty() && variants.is_empty() && blinded.is_empty() {
        return Ok(Outcome::default());
    }
    let mut worlds: BTreeSet<World> = variants.iter().map(|variant| variant.world).collect();
    if !faults.is_empty() || !blinded.is_empty() {
        worlds.insert(World::Shared);
    }
    let ground = tokio::select! {
        () = cancel.cancelled() => return Err(failed(anyhow::anyhow!("it was interrupted"))),
        ground = prepare(&options, &worlds, &sources, &cancel) => ground.map_err(failed)?,
    };
    let mut outcome = Outcome::default();
    let mut tried = futures::stream::iter(&faults)
        .map(async |fault| try_fault(&ground, fault).await)
        .buffered(options.at_once.max(1));
    while let Some(fault) = tried.next().await {
        tell(fault.line());
        outcome.faults.push(fault);
    }
    let mut tried = futures::stream::iter(&variants)
        .map(async |variant| try_variant(&ground, variant).await)
        .buffered(options.at_once.max(1));
    while let Some(variant) = tried.next().await {
        tell(variant.line());
        outcome.healthy.push(variant);
    }
    let mut tried = futures::stream::iter(&blinded)
        .map(async |(blind, fault)| mutation::try_blind(&ground, *blind, fault).await)
        .buffered(options.at_once.max(1));
    while let Some(mutation) = tried.next().await {
        tell(mutation.line());
        outcome.mutations.push(mutation);
    }
    if cancel.is_cancelled() {
        return Err(failed(anyhow::anyhow!("it was interrupted")));
    }
    Ok(outcome)
}

impl Which {
    fn names(&self, id: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == id)
    }

    fn takes_fault(&self, fault: &Fault) -> bool {
        let noticed = self.noticed_by.is_none_or(|comparison| fault.needs(comparison));
        let quick = !self.quick || catalogue::QUICK.contains(&fault.id);
        self.faults && self.names(fault.id) && noticed && quick
    }

    fn takes_variant(&self, variant: &Variant) -> bool {
        let quick = !self.quick || healthy::QUICK.contains(&variant.id);
        self.healthy && self.names(variant.id) && quick
    }
}

async fn prepare(
    options: &Options,
    worlds: &BTreeSet<World>,
    sources: &Sources,
    cancel: &CancellationToken,
) -> anyhow::Result<Ground> {
    let _ = work::clean(&options.work_parent);
    let _ = localpg::sweep(&options.work_parent);
    let id: ids::DrillId = sources.id();
    let work = WorkFolder::create(&options.work_parent, &format!("faults-{id}"))?;
    let tools = Tools {
        binaries: Binaries::find(Some(options.search_path.as_ref()))?,
        executable: options.executable.clone(),
        search_path: options.search_path.clone(),
        sources: sources.clone(),
        work,
    };
    let empty_cluster = tools.empty_cluster().await?;
    let seed = u64::from_le_bytes(sources.bytes());
    let mut templates = BTreeMap::new();
    for world in worlds {
        templates.insert(*world, Template::build(&tools, world.name(), world.size(), seed).await?);
    }
    let trials = tools.work.folder("trials")?;
    let reports = match &options.reports {
        Some(reports) => reports.clone(),
        None => tools.work.folder("reports")?,
    };
    std::fs::create_dir_all(&reports).context("the reports' folder can't be made")?;
    let drill = drill_options(options, seed);
    Ok(Ground {
        tools,
        templates,
        empty_cluster,
        trials,
        reports,
        options: drill,
        blind: options.blind,
        cancel: cancel.clone(),
    })
}

fn drill_options(options: &Options, seed: u64) -> DrillOptions {
    DrillOptions {
        out: PathBuf::new(),
        work_parent: options.work_parent.clone(),
        executable: options.executable.clone(),
        search_path: options.search_path.clone(),
        build: options.build.clone(),
        plan: None,
        isolation: Isolation::Off,
        isolated: Isolated::NotTried { cause: "the corpus does not leave it".to_owned() },
        scale: 1,
        seed,
        keep: false,
        pause_after: None,
        objectives: Objectives { rto_s: 3_600.0, rpo_s: 86_400.0 },
        metadata: Metadata::default(),
        keeping: Keeping::default(),
        mode: Mode::PLAIN,
        die_after_entry: None,
    }
}

async fn try_fault(ground: &Ground, fault: &Fault) -> FaultTried {
    let start = ground.tools.sources.now();
    let how = ground.how(None);
    let tried = trial::carry_out(ground, fault.id, World::Shared, fault.steps, how).await;
    let texts = |told: &mut dyn Iterator<Item = &fault::Told>| told.map(ToString::to_string).collect::<Vec<_>>();
    let (caught, got) = tried
        .as_ref()
        .map_or((false, Vec::new()), |tried| (fault.caught_by(&tried.told), texts(&mut tried.told.iter())));
    let mut expected = texts(&mut fault.expected.iter());
    expected.sort();
    let took = (ground.tools.sources.now() - start).to_std().unwrap_or_default();
    FaultTried { id: fault.id, expected, got, caught, place: fault.place().as_str(), said: said(&tried), took }
}

async fn try_variant(ground: &Ground, variant: &Variant) -> HealthyTried {
    let start = ground.tools.sources.now();
    let tried = trial::carry_out(ground, variant.id, variant.world, variant.steps, ground.how(None)).await;
    let passed = tried.as_ref().is_ok_and(|tried| tried.told.is_empty());
    let took = (ground.tools.sources.now() - start).to_std().unwrap_or_default();
    HealthyTried { id: variant.id, passed, said: said(&tried), took }
}

/// The judge's sentences; or why there was no drill.
fn said(tried: &anyhow::Result<Tried>) -> Vec<String> {
    match tried {
        Err(error) => vec![format!("it could not be tried: {error:#}")],
        Ok(tried) => {
            let rows = tried.report.checks().iter().filter(|check| check.verdict() != crate::report::Verdict::Passed);
            rows.map(|check| format!("{}: {}", check.id().as_str(), check.summary())).collect()
        }
    }
}

impl FaultTried {
    fn line(&self) -> String {
        let (verdict, seconds) = (if self.caught { "caught" } else { "MISSED" }, self.took.as_secs_f64());
        let mut line = format!("{verdict}  {:<44} {seconds:>5.1} s", self.id);
        if !self.caught {
            line +=
                &format!("\n        expected  {}\n        got       {}", self.expected.join(" "), self.got.join(" "));
            line += &self.said.iter().map(|said| format!("\n        {said}")).collect::<String>();
        }
        line
    }
}

impl HealthyTried {
    fn line(&self) -> String {
        let (verdict, seconds) = (if self.passed { "passed" } else { "FAILED" }, self.took.as_secs_f64());
        let said = self.said.iter().map(|said| format!("\n        {said}")).collect::<String>();
        format!("{verdict}  {:<44} {seconds:>5.1} s{said}", self.id)
    }
}
