//! Whole numbers of a request. JSON has one kind of number, and a schema's `integer` is any without a fraction, so `8.0` is 8.
//!
//! Not here: their bounds, which stand where they are used.

use serde::{Deserialize, Deserializer};

#[derive(Deserialize)]
#[serde(untagged, expecting = "a whole number is expected")]
enum Number {
    Whole(i64),
    Real(f64),
}

impl Number {
    fn whole<E: serde::de::Error>(self) -> Result<i64, E> {
        match self {
            Self::Whole(number) => Ok(number),
            Self::Real(number) if number.fract() == 0.0 => {
                format!("{number:.0}").parse().map_err(|_| E::custom("this number is too large"))
            }
            Self::Real(_) => Err(E::custom("a whole number is expected")),
        }
    }
}

/// For `#[serde(deserialize_with)]`.
pub(crate) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    Number::deserialize(deserializer)?.whole()
}

/// The same of a number that may be left out, with `#[serde(default)]`.
pub(crate) fn whole_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Option::<Number>::deserialize(deserializer)?.map(Number::whole).transpose()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_number_without_a_fraction_is_whole_however_it_is_written() {
        assert_eq!(whole(json!(8)).unwrap(), 8);
        assert_eq!(whole(json!(-8.0)).unwrap(), -8);
        for other in [json!(8.5), json!("8"), json!(1e300), json!(null)] {
            assert!(whole(other).is_err());
        }
    }
}
