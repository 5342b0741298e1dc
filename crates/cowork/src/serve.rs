//! Running roles, in one process or in several.
//!
//! Nothing listens before everything that a role needs was seen to be there: the database, of this program's schema and
//! initialised; every secret; the object store; the ports. What is missing is told, all of it that is known, and
//! the process ends with exit code 2.
//!
//! SIGTERM and SIGINT drain: no new work, streams end, what is in hand is finished. A second signal ends the process
//! at once; nothing is lost by that, only repeated by whoever comes next.
//!
//! Not here: what a role does (the crate of its name).

mod agents;
mod connections;
mod fence;
mod first_start;
mod heartbeat;
mod listeners;
mod ready_file;
mod roles;
mod signals;
mod streamed;
mod token_uses;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use attest::PublicKey;
use chrono::TimeDelta;
use clap::Args;
use config::Config;
use providers::NoClient;
use secrets::{CookieKeys, SecretBytes};
use store::Instance;
use telemetry::{LogConfig, Metrics, Telemetry, TraceConfig};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use web::{DrillRecords, SignIn, SignInSettings};

use crate::billing;
use crate::cli::ConfigArgs;
use crate::failure::Failure;
use crate::installation::Installation;
use crate::process::Process;
use crate::serve::agents::{agents_offered, doors};
use crate::serve::listeners::Listeners;
use crate::serve::ready_file::ReadyFile;
pub(crate) use crate::serve::roles::{BUILD, egress};
use crate::serve::roles::{Parts, Role, providers};

/// How long a drain may take, turns in hand included. What is not done by then is left to others.
const DRAIN_LIMIT: Duration = Duration::from_secs(20);

#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    config: ConfigArgs,
    /// Which roles to run
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["web", "worker", "scheduler", "gateway"])]
    roles: Vec<Role>,
    /// Write this file, as JSON, once every role is up; it names where each listens
    #[arg(long, value_name = "PATH")]
    ready_file: Option<PathBuf>,
}

impl Serve {
    pub(crate) async fn run(self, process: Process) -> Result<ExitCode, Failure> {
        let mut config = self.config.load(&process)?;
        agents::pass(&mut config, &process.environment);
        let mut roles = self.roles;
        roles.sort_unstable();
        roles.dedup();
        let Telemetry { metrics, traces } = telemetry(&config, &roles, &process)?;
        let shutdown = signals::shutdown()?;
        let ready = ReadyFile::new(self.ready_file.map(|path| process.working_directory.join(path)));
        let installation = Installation::open(config, &process).await?;
        let served = serve(&installation, &roles, metrics, &ready, &shutdown).await;
        ready.remove();
        installation.close().await;
        if let Some(traces) = traces {
            traces.close().await;
        }
        served.map(|()| ExitCode::SUCCESS)
    }
}

fn telemetry(config: &Config, roles: &[Role], process: &Process) -> Result<Telemetry, Failure> {
    let log = LogConfig { level: config.log.level.clone(), file: config.log.file.clone() };
    let roles: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
    let traces = config.telemetry.otlp_endpoint.clone().map(|endpoint| TraceConfig {
        endpoint,
        sample_percent: config.telemetry.sample_percent,
        build: BUILD,
        roles: roles.join(","),
    });
    telemetry::init(&log, traces.as_ref(), process.sources.clone()).map_err(|error| {
        let advice = "Correct the sections log and telemetry of the configuration.";
        Failure::could_not("There is no log.", error, advice)
    })
}

/// From the checks to the end of the drain.
async fn serve(
    installation: &Installation,
    roles: &[Role],
    metrics: Metrics,
    ready: &ReadyFile,
    shutdown: &CancellationToken,
) -> Result<(), Failure> {
    first_start::prepare(installation).await?;
    let parts = parts(installation, roles, metrics, shutdown).await?;
    for role in roles {
        role.check(&parts, &installation.config)?;
    }
    let listeners = Listeners::bind(roles, &installation.config).await?;
    announce(&parts, &listeners);

    let instance = Instance {
        instance: parts.instance,
        roles: roles.iter().map(ToString::to_string).collect(),
        generation: parts.generation.generation,
        started_at: parts.store.sources().now(),
        key_versions: parts.configured.adapter_key_versions(),
        agents: roles.contains(&Role::Worker).then(|| agents_offered(&installation.config)),
    };
    let heartbeat =
        heartbeat::start(parts.store.clone(), parts.effects.clone(), instance, parts.metrics.clone()).await?;
    ready.write(&parts, &listeners)?;
    let mut tasks = JoinSet::new();
    let (store, stop) = (parts.store.clone(), shutdown.clone());
    tasks.spawn(async move {
        store.wakes_carry(&stop).await;
        Ok(())
    });
    tasks.spawn(fence::watch(parts.effects.clone(), shutdown.clone()));
    let token_uses = roles.contains(&Role::Web).then(|| token_uses::start(parts.store.clone()));
    for (role, listener) in listeners {
        role.start(&parts, &installation.config, listener, &mut tasks);
    }
    let served = until_drained(tasks, shutdown).await;
    if let Some(token_uses) = token_uses {
        token_uses.stop().await;
    }
    heartbeat.stop().await;
    parts.effects.close().await;
    tracing::info!("stopped");
    served
}

