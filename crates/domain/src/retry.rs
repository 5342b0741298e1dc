//! Whether and when a delivery is tried again.
//!
//! Waits grow exponentially with full jitter: uniformly between nothing and a ceiling that doubles with every attempt,
//! so that a thousand deliveries that failed together don't come back together. The far side's own Retry-After wins.
//!
//! Not here: trying (`gateway`), reading a provider's answer (`channels`).

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A far side's Retry-After is believed up to this; a longer one would be a way to silence a thread for ever.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How patient a sender is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// The ceiling of the wait after the first attempt.
    pub base: Duration,
    /// No wait of our own choosing is longer.
    pub max: Duration,
    /// After so many failed attempts a delivery is dead.
    pub max_attempts: i32,
}

/// What became of an attempt that was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The same message may be accepted later.
    Transient { retry_after: Option<Duration> },
    /// It may have been accepted: the request was on its way when its answer got lost.
    Ambiguous { retry_after: Option<Duration> },
    /// The same message will never be accepted there.
    Permanent,
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Next {
    RetryAfter(Duration),
    /// Set aside for a person.
    Dead,
    /// Set aside for a person, who finds out whether it arrived.
    Unknown,
}

/// Decides after the failure of attempt number `attempt` (from 1). `deduplicates`: whether the far side takes a repeat
/// once; where it does not, what may have arrived is not tried again. `draw` is uniformly random over all of `u32`.
#[must_use]
pub fn next(patience: &Patience, attempt: i32, failure: Failure, deduplicates: bool, draw: u32) -> Next {
    let retry_after = match failure {
        Failure::Permanent => return Next::Dead,
        Failure::Ambiguous { .. } if !deduplicates => return Next::Unknown,
        Failure::Ambiguous { retry_after } | Failure::Transient { retry_after } => retry_after,
    };
    match retry_after {
        _ if attempt >= patience.max_attempts => Next::Dead,
        Some(asked) => Next::RetryAfter(asked.min(RETRY_AFTER_MAX)),
        None => Next::RetryAfter(jittered(ceiling(patience, attempt), draw)),
    }
}

/// The longest wait after attempt number `attempt`.
fn ceiling(patience: &Patience, attempt: i32) -> Duration {
    let doublings = u32::try_from(attempt - 1).unwrap_or(0).min(31);
    patience.base.saturating_mul(1 << doublings).min(patience.max)
}

fn jittered(ceiling: Duration, draw: u32) -> Duration {
    ceiling.mul_f64(f64::from(draw) / (f64::from(u32::MAX) + 1.0))
}

/// What an HTTP answer says about an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Accepted,
    Refused(Failure),
}

/// Reads an HTTP status. Redirects are not followed, so they are refusals: the destination has to be corrected. 502 and 504
/// are a proxy's words: it does not know what became of the request behind it.
#[must_use]
pub fn judge(status: u16, retry_after: Option<Duration>) -> Answer {
    match status {
        200..=299 => Answer::Accepted,
        502 | 504 => Answer::Refused(Failure::Ambiguous { retry_after }),
        408 | 409 | 423 | 425 | 429 | 500..=599 => Answer::Refused(Failure::Transient { retry_after }),
        _ => Answer::Refused(Failure::Permanent),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PATIENCE: Patience =
        Patience { base: Duration::from_secs(1), max: Duration::from_secs(300), max_attempts: 8 };
    const PLAIN: Failure = Failure::Transient { retry_after: None };

    fn wait(attempt: i32, draw: u32) -> Duration {
        match next(&PATIENCE, attempt, PLAIN, true, draw) {
            Next::RetryAfter(wait) => wait,
            set_aside => panic!("attempt {attempt} was the last: {set_aside:?}"),
        }
    }

    #[test]
    fn the_ceiling_doubles_up_to_the_longest_wait() {
        let patience = Patience { max_attempts: 100, ..PATIENCE };
        let ceilings: Vec<u64> = [1, 2, 3, 9, 10, 99].map(|attempt| ceiling(&patience, attempt).as_secs()).to_vec();
        assert_eq!(ceilings, [1, 2, 4, 256, 300, 300]);
    }

    #[test]
    fn a_wait_may_be_anything_below_its_ceiling() {
        assert_eq!(wait(3, 0), Duration::ZERO);
        assert_eq!(wait(3, 1 << 31), Duration::from_secs(2));
        assert!(wait(3, u32::MAX) < Duration::from_secs(4));
    }

    #[test]
    fn the_last_attempt_leaves_a_dead_letter() {
        assert_eq!(next(&PATIENCE, 8, PLAIN, true, 0), Next::Dead);
        assert_eq!(next(&PATIENCE, 1, Failure::Permanent, true, 0), Next::Dead);
    }

    #[test]
    fn retry_after_wins_within_reason() {
        let asked = |seconds| Failure::Transient { retry_after: Some(Duration::from_secs(seconds)) };
        assert_eq!(next(&PATIENCE, 1, asked(900), true, 7), Next::RetryAfter(Duration::from_secs(900)));
        assert_eq!(next(&PATIENCE, 1, asked(u64::MAX), true, 7), Next::RetryAfter(RETRY_AFTER_MAX));
        assert_eq!(next(&PATIENCE, 8, asked(1), true, 7), Next::Dead);
    }

    #[test]
    fn what_may_have_arrived_is_tried_again_only_where_a_repeat_is_taken_once() {
        let lost = judge(504, None);
        assert_eq!(lost, Answer::Refused(Failure::Ambiguous { retry_after: None }));
        let Answer::Refused(lost) = lost else { panic!("it was refused") };
        assert_eq!(next(&PATIENCE, 1, lost, false, 0), Next::Unknown);
        assert_eq!(next(&PATIENCE, 1, lost, true, 0), Next::RetryAfter(Duration::ZERO));
        assert_eq!(next(&PATIENCE, 8, lost, true, 0), Next::Dead);
        assert_eq!(next(&PATIENCE, 1, PLAIN, false, 0), Next::RetryAfter(Duration::ZERO));
    }

    #[test]
    fn an_answer_is_final_only_if_the_same_message_can_never_be_accepted() {
        let refused = |status| judge(status, None) == Answer::Refused(Failure::Permanent);
        assert_eq!([200, 202, 204].map(|status| judge(status, None)), [Answer::Accepted; 3]);
        assert_eq!([301, 400, 401, 404, 410, 422].map(refused), [true; 6]);
        assert_eq!([408, 429, 500, 502, 503, 504].map(refused), [false; 6]);
    }

    proptest! {
        #[test]
        fn no_wait_is_longer_than_its_ceiling(attempt in 1..8, draw: u32) {
            prop_assert!(wait(attempt, draw) <= ceiling(&PATIENCE, attempt));
        }
    }
}
