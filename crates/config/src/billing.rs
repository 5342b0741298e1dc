//! Which plans there are, and who is paid for them.
//!
//! Not here: what a plan is (`domain::plan`), the provider (crate `billing`).

use domain::plan::{Plan, Plans, fits_as_name};
use secrets::{NamedReference, SecretReference};
use serde::Deserialize;

use crate::ConfigError;
use crate::sign_in::address;
use crate::validate::{at_most, unusable};

/// Plans that an installation may have. More would make a list that nobody reads.
const PLANS_MOST: usize = 50;
const GRACE_MOST_DAYS: u64 = 365;
/// Bytes of a title and of a price.
const TEXT_MAX: usize = 200;
/// As for quotas that the API sets.
const QUANTITY_MOST: i64 = 1_000_000_000_000_000;

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Billing {
    /// How long an org goes on that has not paid.
    pub grace_days: u32,
    /// `None`: an operator says who is on which plan.
    pub stripe: Option<Stripe>,
}

/// Stripe, as the billing provider.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stripe {
    pub api_key: SecretReference,
    /// What it signs its webhooks with.
    pub webhook_secret: SecretReference,
    /// Where browsers come back to.
    pub return_url: String,
}

impl Default for Billing {
    fn default() -> Self {
        Self { grace_days: 7, stripe: None }
    }
}

impl Billing {
    pub(crate) fn validate(&self, plans: &Plans) -> Result<(), ConfigError> {
        at_most("billing.grace_days", self.grace_days.into(), GRACE_MOST_DAYS)?;
        at_most("the number of plans", plans.iter().count() as u64, PLANS_MOST as u64)?;
        for (name, plan) in plans.iter() {
            validate(name, plan, plans)?;
        }
        match &self.stripe {
            Some(stripe) => address("billing.stripe.return_url", &stripe.return_url).map(drop),
            None => Ok(()),
        }
    }
}

impl Stripe {
    /// Under the names that backups and diagnostics have for them. Which of its secrets is in force is known at Stripe, so they have
    /// one version here.
    pub(crate) fn secrets(&self) -> Vec<NamedReference> {
        let named = |name: &str, reference: &SecretReference| NamedReference {
            name: name.to_owned(),
            reference: reference.clone(),
            version: "1".to_owned(),
        };
        vec![named("billing_api_key", &self.api_key), named("billing_webhook", &self.webhook_secret)]
    }
}

fn validate(name: &str, plan: &Plan, plans: &Plans) -> Result<(), ConfigError> {
    let key = format!("plans.{name}");
    if !fits_as_name(name) {
        let advice = "name it with up to 50 lower-case letters, digits and hyphens";
        return Err(unusable("plans", "one of them has a name that can't be used", advice));
    }
    let fits = |text: &Option<String>| text.as_ref().is_none_or(|text| !text.is_empty() && text.len() <= TEXT_MAX);
    if !fits(&plan.title) || !fits(&plan.price) {
        return Err(unusable(
            &key,
            "its title or price is empty or too long",
            "write up to 200 bytes, or leave it out",
        ));
    }
    let same = plan.price.as_deref().and_then(|price| plans.of_price(price));
    if same.is_some_and(|first| first != name) {
        return Err(unusable(&key, "another plan has its price", "give each plan a price of its own"));
    }
    let mut most = plan.quotas.values().map(|allowance| allowance.quantity_max);
    if most.any(|most| !(0..=QUANTITY_MOST).contains(&most)) {
        let advice = "write 0 to 1000000000000000, or leave the quota out to allow any number";
        return Err(unusable(&format!("{key}.quotas"), "a quantity_max is out of bounds", advice));
    }
    Ok(())
}