/// Reads everything that roles are made of. Every secret must have a value, whether a role uses it or not: a system
/// that was restored without one says so now.
async fn parts(
    installation: &Installation,
    roles: &[Role],
    metrics: Metrics,
    shutdown: &CancellationToken,
) -> Result<Parts, Failure> {
    let generation = installation.generation_to_serve().await?;
    let secrets = installation.secrets()?;
    for value in secrets.values() {
        telemetry::register_secret(value.expose());
    }
    let effects = fence::open(installation, &generation, secrets.gateway.expose())?;
    fence::check(&effects).await?;
    Ok(Parts {
        effects,
        kms: Arc::new(installation.kms(&secrets)?),
        objects: installation.objects()?,
        configured: installation.config.secret_references(),
        reader: installation.reader.clone(),
        cookie_keys: CookieKeys::derive(&secrets.cookie),
        sign_in: sign_in(installation, secrets.oidc_client)?,
        drills: drills(&installation.config.drills, roles)?,
        billing: billing::open(&installation.config, &installation.reader, generation.environment)?,
        channel_secret: secrets.channel,
        instance: installation.store.sources().id(),
        store: installation.store.clone(),
        shutdown: shutdown.clone(),
        providers: providers(generation.environment, &installation.config).map_err(no_client)?,
        doors: doors(generation.environment, &installation.config).map_err(no_client)?,
        generation,
        metrics,
    })
}

fn no_client(error: NoClient) -> Failure {
    Failure::could_not("The HTTP client can't be set up.", error, "Look at this machine's certificates and limits.")
}

/// How people sign in with a browser, if they do. The provider is asked when the first of them comes.
fn sign_in(installation: &Installation, client_secret: SecretBytes) -> Result<Option<SignIn>, Failure> {
    let Some(configured) = &installation.config.sign_in else { return Ok(None) };
    let span = |seconds: u64| TimeDelta::seconds(i64::try_from(seconds).unwrap_or(i64::MAX / 1_000));
    let settings = SignInSettings {
        issuer: configured.issuer.clone(),
        client_id: configured.client_id.clone(),
        client_secret,
        redirect_url: configured.redirect_url.clone(),
        email_domains: configured.email_domains.clone(),
        idle: span(configured.idle_minutes.saturating_mul(60)),
        lifetime: span(configured.max_hours.saturating_mul(3_600)),
    };
    let made = SignIn::new(settings, installation.store.sources().clone());
    made.map(Some).map_err(|error| {
        Failure::could_not("Nobody could sign in.", error, "Correct sign_in.redirect_url, or look at this machine.")
    })
}

/// Where the API reads of drills; other roles need not see the files. A key that can't be read is told now: without it every seal
/// would look unchecked.
fn drills(configured: &config::Drills, roles: &[Role]) -> Result<DrillRecords, Failure> {
    let key = configured.public_key.as_deref().filter(|_| roles.contains(&Role::Web));
    let key = key.map(public_key).transpose()?;
    Ok(DrillRecords::new(configured.folder.clone(), configured.findings_file.clone(), key))
}

fn public_key(path: &Path) -> Result<PublicKey, Failure> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
        let what = format!("The public key {} can't be used.", path.display());
        Failure::could_not(what, error, "Correct drills.public_key: it names an Ed25519 public key in PEM.")
    };
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.into()))?;
    PublicKey::from_pem(&text).map_err(|error| failed(error.into()))
}

/// What a person wants to know when a process has started.
fn announce(parts: &Parts, listeners: &Listeners) {
    for (role, address) in listeners.addresses() {
        tracing::info!(role, address = %address, "listening");
    }
    tracing::info!(
        generation = parts.generation.generation,
        environment = parts.generation.environment.as_str(),
        system.id = %parts.generation.system_id,
        instance.id = %parts.instance,
        build = roles::BUILD,
        "started"
    );
}

/// Waits until every task has ended. One that ends before a shutdown was asked for takes the others with it.
async fn until_drained(mut tasks: JoinSet<Result<(), Failure>>, shutdown: &CancellationToken) -> Result<(), Failure> {
    let mut served = Ok(());
    loop {
        let ended = tokio::select! {
            ended = tasks.join_next() => ended,
            () = too_long(shutdown) => {
                tracing::warn!("not everything was finished in time; what is left is left to others");
                tasks.shutdown().await;
                return served;
            }
        };
        match ended {
            None => return served,
            Some(ended) if served.is_ok() => served = outcome(ended, shutdown.is_cancelled()),
            Some(_) => {}
        }
        if served.is_err() {
            shutdown.cancel();
        }
    }
}

async fn too_long(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(DRAIN_LIMIT).await;
}

fn outcome(ended: Result<Result<(), Failure>, JoinError>, draining: bool) -> Result<(), Failure> {
    let advice = "Look at the log's last lines; starting again is safe.";
    match ended {
        Ok(Ok(())) if draining => Ok(()),
        Ok(Ok(())) => Err(Failure::could_not("A role stopped by itself.", "nothing asked it to", advice)),
        Ok(Err(failure)) => Err(failure),
        Err(error) => Err(Failure::could_not("A role broke down.", error, advice)),
    }
}
