//! Keys that users bring: what their providers say of them.
//!
//! Not here: asking (`providers`), the keys themselves (`secrets`).

use std::str::FromStr;

use serde::Serialize;

use crate::channel::UnknownWord;

/// What came of asking a provider whether it takes a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Validation {
    /// It takes the key. What the key may do there is not said by that.
    Valid,
    /// It does not take the key, or not for this question.
    Refused,
    /// It gave no answer that says either: it was not reached, was busy or broke.
    Unreachable,
}

impl Validation {
    /// As it stands in SQL and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
        }
    }

    /// What the status of an answer says. Only what the provider says of the key counts against the key.
    #[must_use]
    pub fn of_status(status: u16) -> Self {
        match status {
            200..=299 => Self::Valid,
            401 | 403 => Self::Refused,
            _ => Self::Unreachable,
        }
    }
}

impl FromStr for Validation {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Valid, Self::Refused, Self::Unreachable]
            .into_iter()
            .find(|validation| validation.as_str() == text)
            .ok_or_else(|| UnknownWord::new(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_that_is_busy_or_moved_says_nothing_of_the_key() {
        for (status, validation) in [
            (200, Validation::Valid),
            (401, Validation::Refused),
            (403, Validation::Refused),
            (302, Validation::Unreachable),
            (404, Validation::Unreachable),
            (429, Validation::Unreachable),
            (500, Validation::Unreachable),
        ] {
            assert_eq!(Validation::of_status(status), validation, "{status}");
        }
    }

    #[test]
    fn a_validation_is_read_as_it_was_written() {
        for validation in [Validation::Valid, Validation::Refused, Validation::Unreachable] {
            assert_eq!(validation.as_str().parse(), Ok(validation));
            assert_eq!(serde_json::to_value(validation).unwrap(), validation.as_str());
        }
        assert!("good".parse::<Validation>().is_err());
    }
}
