//! What people do in a copy of the source: a scene for each healthy world that needs one.
//!
//! Not here: how roles are started for them (`live`).

mod chats;
mod terms;

use anyhow::Context as _;
use chrono::TimeDelta;
use client::{NewTrigger, NewWorkflow, Wish, WorkflowAction};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use super::{Awake, PATIENCE};
use crate::checks::eventually;
use crate::processes::Role;

/// What happens.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scene {
    Unicode,
    ManyOrgs,
    MembersOfEachRole,
    RolesOfTheirOwn,
    ArchivedWorkflows,
    PausedWorkflows,
    ClockChanges,
    DeadLetters,
    WaitingForApproval,
    WaitingForAnAnswer,
    LongTexts,
    BigArtifact,
    EmptyArtifact,
    LongSession,
    Failures,
    Revoked,
    ManyChannels,
    ErasedPerson,
    NewKey,
    Changes,
    HalfDone,
    Compacted,
    SubscriptionsOfEachState,
    BegunWithFiles,
    Steered,
    PeopleInChats,
}

/// Texts that programs have stumbled over: right to left, combined, beyond the first plane, quotes.
const UNICODE: [&str; 7] = [
    "سلام دنیا",
    "שלום עולם",
    "e\u{301}cole · école",
    "👩‍👩‍👧‍👦 🏳️‍🌈",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𐍈",
    "' \" \\ % _ ; -- $$ {} <b>",
    "ẞß İıi Ǆǅǆ ﬁ",
];
/// Without width, and turning the direction: in prompts, in what agents say, and in files. No name has it.
const UNSEEN: &str = "a\u{200b}b\u{feff}c\u{202e}d";

impl Scene {
    /// The roles that it needs.
    pub(crate) fn roles(self) -> &'static [Role] {
        match self {
            Self::DeadLetters | Self::PeopleInChats => &[Role::Web, Role::Worker, Role::Gateway],
            Self::Compacted => &[Role::Web, Role::Worker, Role::Scheduler],
            Self::Unicode
            | Self::WaitingForApproval
            | Self::WaitingForAnAnswer
            | Self::LongTexts
            | Self::BigArtifact
            | Self::EmptyArtifact
            | Self::LongSession
            | Self::Failures
            | Self::ErasedPerson
            | Self::BegunWithFiles
            | Self::Steered
            | Self::Changes => &[Role::Web, Role::Worker],
            _ => &[Role::Web],
        }
    }

    pub(crate) async fn play(self, awake: &Awake<'_>) -> anyhow::Result<()> {
        match self {
            Self::Unicode => unicode(awake).await,
            Self::ManyOrgs => many_orgs(awake).await,
            Self::MembersOfEachRole => members(awake).await,
            Self::RolesOfTheirOwn => roles_of_their_own(awake).await,
            Self::ArchivedWorkflows => workflows(awake, WorkflowAction::Archive).await,
            Self::PausedWorkflows => workflows(awake, WorkflowAction::Pause).await,
            Self::ClockChanges => clock_changes(awake).await,
            Self::DeadLetters => dead_letters(awake).await,
            Self::WaitingForApproval => waiting(awake, "approve the next step\nsay done", "awaiting_approval").await,
            Self::WaitingForAnAnswer => waiting(awake, "ask which way?\nsay there", "awaiting_answer").await,
            Self::LongTexts => long_texts(awake).await,
            Self::BigArtifact => artifact(awake, "write big.bin 33554432").await,
            Self::EmptyArtifact => artifact(awake, "write nothing.txt 0").await,
            Self::LongSession => long_session(awake).await,
            Self::Failures => failures(awake).await,
            Self::Revoked => revoked(awake).await,
            Self::ManyChannels => many_channels(awake).await,
            Self::ErasedPerson => erased_person(awake).await,
            Self::NewKey => new_key(awake).await,
            Self::Changes => artifact(awake, "note plan.md changed\nwrite later.txt 3000").await,
            Self::HalfDone => half_done(awake).await,
            Self::Compacted => compacted(awake).await,
            Self::SubscriptionsOfEachState => terms::subscriptions(awake).await,
            Self::BegunWithFiles => terms::begun_with_files(awake).await,
            Self::Steered => terms::steered(awake).await,
            Self::PeopleInChats => chats::people(awake).await,
        }
    }
}

/// Prompts, one after the other, until told to stop: what makes a copy busy while it is backed up.
pub(crate) async fn go_on(awake: &Awake<'_>, stop: CancellationToken) -> anyhow::Result<()> {
    let client = awake.client();
    let mut number = 0;
    while !stop.is_cancelled() {
        awake.talk(&client, "Meanwhile", &format!("stream 20 400\nwrite meanwhile-{number}.txt 900")).await?;
        number += 1;
    }
    Ok(())
}

