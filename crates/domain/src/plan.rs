//! Plans: named sets of quotas that an installation offers.
//!
//! Configuration says which there are. An org whose subscription names one has its quotas, but for the kinds that it has a quota of
//! its own for.
//!
//! Not here: who is on which plan (`subscription`), comparing with what is used (`store::quota`), prices, which are the billing
//! provider's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::quota::{QuotaPeriod, UsageKind};

/// The plan of an org that nobody has put on another one. It has no quotas, unless configuration gives it some.
pub const SELF_HOSTED: &str = "self-hosted";

/// Bytes of a plan's name.
pub const NAME_MAX: usize = 50;

/// How much of a kind a plan allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Allowance {
    pub period: QuotaPeriod,
    /// As many are allowed in a period.
    pub quantity_max: i64,
}

/// One plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Plan {
    /// What people call it. `None`: its name.
    pub title: Option<String>,
    /// What the billing provider calls its price. `None`: nobody can buy it, and an operator gives it.
    pub price: Option<String>,
    /// A kind that is not in it may be used without end.
    pub quotas: BTreeMap<UsageKind, Allowance>,
}

/// The plans of an installation, by name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "BTreeMap<String, Plan>")]
pub struct Plans(BTreeMap<String, Plan>);

impl From<BTreeMap<String, Plan>> for Plans {
    fn from(mut plans: BTreeMap<String, Plan>) -> Self {
        plans.entry(SELF_HOSTED.to_owned()).or_default();
        Self(plans)
    }
}

impl Default for Plans {
    fn default() -> Self {
        BTreeMap::new().into()
    }
}

impl Plans {
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Plan> {
        self.0.get(name)
    }

    /// The plan that is bought at this price.
    #[must_use]
    pub fn of_price(&self, price: &str) -> Option<&str> {
        let plan = self.iter().find(|(_, plan)| plan.price.as_deref() == Some(price));
        plan.map(|(name, _)| name)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Plan)> {
        self.0.iter().map(|(name, plan)| (name.as_str(), plan))
    }
}

impl Plan {
    /// The same for two plans exactly if they allow the same.
    #[must_use]
    pub fn allows(&self) -> String {
        let each = self.quotas.iter().map(|(kind, allowance)| {
            let Allowance { period, quantity_max } = allowance;
            format!("{kind} {quantity_max}/{}", period.as_str())
        });
        each.collect::<Vec<_>>().join(", ")
    }
}

/// Whether a plan may have this name: lower-case letters, digits and hyphens.
#[must_use]
pub fn fits_as_name(name: &str) -> bool {
    let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    plain && !name.is_empty() && name.len() <= NAME_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(quantity_max: i64) -> Plan {
        let turns = Allowance { period: QuotaPeriod::Month, quantity_max };
        Plan { price: Some(format!("price_{quantity_max}")), quotas: [(UsageKind::Turns, turns)].into(), title: None }
    }

    #[test]
    fn there_is_always_a_plan_for_whoever_has_chosen_none() {
        assert_eq!(Plans::default().get(SELF_HOSTED), Some(&Plan::default()));
        let limited = Plans::from(BTreeMap::from([(SELF_HOSTED.to_owned(), plan(5))]));
        assert_eq!(limited.get(SELF_HOSTED), Some(&plan(5)));
        assert_eq!(limited.of_price("price_5"), Some(SELF_HOSTED));
        assert_eq!(limited.of_price("price_6"), None);
    }

    #[test]
    fn plans_that_allow_the_same_are_told_from_others() {
        assert_eq!(plan(5).allows(), Plan { title: Some("Five".into()), ..plan(5) }.allows());
        assert_ne!(plan(5).allows(), plan(50).allows());
        assert_eq!(Plan::default().allows(), "");
    }
}
