//! Which state of a row somebody has seen, and whether a change that was made for it may still happen.
//!
//! Not here: how a state is written in a header (`web::etag`).

use clock::Timestamp;

/// One state of one row. Two rows that had the same name one after the other differ in `since`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowVersion {
    /// When the row was made.
    pub since: Timestamp,
    /// Grows with every change, from 1.
    pub version: i64,
}

/// What must be there for a change to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    Anything,
    /// A row, whatever its state.
    Something,
    /// No row: the change makes it.
    Nothing,
    /// A row in one of these states.
    OneOf(Vec<RowVersion>),
}

impl Expected {
    /// Whether what was found is what the change was made for.
    #[must_use]
    pub fn met_by(&self, found: Option<RowVersion>) -> bool {
        match self {
            Self::Anything => true,
            Self::Something => found.is_some(),
            Self::Nothing => found.is_none(),
            Self::OneOf(versions) => found.is_some_and(|found| versions.contains(&found)),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn a_change_happens_to_what_it_was_made_for_only() {
        let seen = RowVersion { since: Timestamp::UNIX_EPOCH, version: 3 };
        let newer = RowVersion { version: 4, ..seen };
        let another = RowVersion { since: seen.since + TimeDelta::microseconds(1), ..seen };
        for (expected, found, met) in [
            (Expected::Anything, None, true),
            (Expected::Something, None, false),
            (Expected::Something, Some(newer), true),
            (Expected::Nothing, None, true),
            (Expected::Nothing, Some(seen), false),
            (Expected::OneOf(vec![seen]), Some(seen), true),
            (Expected::OneOf(vec![seen]), Some(newer), false),
            (Expected::OneOf(vec![seen]), Some(another), false),
            (Expected::OneOf(vec![another, seen]), Some(seen), true),
            (Expected::OneOf(vec![seen]), None, false),
            (Expected::OneOf(vec![]), Some(seen), false),
        ] {
            assert_eq!(expected.met_by(found), met, "{expected:?} {found:?}");
        }
    }
}
