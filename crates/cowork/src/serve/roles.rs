//! The roles, each as the list of its parts.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use billing::Billing;
use chrono::TimeDelta;
use clap::ValueEnum;
use config::Config;
use domain::egress::Egress;
use effects::Effects;
use gateway::{ChannelSecret, GatewayConfig};
use ids::InstanceId;
use ledger::Compaction;
use objects::Objects;
use providers::{Doors, NoClient, Providers};
use repositories::Repositories;
use secrets::{ConfiguredSecrets, CookieKeys, Kms, SecretBytes, SecretReader};
use store::{Environment, Generation, Store};
use telemetry::Metrics;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use web::{
    App, AppParts, AppSecrets, DrillRecords, Exposition, Guesses, OpenStreams, Probes, RateLimits, SignIn, Tails,
};

use crate::archive::oldest;
use crate::failure::Failure;
use crate::serve::agents::agents;
use crate::serve::connections::{self, Limits};

/// What people see as this program's version.
pub(crate) const BUILD: &str = env!("CARGO_PKG_VERSION");

/// How long a worker's turns may take to end, in a drain.
const TURNS_DRAIN: Duration = Duration::from_secs(10);

/// How long a lost turn waits at first. With what it grows to, an outage of the object store of 14 s costs no command.
const LOST_TURN_BACKOFF: Duration = Duration::from_millis(200);

/// How long a provider may take to say whether it takes a key. Somebody waits for it.
const PROVIDER_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Role {
    /// The HTTP API
    Web,
    /// Runs agents
    Worker,
    /// Fires what is due
    Scheduler,
    /// Messages in, deliveries out
    Gateway,
}

/// What all roles of a process are made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) effects: Effects,
    pub(crate) objects: Objects,
    pub(crate) kms: Arc<dyn Kms>,
    pub(crate) configured: ConfiguredSecrets,
    pub(crate) reader: SecretReader,
    pub(crate) channel_secret: SecretBytes,
    pub(crate) cookie_keys: CookieKeys,
    /// `None`: nobody signs in with a browser.
    pub(crate) sign_in: Option<SignIn>,
    pub(crate) drills: DrillRecords,
    pub(crate) generation: Generation,
    /// What is offered, and who is paid for it.
    pub(crate) billing: Billing,
    /// Who is asked about keys that users bring.
    pub(crate) providers: Providers,
    /// Whom agents may ask, with the orgs' keys.
    pub(crate) doors: Doors,
    pub(crate) instance: InstanceId,
    pub(crate) metrics: Metrics,
    pub(crate) shutdown: CancellationToken,
}

