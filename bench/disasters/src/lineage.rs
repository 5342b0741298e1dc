//! A system and what became of it: lives that end in disasters, each begun from a backup of the one before, or of the one
//! before that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clock::{Sources, Timestamp};
use domain::channel::ChannelKind;
use domain::schedule::{MissedPolicy, NewTrigger, OverlapPolicy, TriggerSpec, WorkflowState};
use domain::tenancy::{Role, Scope};
use ids::{AccountId, RunId, TokenId, WorkflowId};
use ledger::Reader;
use objects::Objects;
use recovery::{Memory, Recovery};
use secrets::{LocalKms, SecretBytes, derive_channel_secret};
use store::{Environment, NewBinding, NewChannel, NewMember, NewSession, NewToken, NewWorkflow, Store};
use testkit::{FaultyStore, Mood};

use crate::copying::{self, Snapshot};
use crate::judge;
use crate::life::{Lasting, Life};
use crate::server::Databases;
use crate::sink::Sink;
use crate::tally::Tally;
use crate::users::Place;

const ACTOR: &str = "role:disasters";
/// How long the last life may take to finish what is to be done.
pub(crate) const REST: Duration = Duration::from_secs(120);

/// How a lineage goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fate {
    pub(crate) number: u64,
    pub(crate) seed: u64,
    pub(crate) disasters: u32,
    /// Restore as others do: the rows come back, and nobody asks a ledger.
    pub(crate) forget: bool,
}

/// Slots by workflow and due time, with the runs that they started in whatever life.
pub(crate) type Fired = BTreeMap<(WorkflowId, Timestamp), BTreeSet<RunId>>;

pub(crate) async fn run(databases: &Databases, sink: &Sink, fate: Fate) -> anyhow::Result<Tally> {
    let folder = tempfile::tempdir()?;
    let (lasting, weather) = lasting(folder.path(), fate)?;
    let mut url = databases.fresh().await?;
    let place = settle_down(&url, &lasting, sink, fate.number).await?;
    let mut tally = Tally { disasters: fate.disasters.into(), ..Tally::default() };
    let (mut fired, mut older) = (Fired::new(), None::<Snapshot>);
    for _ in 0..fate.disasters {
        weather.turn();
        let life = Life::start(url.clone(), lasting.clone(), Some(place.clone())).await?;
        let seen = || sink.arrivals(fate.number);
        let snapshot = live_and_die(&url, &lasting, life, &seen).await?;
        weather.clear();
        databases.cut_off(&url).await?;
        tally.in_flight += judge::in_flight(&url).await?;
        judge::runs(&url, &mut fired).await?;
        // Sometimes the newest backup is of no use.
        let used = older.take().filter(|_| lasting.dice.below(5) == 0).unwrap_or_else(|| snapshot.clone());
        older = Some(snapshot);
        let next = databases.fresh().await?;
        copying::give(&used, &next).await?;
        come_back(&next, &lasting, fate.forget).await?;
        databases.drop(&url).await?;
        url = next;
    }
    let began = lasting.sources.now();
    let life = Life::start(url.clone(), lasting.clone(), None).await?;
    judge::at_rest(&url, began, REST).await?;
    life.kill();
    databases.cut_off(&url).await?;
    judge::runs(&url, &mut fired).await?;
    judge::judge(&url, &lasting.acknowledged, sink, fate.number, &fired, began, &mut tally).await?;
    databases.drop(&url).await?;
    Ok(tally)
}

/// A life up to its end, and the backup that was taken in it: each a random moment after a random number of messages have
/// left, so that a busy machine loses systems that are as busy.
async fn live_and_die(
    url: &str,
    lasting: &Lasting,
    life: Life,
    seen: &(dyn Fn() -> u64 + Sync),
) -> anyhow::Result<Snapshot> {
    wait_for(seen, lasting.dice.below(6), &lasting.dice).await?;
    let snapshot = copying::take(url, &lasting.sources).await?;
    wait_for(seen, 1 + lasting.dice.below(16), &lasting.dice).await?;
    life.kill();
    Ok(snapshot)
}

/// Waits until so many more messages have left, and a random moment.
pub(crate) async fn wait_for(seen: &(dyn Fn() -> u64 + Sync), more: u32, dice: &Sources) -> anyhow::Result<()> {
    let (start, until) = (Instant::now(), seen() + u64::from(more));
    while seen() < until {
        anyhow::ensure!(start.elapsed() < REST, "only {} of {until} messages have left after {REST:?}", seen());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_micros(dice.below(20_000).into())).await;
    Ok(())
}

/// The restore: the fence, the replay, the new generation.
async fn come_back(url: &str, lasting: &Lasting, forget: bool) -> anyhow::Result<()> {
    let store = Store::connect(url, 4, lasting.sources.clone()).await?;
    let current = store.generation_current().await?.ok_or_else(|| anyhow::anyhow!("there is no generation"))?;
    let reader = Reader::open(lasting.ledger.clone(), current.system_id, lasting.sources.now()).await?;
    let recovery = Recovery {
        store: &store,
        current: &current,
        own: &lasting.ledger,
        environment: Environment::Production,
        backup: lasting.sources.id(),
        memory: if forget { Memory::Declined } else { Memory::Ledger(&reader) },
    };
    recovery.begin(&mut |_| {}).await?;
    Ok(())
}

