//! Who is paid, of what the configuration says; and `cowork subscriptions`: asking that provider what subscriptions are.
//!
//! Asking is for after a restore: what was bought or ended since the backup is not in it, and the provider may never tell again.
//!
//! Not here: what becomes of what it says (`store::subscription`).

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use billing::{Billing, Manual, Stripe, StripeSettings, Told};
use chrono::TimeDelta;
use clap::{Args, Subcommand};
use config::Config;
use secrecy::SecretString;
use secrets::{SecretReader, SecretReference};
use serde_json::json;
use store::{Environment, SubscriptionChange};

use crate::cli::ConfigArgs;
use crate::failure::Failure;
use crate::installation::Installation;
use crate::process::Process;
use crate::serve::egress;

/// How long the provider may take. Somebody waits for it.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Pages of the provider's list: more subscriptions than any installation has.
const PAGES_MOST: usize = 100_000;

/// A drill copy pays nobody, and asks nobody.
pub(crate) fn open(config: &Config, reader: &SecretReader, environment: Environment) -> Result<Billing, Failure> {
    let grace = TimeDelta::days(config.billing.grace_days.into());
    let plans = Arc::new(config.plans.clone());
    let provider: Arc<dyn billing::BillingProvider> = match (&config.billing.stripe, environment) {
        (Some(stripe), Environment::Production) => {
            let settings = settings(stripe, reader)?;
            Arc::new(Stripe::new(settings, plans.clone(), TIMEOUT, &egress(config)).map_err(no_client)?)
        }
        (Some(_), Environment::Drill) | (None, _) => Arc::new(Manual),
    };
    Ok(Billing { provider, plans, grace })
}

fn settings(stripe: &config::Stripe, reader: &SecretReader) -> Result<StripeSettings, Failure> {
    Ok(StripeSettings {
        api_key: secret("billing.stripe.api_key", &stripe.api_key, reader)?,
        webhook_secret: secret("billing.stripe.webhook_secret", &stripe.webhook_secret, reader)?,
        return_url: stripe.return_url.clone(),
    })
}

/// What the log must not show from now on.
fn secret(key: &str, reference: &SecretReference, reader: &SecretReader) -> Result<SecretString, Failure> {
    let value = reader.resolve(reference).map_err(|error| {
        let advice = format!("Provide it where {key} says, or correct the reference.");
        Failure::could_not("A secret that the configuration names has no value.", error, advice)
    })?;
    telemetry::register_secret(value.expose());
    let text = value.expose_str().map(str::trim).filter(|text| !text.is_empty());
    let text =
        text.ok_or_else(|| Failure::failed("A secret can't be used.", format!("{key} is no text"), "Correct it."))?;
    Ok(SecretString::from(text.to_owned()))
}

fn no_client(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::could_not("The HTTP client can't be set up.", error, "Look at this machine's certificates and limits.")
}

#[derive(Debug, Subcommand)]
pub(crate) enum Subscriptions {
    /// Ask the billing provider what subscriptions are, and take its word
    Reconcile(Reconcile),
}

#[derive(Debug, Args)]
pub(crate) struct Reconcile {
    #[command(flatten)]
    config: ConfigArgs,
    /// Answer with one line of JSON
    #[arg(long)]
    json: bool,
}

impl Subscriptions {
    pub(crate) fn json(&self) -> bool {
        let Self::Reconcile(reconcile) = self;
        reconcile.json
    }

    pub(crate) async fn run(self, process: Process) -> Result<ExitCode, Failure> {
        let Self::Reconcile(Reconcile { config, json }) = self;
        let installation = Installation::open(config.load(&process)?, &process).await?;
        let outcomes = reconcile(&installation).await;
        installation.close().await;
        tell(&outcomes?, json);
        Ok(ExitCode::SUCCESS)
    }
}

/// How many subscriptions came to what.
type Outcomes = BTreeMap<&'static str, usize>;

async fn reconcile(installation: &Installation) -> Result<Outcomes, Failure> {
    let generation = installation.generation_to_serve().await?;
    let billing = open(&installation.config, &installation.reader, generation.environment)?;
    let (mut outcomes, mut after) = (Outcomes::new(), None);
    for _ in 0..PAGES_MOST {
        let now = installation.store.sources().now();
        let page = billing.provider.page(after.as_deref(), now).await.map_err(not_asked)?;
        for told in &page.items {
            *outcomes.entry(take(installation, &billing, told).await?).or_default() += 1;
        }
        *outcomes.entry("unreadable").or_default() += page.unreadable;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(outcomes)
}

async fn take(installation: &Installation, billing: &Billing, told: &Told) -> Result<&'static str, Failure> {
    let (store, provider) = (&installation.store, billing.provider.name());
    let offered = (&*billing.plans, billing.grace);
    Ok(match store.subscription_change(told.org, provider, (None, &told.terms), offered).await? {
        SubscriptionChange::Taken => "taken",
        SubscriptionChange::Known | SubscriptionChange::Ruled(_) => "overtaken",
        SubscriptionChange::NoSuchOrg => "nobodys",
    })
}

fn not_asked(error: billing::BillingError) -> Failure {
    let advice = "Look at billing.stripe, and at whether the provider can be reached from here; where an operator says who is on \
        which plan, see `PUT /api/subscription`.";
    Failure::could_not("The billing provider was not asked.", error, advice)
}

fn tell(outcomes: &Outcomes, as_json: bool) {
    if as_json {
        return println!("{}", json!(outcomes));
    }
    for (outcome, count) in outcomes {
        println!("{outcome:12} {count}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_secret_is_can_not_be_read_off_an_error() {
        let reader = SecretReader::new(".", BTreeMap::from([("KEY".to_owned(), "  ".to_owned())]));
        for reference in ["env:KEY", "env:NONE"] {
            let failure = secret("billing.stripe.api_key", &reference.parse().unwrap(), &reader).unwrap_err();
            assert!(format!("{failure:?}").contains("billing.stripe.api_key"));
        }
    }

    #[test]
    fn a_drill_copy_pays_nobody() {
        let key = BTreeMap::from([("KEY".to_owned(), "text".to_owned())]);
        let stripe = config::Stripe {
            api_key: "env:KEY".parse().unwrap(),
            webhook_secret: "env:KEY".parse().unwrap(),
            return_url: "https://cowork.example/".into(),
        };
        let mut config = Config::default();
        config.billing.stripe = Some(stripe);
        let name =
            |environment| open(&config, &SecretReader::new(".", key.clone()), environment).unwrap().provider.name();
        assert_eq!(name(Environment::Drill), "manual");
        assert_eq!(name(Environment::Production), "stripe");
    }
}