impl Role {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Worker => "worker",
            Self::Scheduler => "scheduler",
            Self::Gateway => "gateway",
        }
    }

    pub(crate) fn address(self, config: &Config) -> SocketAddr {
        match self {
            Self::Web => config.web.listen,
            Self::Worker => config.worker.listen,
            Self::Scheduler => config.scheduler.listen,
            Self::Gateway => config.gateway.listen,
        }
    }

    /// What its listener puts up with.
    fn limits(self, config: &Config) -> Limits {
        let of_an_address = match self {
            Self::Web => config.web.connections_per_address,
            Self::Gateway => config.gateway.connections_per_address,
            // Theirs are for those who run the system.
            Self::Worker | Self::Scheduler => return Limits::default(),
        };
        Limits { of_an_address, ..Limits::default() }
    }

    /// Whether the role may start here.
    pub(crate) fn check(self, parts: &Parts, config: &Config) -> Result<(), Failure> {
        match self {
            Self::Gateway => {
                let redirect_to = config.gateway.redirect_to.as_deref();
                let egress = egress(config);
                gateway::route(parts.generation.environment, redirect_to, &egress).map(drop).map_err(wrong_environment)
            }
            Self::Web | Self::Worker | Self::Scheduler => Ok(()),
        }
    }

    /// Starts the role's work and its listener, both until the shutdown.
    pub(crate) fn start(
        self,
        parts: &Parts,
        config: &Config,
        listener: TcpListener,
        tasks: &mut JoinSet<Result<(), Failure>>,
    ) {
        let router = match self {
            Self::Web => web::router(app(parts, config)),
            Self::Worker => {
                let work = worker::run(worker_parts(parts, config), worker_config(config), parts.shutdown.clone());
                tasks.spawn(async move {
                    work.await;
                    Ok(())
                });
                Router::new()
            }
            Self::Scheduler => {
                let settings = scheduler::Settings { poll: Duration::from_millis(config.scheduler.poll_ms) };
                let erasures =
                    scheduler::run_erasures(parts.store.clone(), parts.objects.clone(), parts.shutdown.clone());
                tasks.spawn(async move {
                    erasures.await;
                    Ok(())
                });
                let ages = Compaction::keeping(oldest::retention(&config.ledger));
                let compactions = scheduler::run_compactions(parts.effects.clone(), ages, parts.shutdown.clone());
                tasks.spawn(async move {
                    compactions.await;
                    Ok(())
                });
                let expiries = scheduler::run_expiries(parts.store.clone(), parts.shutdown.clone());
                tasks.spawn(async move {
                    expiries.await;
                    Ok(())
                });
                if let Some(days) = config.retention.session_events_days {
                    let kept = TimeDelta::days(days.into());
                    let retention = scheduler::run_retention(parts.store.clone(), kept, parts.shutdown.clone());
                    tasks.spawn(async move {
                        retention.await;
                        Ok(())
                    });
                }
                if let Some(days) = config.retention.deliveries_days {
                    let kept = TimeDelta::days(days.into());
                    let retention =
                        scheduler::run_delivery_retention(parts.store.clone(), kept, parts.shutdown.clone());
                    tasks.spawn(async move {
                        retention.await;
                        Ok(())
                    });
                }
                let plans = parts.billing.plans.clone();
                let subscriptions = scheduler::run_subscriptions(parts.store.clone(), plans, parts.shutdown.clone());
                tasks.spawn(async move {
                    subscriptions.await;
                    Ok(())
                });
                let seals = scheduler::run_seals(parts.store.clone(), parts.shutdown.clone());
                tasks.spawn(async move {
                    seals.await;
                    Ok(())
                });
                let (store, effects, shutdown) = (parts.store.clone(), parts.effects.clone(), parts.shutdown.clone());
                tasks.spawn(async move {
                    scheduler::run(store, effects, &settings, shutdown).await;
                    Ok(())
                });
                Router::new()
            }
            Self::Gateway => {
                let work = gateway::run(gateway_parts(parts, config), gateway_config(config), parts.shutdown.clone());
                tasks.spawn(async move { work.await.map_err(wrong_environment) });
                gateway::router(gateway_parts(parts, config))
            }
        };
        let (router, shutdown) = (router.merge(web::probes(probes(parts))), parts.shutdown.clone());
        let (sources, limits) = (parts.store.sources().clone(), self.limits(config));
        tasks.spawn(async move {
            connections::serve(listener, router, sources, limits, &shutdown).await;
            Ok(())
        });
    }
}

