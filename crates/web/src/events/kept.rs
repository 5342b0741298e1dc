//! The newest events of a tail: the messages that streams send, made once, bounded in number and bytes.
//!
//! Not here: where they come from (`session`, `feed`), who reads them (`follow`).

use std::sync::Arc;

use axum::body::Bytes;

/// Events that a tail keeps.
const KEPT: usize = 256;
/// Bytes of their frames, at most; the newest event is kept whatever its size.
const KEPT_BYTES: usize = 256 * 1024;

/// An event as a stream sends it, and its place in the order of the stream.
#[derive(Debug, Clone)]
pub(crate) struct Frame<P> {
    pub(crate) place: P,
    pub(crate) bytes: Bytes,
}

/// All events between two places, up to the newest that the tail has seen.
#[derive(Debug, Clone)]
pub(crate) struct Kept<P> {
    /// Everything after it is kept.
    after: P,
    frames: Arc<[Frame<P>]>,
}

impl<P: Copy + Ord> Kept<P> {
    pub(crate) fn nothing_after(after: P) -> Self {
        Self { after, frames: Arc::new([]) }
    }

    /// The frames past `place`; `None`: they begin before what is kept.
    pub(crate) fn past(&self, place: P) -> Option<&[Frame<P>]> {
        (place >= self.after).then(|| &self.frames[self.frames.partition_point(|frame| frame.place <= place)..])
    }

    pub(crate) fn after(&self) -> P {
        self.after
    }

    pub(crate) fn last(&self) -> P {
        self.frames.last().map_or(self.after, |frame| frame.place)
    }

    /// With `new` at its end and no more than may be kept.
    pub(crate) fn with(&self, new: Vec<Frame<P>>) -> Self {
        let all: Vec<Frame<P>> = self.frames.iter().cloned().chain(new).collect();
        let mut bytes = 0;
        let fits = |frame: &&Frame<P>| {
            bytes += frame.bytes.len();
            bytes <= KEPT_BYTES
        };
        let count = all.iter().rev().take(KEPT).take_while(fits).count().max(1);
        let dropped = all.len().saturating_sub(count);
        let after = all[..dropped].last().map_or(self.after, |frame| frame.place);
        Self { after, frames: all.into_iter().skip(dropped).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(places: std::ops::RangeInclusive<i64>, size: usize) -> Vec<Frame<i64>> {
        places.map(|place| Frame { place, bytes: vec![b'x'; size].into() }).collect()
    }

    fn places(frames: &[Frame<i64>]) -> Vec<i64> {
        frames.iter().map(|frame| frame.place).collect()
    }

    #[test]
    fn a_reader_within_what_is_kept_gets_exactly_what_it_has_not_seen() {
        let kept = Kept::nothing_after(7).with(frames(8..=10, 1));
        assert_eq!(places(kept.past(7).unwrap()), [8, 9, 10]);
        assert_eq!(places(kept.past(9).unwrap()), [10]);
        assert!(kept.past(10).unwrap().is_empty() && kept.past(11).unwrap().is_empty());
        assert!(kept.past(6).is_none(), "what came before is in the database");
    }

    #[test]
    fn what_is_kept_is_bounded_in_events_and_in_bytes() {
        let kept = Kept::nothing_after(0).with(frames(1..=300, 1)).with(frames(301..=310, 1));
        assert_eq!((kept.after, kept.frames.len(), kept.last()), (54, KEPT, 310));
        let kept = kept.with(frames(311..=313, KEPT_BYTES / 2));
        assert_eq!(places(&kept.frames), [312, 313]);
        assert_eq!(places(&kept.with(frames(314..=314, KEPT_BYTES * 2)).frames), [314]);
    }
}
