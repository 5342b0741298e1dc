//! The case of a plan: what the plan says of an environment that exists, in the form in which a rehearsal leaves it.
//!
//! Much of what a rehearsal knows nobody knows here: which commands were acknowledged, which slots fired. What was not
//! known is not compared, and the row that needs it says so.
//!
//! Not here: reading the plan (`plan`), restoring (`origin`).

use anyhow::{Context as _, anyhow};
use clock::Timestamp;
use redact::CanaryClass;
use secrecy::{ExposeSecret as _, SecretString};

use crate::options::PlanRun;
use crate::origin::{Origin, OurArchive};
use crate::plan::{CanaryKind, GatewayFacts, Plan, Reference, Source};
use crate::rehearsal::canaries::Canaries;
use crate::rehearsal::{Aftermath, Elsewhere, Held, Inbound, KnownChannel, Means, Smoke};
use crate::settings::SecretValues;
use crate::sink::Sink;

/// Shorter values are found everywhere, by chance.
const NEEDLE_MIN: usize = 8;

/// Takes the place of a rehearsal: nothing is lost but in thought, at `now`.
pub(crate) async fn of(run: &PlanRun, means: &Means<'_>, now: Timestamp) -> anyhow::Result<Aftermath> {
    let plan = &run.plan;
    let sink = Sink::start(means.sources.clone()).await.context("the recording sink can't listen")?;
    let inbound_channel = plan.gateway.as_ref().map(|facts| channel(run, facts)).transpose()?;
    if let Some(channel) = &inbound_channel {
        sink.expect_signatures(channel.signing_secret.expose_secret());
    }
    let workspaces = match &plan.target.workspaces {
        Some(workspaces) => workspaces.clone(),
        None => means.work.folder("workspaces")?,
    };
    Ok(Aftermath {
        origin: origin(run)?,
        elsewhere: plan.production.addresses.iter().map(|name| Elsewhere::Server(name.as_str().to_owned())).collect(),
        operator_token: value(run, &plan.operator.token)?.clone(),
        secrets: secrets(run)?,
        sink,
        arrived: 0,
        witness: false,
        canaries: canaries(run)?,
        workspaces,
        logs: None,
        ledger: plan.ledger.clone(),
        backup_output: String::new(),
        acknowledged: Vec::new(),
        inbound: inbound(plan),
        inbound_channel,
        called: None,
        smoke: smoke(plan),
        held: plan
            .scheduler
            .resume
            .iter()
            .map(|held| Held { org: held.org, workflow: held.workflow, resumed: false })
            .collect(),
        standing: None,
        kept: None,
        people: None,
        fired: Vec::new(),
        restarts: 0,
        disaster_at: now,
        interruptions: Vec::new(),
    })
}

fn value<'a>(run: &'a PlanRun, reference: &Reference) -> anyhow::Result<&'a SecretString> {
    run.values.get(reference).ok_or_else(|| anyhow!("a secret of the plan has no value"))
}

fn origin(run: &PlanRun) -> anyhow::Result<Origin> {
    Ok(match &run.plan.source {
        Source::Archive(archive) => {
            Origin::Archive(OurArchive { folder: archive.folder.clone(), backup_id: archive.backup.clone() })
        }
        Source::Dump(source) => Origin::Dump(source.clone()),
        Source::BaseBackup(source) => Origin::BaseBackup(source.clone()),
        Source::PgBackRest(source) => Origin::PgBackRest(source.clone()),
        Source::Provided(source) => {
            Origin::Provided(source.clone(), value(run, &source.url)?.expose_secret().to_owned())
        }
    })
}

fn secrets(run: &PlanRun) -> anyhow::Result<SecretValues> {
    let mut given = Vec::new();
    for (name, at) in &run.plan.secrets {
        let value = value(run, &at.reference)?.expose_secret().to_owned();
        given.push((name.clone(), at.version.as_str().to_owned(), value));
    }
    Ok(SecretValues::given(given.into_iter()))
}

/// What is planted, and what is secret anyway.
fn canaries(run: &PlanRun) -> anyhow::Result<Canaries> {
    let mut canaries = Canaries::default();
    let mut add = |class, label: &str, reference: &Reference| -> anyhow::Result<()> {
        let value = value(run, reference)?.expose_secret();
        if value.len() >= NEEDLE_MIN {
            canaries.add(class, label, value);
        }
        Ok(())
    };
    add(CanaryClass::ApiToken, "the operator's token", &run.plan.operator.token)?;
    for (name, at) in &run.plan.secrets {
        add(CanaryClass::ChannelCredential, &format!("the secret {name}"), &at.reference)?;
    }
    for canary in &run.plan.canaries {
        add(class(canary.kind), canary.label.as_str(), &canary.reference)?;
    }
    Ok(canaries)
}

fn class(kind: CanaryKind) -> CanaryClass {
    match kind {
        CanaryKind::ByokKey => CanaryClass::ByokPlaintext,
        CanaryKind::OauthToken => CanaryClass::OauthToken,
        CanaryKind::SignedUrlQuery => CanaryClass::SignedUrlQuery,
        CanaryKind::Email => CanaryClass::Email,
        CanaryKind::HostPath => CanaryClass::HostPath,
        CanaryKind::ApiToken => CanaryClass::ApiToken,
        CanaryKind::ChannelCredential => CanaryClass::ChannelCredential,
    }
}

fn channel(run: &PlanRun, facts: &GatewayFacts) -> anyhow::Result<KnownChannel> {
    let signing_secret = value(run, &facts.signing_secret)?.clone();
    Ok(KnownChannel { org: facts.org, channel: facts.channel, signing_secret })
}

fn inbound(plan: &Plan) -> Vec<Inbound> {
    let repeat = plan.gateway.as_ref().and_then(|gateway| gateway.repeat.as_ref());
    let earlier = repeat.map(|repeat| Inbound {
        event_id: repeat.event_id.as_str().to_owned(),
        thread: repeat.thread.as_str().to_owned(),
        text: repeat.text.as_str().to_owned(),
        command: repeat.command,
        // The plan says that it was before the backup, and not when.
        at: Timestamp::MIN_UTC,
    });
    earlier.into_iter().collect()
}

fn smoke(plan: &Plan) -> Option<Smoke> {
    let smoke = plan.smoke.as_ref()?;
    let (file, sha256) = (smoke.remembers.as_ref(), smoke.sha256.as_ref());
    let remembers = file.zip(sha256).map(|(file, sha256)| (file.as_str().to_owned(), sha256.as_str().to_owned()));
    Some(Smoke { org: smoke.org, session: smoke.session, remembers, link: None })
}