async fn unicode(awake: &Awake<'_>) -> anyhow::Result<()> {
    let named = UNICODE.map(|text| (text, text)).into_iter().chain([("unseen", UNSEEN)]);
    for (name, text) in named {
        let org = awake.operator.org_create(name).await?.org_id;
        let client = awake.operator.in_org(org);
        client.byok_key_create("openai", name, "sk-of-nobody-00000000").await?;
        client.member_create("person@people.invalid", name, "member").await?;
        let workflow = NewWorkflow { name: name.to_owned(), prompt: text.to_owned(), ..paused() };
        client.workflow_create(&workflow).await?;
        awake.talk(&client, name, &format!("say {text}\nnote {text}.txt {text}\nwrite file-{text}.txt 300")).await?;
    }
    Ok(())
}

async fn many_orgs(awake: &Awake<'_>) -> anyhow::Result<()> {
    for number in 0..60 {
        let org = awake.operator.org_create(&format!("Tenant {number}")).await?.org_id;
        awake.operator.in_org(org).session_create("The first", "scripted").await?;
    }
    Ok(())
}

async fn members(awake: &Awake<'_>) -> anyhow::Result<()> {
    let client = awake.client();
    for role in ["owner", "admin", "member", "viewer"] {
        let member = client.member_create(&format!("{role}@people.invalid"), role, role).await?;
        for scopes in [["read"].as_slice(), &["read", "write"]] {
            client.token_create(&format!("{role}'s"), scopes, Some(member.account_id)).await?;
        }
    }
    Ok(())
}

/// Roles that an org made for itself, one of them changed since; people who have them, with tokens that they limit.
async fn roles_of_their_own(awake: &Awake<'_>) -> anyhow::Result<()> {
    let client = awake.client();
    for (role, permissions) in [
        ("reader", ["sessions.read"].as_slice()),
        ("night-shift", &["sessions.read", "sessions.write", "workflows.read"]),
    ] {
        client.role_put(role, permissions, None).await?;
        let member = client.member_create(&format!("{role}@people.invalid"), role, role).await?;
        client.token_create(&format!("{role}'s"), &["read"], Some(member.account_id)).await?;
    }
    client.role_put("reader", &["sessions.read", "workflows.read"], None).await?;
    Ok(())
}

/// One of each kind of trigger.
async fn workflows(awake: &Awake<'_>, action: WorkflowAction) -> anyhow::Result<()> {
    let (client, now) = (awake.client(), awake.sources.now());
    let triggers = [
        NewTrigger::Interval { every_s: 1, anchor_at: Some(now) },
        NewTrigger::Once { at: now + TimeDelta::milliseconds(1) },
        NewTrigger::Cron { expression: "* * * * *".to_owned(), time_zone: "UTC".to_owned() },
    ];
    for trigger in triggers {
        let workflow = NewWorkflow { name: "Set aside".to_owned(), triggers: vec![trigger], ..paused() };
        let workflow = client.workflow_create(&workflow).await?.workflow_id;
        client.workflow_act(workflow, WorkflowAction::Resume).await?;
        client.workflow_act(workflow, action).await?;
    }
    Ok(())
}

/// At hours that a change of clocks leaves out or repeats, where it is half an hour, and where there is none.
async fn clock_changes(awake: &Awake<'_>) -> anyhow::Result<()> {
    let zones = [
        ("30 2 * * *", "Europe/Berlin"),
        ("30 1 * * 0", "America/New_York"),
        ("*/15 2 * * *", "Australia/Lord_Howe"),
        ("0 0 29 2 *", "America/St_Johns"),
        ("45 5 * * 1-5", "Asia/Kathmandu"),
    ];
    for (expression, time_zone) in zones {
        let (expression, time_zone) = (expression.to_owned(), time_zone.to_owned());
        let triggers = vec![NewTrigger::Cron { expression, time_zone }];
        let state = Some("active".to_owned());
        let workflow = NewWorkflow { name: "By the clock".to_owned(), state, triggers, ..paused() };
        awake.client().workflow_create(&workflow).await?;
    }
    Ok(())
}

/// In many threads of the channel whose receiver takes nothing: see the variant's steps.
async fn dead_letters(awake: &Awake<'_>) -> anyhow::Result<()> {
    const LETTERS: usize = 12;
    let had = crate::api::deliveries(&awake.client(), Some("dead")).await?.len();
    for number in 0..LETTERS {
        awake.receive(&format!("msg_dead_{number}"), &format!("dead-{number}"), "say to nobody").await?;
    }
    awake.deliveries("dead", had + LETTERS).await
}

async fn waiting(awake: &Awake<'_>, prompt: &str, state: &str) -> anyhow::Result<()> {
    let client = awake.client();
    for number in 0..8 {
        let session = client.session_create(&format!("Waiting {number}"), "scripted").await?.session_id;
        awake.submit(&client, session, Wish::Prompt { text: prompt.to_owned() }).await?;
        awake.until(&client, session, |view| view.session.state.as_deref() == Some(state)).await?;
    }
    Ok(())
}

async fn long_texts(awake: &Awake<'_>) -> anyhow::Result<()> {
    let said = "a long sentence, ".repeat(1_500);
    let session = awake.talk(&awake.client(), &"Title ".repeat(30), &format!("say {said}")).await?;
    awake.prompt(&awake.client(), session, "stream 3 200000").await
}