impl fmt::Display for Role {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

fn app(parts: &Parts, config: &Config) -> App {
    let secrets = AppSecrets {
        configured: parts.configured.clone(),
        reader: parts.reader.clone(),
        channel: parts.channel_secret.clone(),
        cookie: parts.cookie_keys.clone(),
    };
    App::new(AppParts {
        store: parts.store.clone(),
        effects: parts.effects.clone(),
        objects: parts.objects.clone(),
        kms: parts.kms.clone(),
        secrets: Arc::new(secrets),
        generation: parts.generation.clone(),
        build: BUILD,
        ledger_retention: oldest::retention(&config.ledger),
        sign_in: parts.sign_in.clone(),
        egress: egress(config),
        providers: parts.providers.clone(),
        drills: parts.drills.clone(),
        billing: parts.billing.clone(),
        repositories: repositories(parts.generation.environment, config),
        rates: RateLimits::per_minute(config.web.requests_per_minute),
        guesses: Guesses::per_minute(config.web.wrong_credentials_per_minute),
        streams: OpenStreams::per_caller(config.web.streams_per_caller),
        metrics: exposition(parts),
        tails: Tails::default(),
        shutdown: parts.shutdown.clone(),
    })
}

fn probes(parts: &Parts) -> Probes {
    Probes {
        store: parts.store.clone(),
        generation: parts.generation.generation,
        metrics: exposition(parts),
        shutdown: parts.shutdown.clone(),
    }
}

fn exposition(parts: &Parts) -> Exposition {
    let metrics = parts.metrics.clone();
    Exposition::new(move || metrics.render())
}

fn worker_parts(parts: &Parts, config: &Config) -> worker::Parts {
    worker::Parts {
        store: parts.store.clone(),
        objects: parts.objects.clone(),
        kms: parts.kms.clone(),
        agents: agents(parts, config),
        instance: parts.instance,
        generation: parts.generation.generation,
    }
}

fn worker_config(config: &Config) -> worker::Config {
    let worker = &config.worker;
    worker::Config {
        workspace_root: worker.workspace_root.clone(),
        concurrency: worker.concurrency,
        lease: Duration::from_millis(worker.lease_ms),
        poll: Duration::from_millis(worker.poll_ms),
        drain: TURNS_DRAIN,
        backoff: LOST_TURN_BACKOFF,
    }
}

fn gateway_parts(parts: &Parts, config: &Config) -> gateway::Parts {
    gateway::Parts {
        store: parts.store.clone(),
        effects: parts.effects.clone(),
        generation: parts.generation.clone(),
        channel_secret: ChannelSecret::new(parts.configured.channel.version.clone(), parts.channel_secret.clone()),
        calls_per_minute: config.gateway.calls_per_minute,
        messages_per_minute: config.gateway.messages_per_minute,
        wrong_signatures_per_minute: config.gateway.wrong_signatures_per_minute,
    }
}

fn gateway_config(config: &Config) -> GatewayConfig {
    let gateway = &config.gateway;
    GatewayConfig {
        poll: Duration::from_millis(gateway.poll_ms),
        max_attempts: gateway.max_attempts,
        backoff: Duration::from_millis(gateway.backoff_ms),
        backoff_max: Duration::from_millis(gateway.backoff_max_ms),
        timeout: Duration::from_millis(gateway.timeout_ms),
        redirect_to: gateway.redirect_to.clone(),
        egress: egress(config),
        ..GatewayConfig::default()
    }
}

/// Where channels may lead.
pub(crate) fn egress(config: &Config) -> Egress {
    Egress::allowing(config.gateway.allowed_networks.clone())
}

/// A drill copy has real keys, and tells them to nobody.
pub(crate) fn providers(environment: Environment, config: &Config) -> Result<Providers, NoClient> {
    match environment {
        Environment::Production => Providers::over_http(PROVIDER_TIMEOUT, &egress(config)),
        Environment::Drill => Ok(Providers::none()),
    }
}

/// A drill copy fetches nothing.
fn repositories(environment: Environment, config: &Config) -> Repositories {
    match environment {
        Environment::Production => {
            Repositories::over(Egress::allowing(config.web.repository_networks.clone()), std::env::temp_dir())
        }
        Environment::Drill => Repositories::none(),
    }
}

fn wrong_environment(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::could_not(
        "The gateway may not start in this environment.",
        error,
        "A drill copy needs gateway.redirect_to, and a system in production must not have it.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::agents::doors;

    #[test]
    fn a_drill_copy_tells_no_provider_a_key() {
        let mut config = Config::default();
        let agent = serde_json::json!({"name": "codex", "command": "/opt/codex", "provider": "openai"});
        config.worker.agents = vec![serde_json::from_value(agent).unwrap()];
        assert_eq!(providers(Environment::Drill, &config).unwrap().names().count(), 0);
        assert!(providers(Environment::Production, &config).unwrap().names().count() > 0);
        assert!(!doors(Environment::Drill, &config).unwrap().lead_to("openai"));
        assert!(doors(Environment::Production, &config).unwrap().lead_to("openai"));
    }
}
