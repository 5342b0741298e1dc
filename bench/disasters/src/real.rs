//! A lineage of real processes: the binary serves, backs up, is killed with `kill -9`, restores, and serves again.
//!
//! Each life has a database, an objects folder and a configuration of its own; the archive and the recovery ledger outlive
//! them, as do the secrets, which an operator would bring back.

use std::path::{Path, PathBuf};
use std::time::Duration;

use client::{Client, NewTrigger, NewWorkflow, Wish};
use clock::Sources;
use e2e::{Installation, Served};
use ids::{AccountId, SessionId, TokenId};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::judge;
use crate::lineage::{self, Fate, Fired, REST};
use crate::server::Databases;
use crate::sink::Sink;
use crate::tally::Tally;
use crate::users::{Acknowledged, Shared};

/// What is kept of a lineage.
struct Kept {
    folder: PathBuf,
    operator: String,
    dice: Sources,
    acknowledged: Shared,
}

/// What there is to use.
#[derive(Clone)]
struct Place {
    sessions: Vec<SessionId>,
    tokens: Vec<TokenId>,
    subjects: Vec<AccountId>,
}

pub(crate) async fn run(databases: &Databases, sink: &Sink, fate: Fate) -> anyhow::Result<Tally> {
    let folder = tempfile::tempdir()?;
    let mut url = databases.empty().await?;
    let mut installation = configured(folder.path(), &url, 0)?;
    let (operator, mut served) = begin(&installation).await?;
    let (_, dice) = testkit::sources(fate.seed);
    let kept = Kept { folder: folder.path().to_owned(), operator, dice, acknowledged: Shared::default() };
    let place = settle_down(&served.operator(), sink, fate.number).await?;
    let mut tally = Tally { disasters: fate.disasters.into(), ..Tally::default() };
    let mut fired = Fired::new();
    for life in 0..fate.disasters {
        let people = arrive(&kept, &served.operator(), &place);
        let seen = || sink.arrivals(fate.number);
        lineage::wait_for(&seen, kept.dice.below(6), &kept.dice).await?;
        let there = installation.clone();
        spawn_blocking(move || there.done(&["backup", "--archive", "../archive"])).await?;
        lineage::wait_for(&seen, 1 + kept.dice.below(16), &kept.dice).await?;
        spawn_blocking(|| served.kill()).await?;
        people.iter().for_each(JoinHandle::abort);
        databases.cut_off(&url).await?;
        tally.in_flight += judge::in_flight(&url).await?;
        judge::runs(&url, &mut fired).await?;
        let next = databases.empty().await?;
        (installation, served) = come_back(&kept, &installation, &next, life + 1).await?;
        databases.drop(&url).await?;
        url = next;
    }
    let began = testkit::system_sources().now();
    judge::at_rest(&url, began, REST).await?;
    spawn_blocking(|| served.kill()).await?;
    databases.cut_off(&url).await?;
    judge::runs(&url, &mut fired).await?;
    judge::judge(&url, &kept.acknowledged, sink, fate.number, &fired, began, &mut tally).await?;
    databases.drop(&url).await?;
    Ok(tally)
}

fn configured(folder: &Path, url: &str, life: u32) -> anyhow::Result<Installation> {
    let own = folder.join(format!("life-{life}"));
    std::fs::create_dir(&own)?;
    let more = format!("[database]\nurl = {url:?}\n[ledger]\nfolder = {:?}\n", folder.join("ledger"));
    Ok(Installation::new(&own, &more))
}

/// The first life, and the operator's token.
async fn begin(installation: &Installation) -> anyhow::Result<(String, Served)> {
    let installation = installation.clone();
    Ok(spawn_blocking(move || (installation.init(), installation.serve())).await?)
}

async fn come_back(kept: &Kept, lost: &Installation, url: &str, life: u32) -> anyhow::Result<(Installation, Served)> {
    let (installation, lost) = (configured(&kept.folder, url, life)?, lost.clone());
    let operator = kept.operator.clone();
    let restore = ["restore", "--archive", "../archive", "--backup", "latest", "--environment", "production"];
    let restored = spawn_blocking(move || {
        installation.bring(&lost, &operator);
        installation.done(&restore);
        let served = installation.serve();
        (installation, served)
    });
    Ok(restored.await?)
}

async fn settle_down(operator: &Client, sink: &Sink, lineage: u64) -> anyhow::Result<Place> {
    let keyed = operator.channel_create("keyed", &sink.url(lineage, true)).await?.channel_id;
    let plain = operator.channel_create_without_deduplication("plain", &sink.url(lineage, false)).await?.channel_id;
    let mut sessions = Vec::new();
    for thread in 0..6 {
        let session = operator.session_create("t", "scripted").await?.session_id;
        let channel = if thread % 2 == 0 { keyed } else { plain };
        operator.binding_create(channel, &format!("thread {thread}"), session).await?;
        sessions.push(session);
    }
    let workflow = NewWorkflow {
        name: "every second".into(),
        agent: None,
        prompt: "say tick".into(),
        missed_policy: Some("run_all".into()),
        missed_window_s: Some(3_600),
        overlap_policy: None,
        state: None,
        triggers: vec![NewTrigger::Interval { every_s: 1, anchor_at: None }],
    };
    operator.workflow_create(&workflow).await?;
    let (mut tokens, mut subjects) = (Vec::new(), Vec::new());
    for number in 0..20 {
        tokens.push(operator.token_create(&format!("t{number}"), &["read"], None).await?.token_id);
        let member = operator.member_create(&format!("p{number}@example.org"), "P", "member").await?;
        subjects.push(member.account_id);
    }
    Ok(Place { sessions, tokens, subjects })
}

/// People who ask, revoke and erase, until they are told to go or nobody answers.
fn arrive(kept: &Kept, operator: &Client, place: &Place) -> [JoinHandle<()>; 2] {
    let (client, there, dice) = (operator.clone(), place.clone(), kept.dice.clone());
    let asking = tokio::spawn(async move {
        loop {
            pause(&dice, 5, 30).await;
            let session = there.sessions[dice.below(6) as usize];
            let id: uuid::Uuid = testkit::system_sources().id();
            let wish = Wish::Prompt { text: format!("say m-{id}") };
            if client.command_submit(session, &id.to_string(), &wish).await.is_err() {
                return;
            }
        }
    });
    let (client, there, dice, told) = (operator.clone(), place.clone(), kept.dice.clone(), kept.acknowledged.clone());
    let taking = tokio::spawn(async move {
        loop {
            pause(&dice, 20, 150).await;
            let number = dice.below(20) as usize;
            if dice.below(2) == 0 {
                let token = there.tokens[number];
                if client.token_revoke(token).await.is_ok() {
                    Acknowledged::of(&told).tokens.insert(token);
                }
            } else {
                let subject = there.subjects[number];
                if client.subject_erase(subject).await.is_ok() {
                    Acknowledged::of(&told).subjects.insert(subject);
                }
            }
        }
    });
    [asking, taking]
}

async fn pause(dice: &Sources, least: u32, most: u32) {
    tokio::time::sleep(Duration::from_millis((least + dice.below(most - least)).into())).await;
}