async fn artifact(awake: &Awake<'_>, prompt: &str) -> anyhow::Result<()> {
    awake.talk(&awake.client(), "A file", prompt).await.map(drop)
}

async fn long_session(awake: &Awake<'_>) -> anyhow::Result<()> {
    let client = awake.client();
    let session = awake.talk(&client, "Very long", "stream 4000 12").await?;
    for turn in 0..25 {
        awake.prompt(&client, session, &format!("note turn.txt {turn}\nsay turn {turn}")).await?;
    }
    Ok(())
}

async fn failures(awake: &Awake<'_>) -> anyhow::Result<()> {
    let client = awake.client();
    for number in 0..10 {
        let session = awake.talk(&client, "It fails", &format!("say so far\nfail for reason {number}")).await?;
        if number % 2 == 0 {
            awake.prompt(&client, session, "say well again").await?;
        }
    }
    Ok(())
}

async fn revoked(awake: &Awake<'_>) -> anyhow::Result<()> {
    let client = awake.client();
    for number in 0..5 {
        let token = client.token_create(&format!("lost laptop {number}"), &["read"], None).await?;
        client.token_revoke(token.token_id).await?;
        let key = client.byok_key_create("openai", "old key", "sk-of-nobody-11111111").await?;
        client.byok_key_revoke(key.byok_key_id).await?;
    }
    Ok(())
}

async fn many_channels(awake: &Awake<'_>) -> anyhow::Result<()> {
    let client = awake.client();
    let session = client.session_create("Followed by many", "scripted").await?.session_id;
    for number in 0..20 {
        let destination = format!("http://receiver-{number}.invalid/hook");
        let channel = match number % 2 {
            0 => client.channel_create(&format!("team-{number}"), &destination).await?,
            _ => client.channel_create_without_deduplication(&format!("team-{number}"), &destination).await?,
        };
        client.binding_create(channel.channel_id, "general", session).await?;
    }
    Ok(())
}

/// Somebody who had talked, and is to be forgotten.
async fn erased_person(awake: &Awake<'_>) -> anyhow::Result<()> {
    let client = awake.client();
    let member = client.member_create("leaving@people.invalid", "Leaving", "member").await?;
    let token = client.token_create("theirs", &["read", "write"], Some(member.account_id)).await?;
    let theirs = awake.as_somebody(token.token);
    awake.talk(&theirs, "Their own", "say hello\nwrite theirs.txt 500").await?;
    let account = member.account_id.to_string();
    let done = awake.copy.launcher.run(&["subjects", "erase", "--account", &account, "--json"]).await?;
    anyhow::ensure!(done.exit_code == Some(0), "`cowork subjects erase` failed: {}", done.stderr.trim());
    Ok(())
}

/// Sealed under whatever key is the newest now.
async fn new_key(awake: &Awake<'_>) -> anyhow::Result<()> {
    awake.client().byok_key_create("openai", "under the newest key", "sk-of-nobody-22222222").await?;
    let org = awake.operator.org_create("Founded under the newest key").await?.org_id;
    awake.operator.in_org(org).byok_key_create("openai", "its first", "sk-of-nobody-33333333").await?;
    Ok(())
}

/// Accepted, and nobody has begun.
async fn half_done(awake: &Awake<'_>) -> anyhow::Result<()> {
    let client = awake.client();
    for number in 0..6 {
        let session = client.session_create(&format!("Queued {number}"), "scripted").await?.session_id;
        for prompt in ["say first", "write second.txt 700", "say third"] {
            awake.submit(&client, session, Wish::Prompt { text: prompt.to_owned() }).await?;
        }
    }
    Ok(())
}

/// Waits until a scheduler has compacted the newest session of the org, which comes last, and goes on with it.
async fn compacted(awake: &Awake<'_>) -> anyhow::Result<()> {
    let client = awake.client();
    let sessions = crate::api::sessions(&client).await?;
    let newest =
        sessions.into_iter().filter(|session| session.title == "A file").max_by_key(|session| session.session_id);
    let session = newest.context("nobody has talked")?.session_id;
    let reached = eventually(PATIENCE, async || {
        let events = client.event_list(session, 0, 1).await.ok()?;
        (events.items.first()?.kind == "compacted").then_some(())
    });
    reached.await.context("no scheduler compacts the session")?;
    awake.prompt(&client, session, "say and on it goes").await
}

fn paused() -> NewWorkflow {
    NewWorkflow {
        name: String::new(),
        prompt: "say it is time".to_owned(),
        state: Some("paused".to_owned()),
        triggers: vec![NewTrigger::Cron { expression: "0 4 1 1 *".to_owned(), time_zone: "UTC".to_owned() }],
        ..NewWorkflow::default()
    }
}

impl Awake<'_> {
    /// A client with another token, in the home org.
    fn as_somebody(&self, token: SecretString) -> client::Client {
        client::Client::new(&self.web, token).in_org(self.home)
    }
}
