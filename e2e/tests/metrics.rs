//! What the roles measure, against the page that lists it: all of it is there from the first scrape, before anything has
//! happened, and nothing else.
//!
//! Not here: what drills export.

use std::collections::{BTreeMap, BTreeSet};

use e2e::{Folder, Installation, Served, wait_for_async};
use localpg::{Binaries, Cluster, Options};
use tokio::task::block_in_place;

const PAGE: &str = include_str!("../../docs/reference/metrics.md");
const ROLES: [&str; 4] = ["web", "worker", "scheduler", "gateway"];

/// What is only measured where there is something to do.
const RETENTION: &str = "[retention]\nsession_events_days = 30\ndeliveries_days = 30\n";

#[tokio::test(flavor = "multi_thread")]
async fn every_role_tells_what_its_page_lists_before_anything_has_happened() {
    let folder = Folder::new();
    let binaries = Binaries::find(e2e::search_path().as_deref()).expect("Postgres' programs are installed");
    let cluster = Cluster::start(&binaries, &folder.path().join("postgres"), Options::fast()).expect("it starts");
    cluster.create_database("cowork").expect("a database can be made");
    let more = format!("[database]\nurl = {:?}\n{RETENTION}", cluster.url("cowork"));
    let installation = Installation::new(&folder.make("installation"), &more);
    let _ = installation.init();
    let served = ROLES.map(|role| block_in_place(|| installation.serve_roles(role)));

    let listed = listed();
    for (role, served) in ROLES.into_iter().zip(&served) {
        let told = all_told(served, role, &listed[role]).await;
        let measured = measured(&told);
        let unlisted: Vec<_> = measured.iter().filter(|name| !listed[role].contains(name.as_str())).collect();
        assert!(unlisted.is_empty(), "{role} measures what the page does not list for it: {unlisted:?}");
        let begun = |line: &str| told.lines().any(|shown| shown == line);
        let first = match role {
            "web" => "cowork_sign_ins_total{outcome=\"signed_in\"} 0",
            "worker" => "cowork_turns_total{outcome=\"failed\"} 0",
            "scheduler" => "cowork_erasure_errors_total 0",
            _ => "cowork_deliveries_dead_total 0",
        };
        assert!(begun(first) && begun("cowork_ledger_write_failures_total 0"), "no line {first}:\n{told}");
    }
    for one in served {
        assert_eq!(block_in_place(|| one.stop()), 0);
    }
}

/// The metrics of the page, by the role that tells them.
fn listed() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let row = |line: &'static str| {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let name = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
        Some((name, cells.next()?))
    };
    let mut listed: BTreeMap<_, BTreeSet<_>> = ROLES.into_iter().map(|role| (role, BTreeSet::new())).collect();
    for (name, tellers) in PAGE.lines().filter_map(row) {
        for teller in tellers.split(", ").filter(|teller| *teller != "drill") {
            let roles = if teller == "any" { ROLES.to_vec() } else { vec![teller] };
            for role in roles {
                let names =
                    listed.get_mut(role).unwrap_or_else(|| panic!("{name} is told by {role}, which is no role"));
                names.insert(name);
            }
        }
    }
    listed
}

/// What a role tells, once that is all that it has to: its work begins a moment after it is ready, and requests to the API are
/// measured when there was one.
async fn all_told(served: &Served, role: &str, listed: &BTreeSet<&str>) -> String {
    let mut before = Vec::new();
    wait_for_async(&format!("{role} measures all that the page lists for it"), async || {
        let told = told(served, role).await;
        let measured = measured(&told);
        let missing: Vec<String> =
            listed.iter().filter(|name| !measured.contains(**name)).map(ToString::to_string).collect();
        if missing != before {
            eprintln!("{role} does not measure: {missing:?}");
            before.clone_from(&missing);
        }
        missing.is_empty().then_some(told)
    })
    .await
}

/// Of the web role, what it tells operators: all that its probe tells, and more.
async fn told(served: &Served, role: &str) -> String {
    if role == "web" {
        return served.operator().metrics().await.unwrap();
    }
    let answer = reqwest::get(format!("{}/metrics", served.url(role))).await.unwrap();
    answer.text().await.unwrap()
}

/// The names of what has a sample; of a histogram, its own.
fn measured(text: &str) -> BTreeSet<String> {
    let samples = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let name = |line: &str| {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        let plain = ["_bucket", "_sum", "_count"].iter().find_map(|ending| name.strip_suffix(ending));
        plain.filter(|plain| plain.ends_with("_ms")).unwrap_or(name).to_owned()
    };
    samples.map(name).collect()
}
