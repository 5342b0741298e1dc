//! Places in the feed of an org: everything that happens in its sessions, in one order.
//!
//! Transactions become visible in another order than they begin, so a place names the transaction that wrote the event, and a reader is
//! given only what no transaction can come before any more (`store::feed`). Within a session the order is that of its sequence.
//!
//! Not here: reading it.

use std::fmt;
use std::str::FromStr;

use ids::SessionId;
use serde::{Serialize, Serializer};

/// Bits of a position that number the transaction; above them is the generation.
const TRANSACTION_BITS: u32 = 48;

/// The place of an event. As text, which is what a reader resumes with: `POSITION-SESSION-SEQUENCE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeedPlace {
    pub position: i64,
    pub session: SessionId,
    pub sequence: i64,
}

/// A text that names no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a place in the feed is POSITION-SESSION-SEQUENCE, as the feed gives it")]
pub struct FeedPlaceError;

impl FeedPlace {
    /// Before everything.
    #[must_use]
    pub fn beginning() -> Self {
        Self { position: 0, session: uuid::Uuid::nil().into(), sequence: 0 }
    }

    /// After everything whose position is below `position`, and before all else.
    #[must_use]
    pub fn before(position: i64) -> Self {
        Self { position: position.saturating_sub(1), session: uuid::Uuid::max().into(), sequence: i64::MAX }
    }
}

/// What positions of a generation begin with: a restore sets the numbers of transactions back, and what is written after it comes
/// after all that was written before.
#[must_use]
pub fn base(generation: i64) -> i64 {
    generation << TRANSACTION_BITS
}

impl fmt::Display for FeedPlace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}-{}", self.position, self.session.as_uuid().simple(), self.sequence)
    }
}

impl FromStr for FeedPlace {
    type Err = FeedPlaceError;

    fn from_str(text: &str) -> Result<Self, FeedPlaceError> {
        let mut parts = text.splitn(3, '-');
        let mut part = || parts.next().ok_or(FeedPlaceError);
        let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => text.parse::<i64>().map_err(|_| FeedPlaceError),
            false => Err(FeedPlaceError),
        };
        let position = number(part()?)?;
        let session: uuid::Uuid = part()?.parse().map_err(|_| FeedPlaceError)?;
        Ok(Self { position, session: session.into(), sequence: number(part()?)? })
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for FeedPlace {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        let number = "([0-9]{1,18}|[1-8][0-9]{18})";
        let place = utoipa::openapi::ObjectBuilder::new().schema_type(utoipa::openapi::Type::String);
        place.pattern(Some(format!("^{number}-[0-9a-fA-F]{{32}}-{number}$"))).build().into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for FeedPlace {}

impl Serialize for FeedPlace {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_written_and_anything_else_is_refused() {
        for place in [FeedPlace::beginning(), FeedPlace::before(base(3) + 17)] {
            assert_eq!(place.to_string().parse(), Ok(place));
        }
        for text in
            ["", "1", "1-2-3", "-1-0-0", "1-00000000000000000000000000000000-", "99999999999999999999-0-0", "1-é-0"]
        {
            assert_eq!(text.parse::<FeedPlace>(), Err(FeedPlaceError), "{text}");
        }
    }

    #[test]
    fn a_later_generation_comes_after_every_transaction_of_an_earlier_one() {
        assert!(FeedPlace::before(base(2)) > FeedPlace { position: base(1) + 123_456_789, ..FeedPlace::beginning() });
        assert!(FeedPlace::before(8) < FeedPlace { position: 8, ..FeedPlace::beginning() });
    }
}