/// What the object store of the ledger is like today.
struct Weather(Option<Arc<FaultyStore>>, Sources);

impl Weather {
    fn turn(&self) {
        let Some(store) = &self.0 else { return };
        let delay = Duration::from_millis(self.1.below(15).into());
        store.set(Mood { delay, fail: self.1.below(20), lie: self.1.below(10), ..Mood::default() });
    }

    fn clear(&self) {
        if let Some(store) = &self.0 {
            store.set(Mood::default());
        }
    }
}

/// Every third ledger lies in a store that is slow and fails.
fn lasting(folder: &std::path::Path, fate: Fate) -> anyhow::Result<(Lasting, Weather)> {
    let sources = testkit::system_sources();
    let (_, dice) = testkit::sources(fate.seed);
    let bad = fate.number.is_multiple_of(3).then(|| Arc::new(FaultyStore::new(fate.seed)));
    let ledger = match &bad {
        Some(store) => Objects::over(store.clone()),
        None => Objects::open_folder(&folder.join("ledger"))?,
    };
    let hex = |bytes: [u8; 32]| bytes.map(|byte| format!("{byte:02x}")).concat();
    let key = ("1".to_owned(), SecretBytes::from(hex(sources.bytes()).into_bytes()));
    let lasting = Lasting {
        ledger,
        objects: Objects::open_folder(&folder.join("objects"))?,
        workspaces: folder.join("workspaces"),
        kms: Arc::new(LocalKms::new(key, Vec::new(), sources.clone())?),
        secret: SecretBytes::from(hex(sources.bytes()).into_bytes()),
        sources,
        dice: dice.clone(),
        acknowledged: Arc::default(),
    };
    Ok((lasting, Weather(bad, dice)))
}

/// Makes all that the backups will hold.
async fn settle_down(url: &str, lasting: &Lasting, sink: &Sink, lineage: u64) -> anyhow::Result<Place> {
    let store = Store::connect(url, 4, lasting.sources.clone()).await?;
    let generation = store.generation_initialise(Environment::Production).await?.generation;
    let org = store.org_create("Acme", ACTOR).await?.org_id;
    let mut channels = Vec::new();
    for deduplicates in [true, false] {
        let new = NewChannel {
            org,
            kind: ChannelKind::Webhook,
            name: if deduplicates { "keyed" } else { "plain" }.into(),
            destination: sink.url(lineage, deduplicates).parse()?,
            secret_version: "1".into(),
            deduplicates,
        };
        channels.push(store.channel_create(&new, ACTOR).await?.channel_id);
    }
    let mut sessions = Vec::new();
    for thread in 0..6 {
        let new = NewSession { org, created_by: None, title: "t".into(), agent: "scripted".into() };
        let session = store.session_create(generation, &new).await?;
        let new = NewBinding { org, channel: channels[thread % 2], thread: format!("thread {thread}"), session };
        store.binding_create(&new, ACTOR).await.map_err(|error| anyhow::anyhow!("{error}"))?;
        sessions.push(session);
    }
    for every_s in [1, 2] {
        workflow(&store, org, every_s).await?;
    }
    let (tokens, members, subjects) = people(&store, org).await?;
    let signing_secret = derive_channel_secret(&lasting.secret, channels[1]);
    Ok(Place { org, sessions, door: channels[1], signing_secret, tokens, members, subjects })
}

async fn workflow(store: &Store, org: ids::OrgId, every_s: i64) -> anyhow::Result<()> {
    let spec = TriggerSpec::Interval { every_s, anchor_at: None };
    let new = NewWorkflow {
        org,
        name: format!("every {every_s} s"),
        agent: "scripted".into(),
        prompt: "say tick".into(),
        state: WorkflowState::Active,
        missed_policy: MissedPolicy::RunAll,
        missed_window_s: 3_600,
        overlap_policy: OverlapPolicy::Allow,
        secret_version: "1".into(),
        triggers: vec![NewTrigger::new(spec, store.sources().now())?],
    };
    store.workflow_create(&new, ACTOR).await?;
    Ok(())
}

async fn people(store: &Store, org: ids::OrgId) -> anyhow::Result<(Vec<TokenId>, Vec<AccountId>, Vec<AccountId>)> {
    let mut accounts = Vec::new();
    for number in 0..41 {
        let role = if number == 0 { Role::Owner } else { Role::Member };
        let new = NewMember {
            email: format!("p{number}@example.org"),
            display_name: format!("P {number}"),
            role: role.into(),
        };
        accounts.push(store.member_add(org, &new, ACTOR).await?.expect("the address is new").account_id);
    }
    let mut tokens = Vec::new();
    for number in 0..20 {
        let (hash, scopes) = (store.sources().bytes(), vec![Scope::Read]);
        let new = NewToken {
            account: accounts[0],
            name: format!("t{number}"),
            hash,
            prefix: "cow_frst".into(),
            last_four: "last".into(),
            scopes,
            expires_at: None,
        };
        tokens.push(store.token_create(org, &new, ACTOR).await?.expect("its account is there").token_id);
    }
    Ok((tokens, accounts[1..21].to_vec(), accounts[21..].to_vec()))
}
