//! Billing providers behind one trait: where a plan is bought, where it is managed, and what subscriptions are by now.
//!
//! [`Manual`] has no party outside: an operator says what a subscription is. [`Stripe`] is told by signed webhooks, and can be asked.
//! A drill copy has [`Manual`], so nobody outside hears of it.
//!
//! Not here: what a subscription is worth (`domain::plan`), whether news are taken (`domain::subscription`), the rows (`store`).

mod signature;
mod stripe;

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::TimeDelta;
use clock::Timestamp;
use domain::plan::Plans;
use domain::subscription::{MANUAL, Terms};
use ids::OrgId;

pub use crate::stripe::{Stripe, StripeSettings};

/// What somebody wants to buy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order<'a> {
    pub org: OrgId,
    /// As the provider calls it (`Plan::price`).
    pub price: &'a str,
    /// Whom the provider knows already.
    pub customer: Option<&'a str>,
}

/// What a provider says of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Whose it was when it was bought here. `None`: it was bought elsewhere, and is known by its reference, or not at all.
    pub org: Option<OrgId>,
    pub terms: Terms,
}

/// Some of a provider's subscriptions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    pub items: Vec<Told>,
    /// After which to go on. `None`: these were the last.
    pub next: Option<String>,
    /// Those that can't be read.
    pub unreadable: usize,
}

/// A provider's message, whose signature was right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The provider's id of it. A repeat has the same.
    pub event: String,
    /// `None`: it is about something else.
    pub told: Option<Told>,
}

/// Why a provider does not do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BillingError {
    /// It has no such thing.
    #[error("the provider does not offer this")]
    NotOffered,
    #[error("the provider refuses it ({0})")]
    Refused(u16),
    #[error("the provider can't be reached")]
    Unreachable,
    #[error("the provider's answer can't be read")]
    Unreadable,
}

/// Why a message is not a provider's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoticeError {
    #[error("this provider sends no messages")]
    NotOffered,
    #[error("the signature is missing or wrong")]
    NotSigned,
    #[error("it was signed too long ago, or in the future")]
    Stale,
    #[error("it is signed, and can't be read")]
    Unreadable,
}

/// Somebody who is paid.
#[async_trait]
pub trait BillingProvider: Debug + Send + Sync {
    /// As it stands in subscriptions.
    fn name(&self) -> &'static str;

    /// Whether plans can be bought at all.
    fn sells(&self) -> bool {
        true
    }

    /// Where a browser goes to buy a plan. Nothing is bought by asking.
    async fn checkout(&self, order: &Order<'_>) -> Result<String, BillingError>;

    /// Where a browser goes to change or end what `customer` has bought.
    async fn portal(&self, customer: &str) -> Result<String, BillingError>;

    /// What subscriptions are at this moment, over or not, some of them after the one that is called `after`. `now` is for a provider
    /// that does not say when that was.
    async fn page(&self, after: Option<&str>, now: Timestamp) -> Result<Page, BillingError>;

    /// Reads a message that came in, if it is the provider's and was signed around `now`.
    fn read(&self, signature: Option<&str>, body: &[u8], now: Timestamp) -> Result<Notice, NoticeError>;
}

/// Nobody is paid: an operator says what a subscription is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Manual;

#[async_trait]
impl BillingProvider for Manual {
    fn name(&self) -> &'static str {
        MANUAL
    }

    fn sells(&self) -> bool {
        false
    }

    async fn checkout(&self, _: &Order<'_>) -> Result<String, BillingError> {
        Err(BillingError::NotOffered)
    }

    async fn portal(&self, _: &str) -> Result<String, BillingError> {
        Err(BillingError::NotOffered)
    }

    async fn page(&self, _: Option<&str>, _: Timestamp) -> Result<Page, BillingError> {
        Err(BillingError::NotOffered)
    }

    fn read(&self, _: Option<&str>, _: &[u8], _: Timestamp) -> Result<Notice, NoticeError> {
        Err(NoticeError::NotOffered)
    }
}

/// What an installation offers, and who is paid for it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Billing {
    pub provider: Arc<dyn BillingProvider>,
    pub plans: Arc<Plans>,
    /// How long an org goes on that has not paid.
    pub grace: TimeDelta,
}

impl Billing {
    /// Nobody is paid.
    #[must_use]
    pub fn manual(plans: Plans, grace: TimeDelta) -> Self {
        Self { provider: Arc::new(Manual), plans: Arc::new(plans), grace }
    }
}
