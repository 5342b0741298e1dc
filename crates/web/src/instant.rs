//! Instants in answers that hold many, for `#[serde(serialize_with)]`: what chrono writes, without its formatter, which took a
//! tenth of a list's time.
//!
//! Not here: reading them.

use chrono::{Datelike, Timelike};
use clock::Timestamp;
use serde::{Serialize, Serializer};

/// `2026-11-28T10:19:31.123456Z`: RFC 3339, with as many digits of a second's fraction as it takes (0, 3 or 6).
pub(crate) fn write<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    let micros = at.nanosecond() / 1_000;
    let plain =
        (0..=9_999).contains(&at.year()) && at.nanosecond() < 1_000_000_000 && at.nanosecond().is_multiple_of(1_000);
    if !plain {
        return at.serialize(serializer);
    }
    let fields = [
        (0..4, at.year().unsigned_abs()),
        (5..7, at.month()),
        (8..10, at.day()),
        (11..13, at.hour()),
        (14..16, at.minute()),
        (17..19, at.second()),
        (20..26, micros),
    ];
    for (place, mut number) in fields {
        for digit in text[place].iter_mut().rev() {
            *digit += u8::try_from(number % 10).expect("one digit");
            number /= 10;
        }
    }
    let end = match micros {
        0 => 19,
        _ if micros.is_multiple_of(1_000) => 23,
        _ => 26,
    };
    text[end] = b'Z';
    serializer.serialize_str(str::from_utf8(&text[..=end]).expect("digits and dashes"))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use proptest::prelude::*;

    use super::*;

    fn written(at: Timestamp) -> String {
        let mut text = Vec::new();
        write(&at, &mut serde_json::Serializer::new(&mut text)).unwrap();
        String::from_utf8(text).unwrap()
    }

    proptest! {
        #[test]
        fn an_instant_is_written_as_chrono_writes_it(
            seconds in -70_000_000_000_i64..300_000_000_000,
            nanos in prop_oneof![
                Just(0), Just(5_000_000), Just(120_000), Just(1), Just(1_500_000_000), 0..2_000_000_000_u32,
                (0..1_000_000_u32).prop_map(|micros| micros * 1_000),
            ],
        ) {
            // A leap second stands at a minute's end only.
            let at = DateTime::from_timestamp(seconds, nanos).or_else(|| DateTime::from_timestamp(seconds, 0)).unwrap();
            prop_assert_eq!(written(at), serde_json::to_string(&at).unwrap());
        }
    }
}
