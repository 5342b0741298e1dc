//! What agents spend with model providers, and when a turn may ask no more.
//!
//! Whoever asks a provider for an agent counts what each answer took, and compares before each request. What is left of the org's
//! quotas is looked at once, when a turn begins; what other turns of the org spend meanwhile is not known here. Requests that are
//! under way are not counted until they are answered, so a bound on tokens is overshot by what those take.
//!
//! Not here: reading answers (`providers`), adding up (`store::usage`), quotas (`quota`).

use clock::Timestamp;
use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::quota::{QuotaPeriod, UsageKind};

/// Requests to one model, and what is known of them besides the tokens. Part of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ModelUse {
    pub provider: String,
    /// As the provider names it. Absent: it did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Of the input tokens, those that the provider still had from an earlier request.
    pub cached_tokens: i64,
    /// That the provider answered, or may have.
    pub requests: i64,
    /// Of those, the ones that nobody said the whole use of: they took more than the tokens say.
    pub requests_unknown: i64,
}

/// What a model took, metered once for each turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelSpend {
    /// Cached ones included.
    pub input_tokens: i64,
    pub output_tokens: i64,
    pub model: ModelUse,
}

/// What a turn spent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    pub requests: i64,
    pub input_tokens: i64,
    pub output_tokens: i64,
}

/// How much one turn may spend. `None`: any number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TurnLimits {
    /// Input and output together.
    pub tokens: Option<i64>,
    pub requests: Option<i64>,
}

/// What was left of an org's quota when a turn began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaLeft {
    pub kind: UsageKind,
    pub period: QuotaPeriod,
    /// Not above zero: it was used up.
    pub left: i64,
    /// When the next period begins.
    pub ends_at: Timestamp,
}

/// What a turn is held to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bounds {
    pub limits: TurnLimits,
    /// Those of tokens.
    pub quotas: Vec<QuotaLeft>,
}

/// Why a turn may ask no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exceeded {
    /// It made so many.
    Requests(i64),
    /// It may take so many, and has.
    Tokens(i64),
    Quota(QuotaLeft),
}

impl ModelSpend {
    #[must_use]
    pub fn event(self) -> Event {
        let Self { input_tokens, output_tokens, model } = self;
        Event::UsageRecorded { input_tokens, output_tokens, model: Some(model) }
    }

    #[must_use]
    pub fn is_of(&self, other: &Self) -> bool {
        self.model.provider == other.model.provider && self.model.name == other.model.name
    }

    /// What the same model took besides.
    pub fn add(&mut self, other: &Self) {
        self.input_tokens = self.input_tokens.saturating_add(other.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(other.output_tokens);
        self.model.cached_tokens = self.model.cached_tokens.saturating_add(other.model.cached_tokens);
        self.model.requests = self.model.requests.saturating_add(other.model.requests);
        self.model.requests_unknown = self.model.requests_unknown.saturating_add(other.model.requests_unknown);
    }
}

impl Spent {
    /// Of all models together.
    #[must_use]
    pub fn of<'a>(spends: impl IntoIterator<Item = &'a ModelSpend>) -> Self {
        spends.into_iter().fold(Self::default(), |sum, spend| Self {
            requests: sum.requests.saturating_add(spend.model.requests),
            input_tokens: sum.input_tokens.saturating_add(spend.input_tokens),
            output_tokens: sum.output_tokens.saturating_add(spend.output_tokens),
        })
    }
}

impl Bounds {
    /// Why a turn that spent so much may make no other request. `None`: it may.
    #[must_use]
    pub fn exceeded(&self, spent: &Spent) -> Option<Exceeded> {
        let used = |kind| match kind {
            UsageKind::InputTokens => Some(spent.input_tokens),
            UsageKind::OutputTokens => Some(spent.output_tokens),
            _ => None,
        };
        let over = |quota: &&QuotaLeft| used(quota.kind).is_some_and(|used| used >= quota.left);
        if let Some(quota) = self.quotas.iter().filter(over).max_by_key(|quota| quota.ends_at) {
            return Some(Exceeded::Quota(*quota));
        }
        let tokens = spent.input_tokens.saturating_add(spent.output_tokens);
        let tokens = self.limits.tokens.filter(|max| tokens >= *max).map(Exceeded::Tokens);
        tokens.or_else(|| self.limits.requests.filter(|max| spent.requests >= *max).map(Exceeded::Requests))
    }
}

impl Exceeded {
    /// What happened, and what to do, for people and agents.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self {
            Self::Requests(max) => format!(
                "the turn asked its model {max} times, and may no more (turn_requests); send another prompt to go on"
            ),
            Self::Tokens(max) => {
                format!("the turn took the {max} tokens that it may take (turn_tokens); send another prompt to go on")
            }
            Self::Quota(quota) => {
                let (kind, period) = (quota.kind.as_str().replace('_', " "), quota.period.as_str());
                let until = quota.ends_at.format("%Y-%m-%d %H:%M UTC");
                format!(
                    "the org's quota of {kind} for this {period} is used up; wait until {until}, or ask for a larger one"
                )
            }
        }
    }

    /// For metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Requests(_) => "turn_requests",
            Self::Tokens(_) => "turn_tokens",
            Self::Quota(_) => "quota",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(kind: UsageKind, period: QuotaPeriod, left: i64) -> QuotaLeft {
        QuotaLeft { kind, period, left, ends_at: period.ends_at("2024-03-05T12:00:00Z".parse().unwrap()) }
    }

    #[test]
    fn a_turn_may_ask_until_it_has_spent_what_it_may() {
        let spent = Spent { requests: 3, input_tokens: 100, output_tokens: 20 };
        let check = |tokens, requests, quotas: &[QuotaLeft], expect| {
            let bounds = Bounds { limits: TurnLimits { tokens, requests }, quotas: quotas.to_vec() };
            assert_eq!(bounds.exceeded(&spent), expect);
        };
        check(None, None, &[], None);
        check(Some(121), Some(4), &[], None);
        check(Some(120), None, &[], Some(Exceeded::Tokens(120)));
        check(None, Some(3), &[], Some(Exceeded::Requests(3)));
        let day = |left| quota(UsageKind::OutputTokens, QuotaPeriod::Day, left);
        let month = quota(UsageKind::InputTokens, QuotaPeriod::Month, 0);
        check(None, None, &[day(21)], None);
        check(Some(1), None, &[day(20)], Some(Exceeded::Quota(day(20))));
        check(None, None, &[day(-5), month], Some(Exceeded::Quota(month)));
        check(None, None, &[quota(UsageKind::Turns, QuotaPeriod::Day, 0)], None);
    }

    #[test]
    fn whoever_is_stopped_is_told_by_what_and_what_to_do() {
        let quota = Exceeded::Quota(quota(UsageKind::OutputTokens, QuotaPeriod::Month, 0));
        assert_eq!(
            quota.sentence(),
            "the org's quota of output tokens for this month is used up; wait until 2024-04-01 00:00 UTC, or ask for a \
             larger one"
        );
        assert!(Exceeded::Tokens(9).sentence().contains("9 tokens"));
        assert!(Exceeded::Requests(9).sentence().contains("9 times"));
    }
}
