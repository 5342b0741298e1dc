//! Subscriptions: which plan an org is on, until when, and what becomes of it when it is not paid or ends.
//!
//! Nothing is deleted and everything can be read when a subscription ends: nothing new begins. Past due, it goes on for a time of
//! grace first.
//!
//! Not here: the rows (`store::subscription`), the provider (crate `billing`).

use std::fmt;
use std::str::FromStr;

use chrono::TimeDelta;
use clock::Timestamp;
use serde::{Deserialize, Serialize};

use crate::tenancy::UnknownWord;

/// The provider of subscriptions that an operator sets.
pub const MANUAL: &str = "manual";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum SubscriptionState {
    Active,
    /// A payment failed or is due.
    PastDue,
    Cancelled,
}

/// What a subscription is, as its provider says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// `None`: the provider names a price that no plan has, and the org stays on the one that it is on.
    pub plan: Option<String>,
    pub state: SubscriptionState,
    /// `None`: the provider does not say.
    pub period_ends_at: Option<Timestamp>,
    /// What the provider calls who pays.
    pub customer: Option<String>,
    /// What the provider calls the subscription.
    pub reference: String,
    /// When the provider says that this became so.
    pub at: Timestamp,
}

/// What is known of a subscription before a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub provider: String,
    pub state: SubscriptionState,
    pub reference: Option<String>,
    /// Of the newest change that was taken. `None`: none was.
    pub changed_at: Option<Timestamp>,
    /// From when on nothing new begins. `None`: it goes on.
    pub refused_from: Option<Timestamp>,
}

/// What becomes of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling {
    Take,
    /// Something newer is known.
    Older,
    /// The subscription is over, for good.
    Ended,
    /// It is about a subscription that the org has no more, or not yet.
    Another,
}

impl SubscriptionState {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::PastDue => "past_due",
            Self::Cancelled => "cancelled",
        }
    }

    /// From when on nothing new begins, if this became so at `at`.
    #[must_use]
    pub fn refused_from(self, at: Timestamp, grace: TimeDelta) -> Option<Timestamp> {
        match self {
            Self::Active => None,
            Self::PastDue => Some(at + grace),
            Self::Cancelled => Some(at),
        }
    }
}

impl Known {
    /// Whether a change that `provider` told of is what the subscription is from now on. Providers tell late, twice, and in any order.
    #[must_use]
    pub fn rule(&self, provider: &str, terms: &Terms) -> Ruling {
        let same = self.provider == provider && self.reference.as_deref() == Some(terms.reference.as_str());
        if !same {
            // One that was bought takes the place of what was; the end of one that was replaced ends nothing.
            let takes_over = terms.state == SubscriptionState::Active;
            return if takes_over { self.in_order(terms) } else { Ruling::Another };
        }
        if self.state == SubscriptionState::Cancelled {
            return Ruling::Ended;
        }
        self.in_order(terms)
    }

    /// From when on nothing new begins, under these terms. Grace begins once: providers tell again and again that nobody paid.
    #[must_use]
    pub fn refused_from(&self, terms: &Terms, grace: TimeDelta) -> Option<Timestamp> {
        let begun =
            self.refused_from.filter(|_| self.state == terms.state && terms.state == SubscriptionState::PastDue);
        begun.or_else(|| terms.state.refused_from(terms.at, grace))
    }

    /// Times of providers are whole seconds: of two in the same one, the later to arrive counts.
    fn in_order(&self, terms: &Terms) -> Ruling {
        if self.changed_at.is_some_and(|known| known > terms.at) { Ruling::Older } else { Ruling::Take }
    }
}

impl fmt::Display for SubscriptionState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl FromStr for SubscriptionState {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        [Self::Active, Self::PastDue, Self::Cancelled]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| UnknownWord::new(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_timestamp(second, 0).unwrap()
    }

    fn terms(reference: &str, state: SubscriptionState, second: i64) -> Terms {
        let reference = reference.to_owned();
        Terms { plan: None, state, period_ends_at: None, customer: None, reference, at: at(second) }
    }

    fn known(reference: &str, state: SubscriptionState, second: i64) -> Known {
        let (provider, reference) = ("stripe".to_owned(), Some(reference.to_owned()));
        Known { provider, state, reference, changed_at: Some(at(second)), refused_from: None }
    }

    #[test]
    fn what_comes_late_undoes_nothing() {
        use SubscriptionState::{Active, Cancelled, PastDue};
        for (known, terms, ruling) in [
            (known("a", Active, 10), terms("a", PastDue, 11), Ruling::Take),
            (known("a", Active, 10), terms("a", PastDue, 10), Ruling::Take),
            (known("a", Active, 10), terms("a", PastDue, 9), Ruling::Older),
            (known("a", Cancelled, 10), terms("a", Active, 11), Ruling::Ended),
            (known("a", Active, 10), terms("b", Cancelled, 11), Ruling::Another),
            (known("a", Active, 10), terms("b", Active, 11), Ruling::Take),
            (known("a", Cancelled, 10), terms("b", Active, 9), Ruling::Older),
        ] {
            assert_eq!(known.rule("stripe", &terms), ruling, "{known:?} {terms:?}");
        }
    }

    #[test]
    fn an_operators_word_stands_until_something_is_bought() {
        let known = Known { provider: MANUAL.into(), reference: None, ..known("a", SubscriptionState::Active, 10) };
        assert_eq!(known.rule("stripe", &terms("a", SubscriptionState::PastDue, 11)), Ruling::Another);
        assert_eq!(known.rule("stripe", &terms("a", SubscriptionState::Active, 9)), Ruling::Older);
        assert_eq!(known.rule("stripe", &terms("a", SubscriptionState::Active, 11)), Ruling::Take);
    }

    #[test]
    fn who_does_not_pay_has_a_time_of_grace_and_who_left_has_none() {
        let grace = TimeDelta::days(7);
        assert_eq!(SubscriptionState::Active.refused_from(at(0), grace), None);
        assert_eq!(SubscriptionState::PastDue.refused_from(at(0), grace), Some(at(7 * 24 * 3600)));
        assert_eq!(SubscriptionState::Cancelled.refused_from(at(5), grace), Some(at(5)));
        let reminded = Known { refused_from: Some(at(50)), ..known("a", SubscriptionState::PastDue, 10) };
        assert_eq!(reminded.refused_from(&terms("a", SubscriptionState::PastDue, 40), grace), Some(at(50)));
        assert_eq!(reminded.refused_from(&terms("a", SubscriptionState::Active, 40), grace), None);
    }
}
