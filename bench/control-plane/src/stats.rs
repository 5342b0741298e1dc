//! Percentiles, and work that keeps to a timetable.

use std::time::Duration;

use tokio::time::Instant;

/// Durations of many of the same.
#[derive(Debug, Default, Clone)]
pub(crate) struct Sample(Vec<Duration>);

impl Sample {
    pub(crate) fn add(&mut self, duration: Duration) {
        self.0.push(duration);
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// In milliseconds; the smallest value that `percent` of the sample don't exceed.
    pub(crate) fn percentile_ms(&self, percent: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.max(1) - 1).map_or(f64::NAN, |duration| duration.as_secs_f64() * 1_000.0)
    }
}

impl FromIterator<Duration> for Sample {
    fn from_iter<I: IntoIterator<Item = Duration>>(durations: I) -> Self {
        Self(durations.into_iter().collect())
    }
}

/// When the nth of many is due: `rate` of them a second, whatever became of those before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timetable {
    begun: Instant,
    rate: f64,
}

impl Timetable {
    pub(crate) fn new(rate: f64) -> Self {
        Self { begun: Instant::now(), rate }
    }

    pub(crate) fn due(&self, number: usize) -> Instant {
        self.begun + Duration::from_secs_f64(number as f64 / self.rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_value_that_was_seen() {
        let sample: Sample = (1..=100).map(Duration::from_millis).collect();
        assert_eq!([50.0, 95.0, 100.0].map(|percent| sample.percentile_ms(percent)), [50.0, 95.0, 100.0]);
        assert_eq!(Sample::from_iter([Duration::from_millis(7)]).percentile_ms(50.0), 7.0);
        assert!(Sample::default().percentile_ms(50.0).is_nan());
    }
}
