//! What a stream sends: every event past a place, in order, once; and a comment now and then.
//!
//! A reader that does not read is not asked for more, so nothing piles up for it. One that took too long for a single message is sent
//! away when it reads again, so that it does not live on what it would only read late; it comes back with `Last-Event-ID`.
//!
//! Not here: what is new (`tails`), that a stream ends with the right to read it (`readers`).

use std::time::Duration;

use axum::body::Bytes;
use futures::Stream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::events::kept::Frame;
use crate::events::tails::Followed;

/// A comment so often, so that both sides notice a dead connection.
const HEARTBEAT: Duration = Duration::from_secs(15);
const COMMENT: &[u8] = b":\n\n";
/// How long a reader may take for one message.
const SLOW: Duration = Duration::from_secs(60);

/// `page` reads what is past a place from the database. It gives nothing where nothing is, and `None` to end the stream.
pub(crate) fn follow<P, F>(
    shutdown: CancellationToken,
    tail: Followed<P>,
    after: P,
    page: impl Fn(P) -> F,
) -> impl Stream<Item = Bytes>
where
    P: Copy + Ord,
    F: Future<Output = Option<Vec<Frame<P>>>>,
{
    follow_within(SLOW, shutdown, tail, after, page)
}

/// For readers that take less than `slow` for a message.
fn follow_within<P, F>(
    slow: Duration,
    shutdown: CancellationToken,
    mut tail: Followed<P>,
    mut after: P,
    page: impl Fn(P) -> F,
) -> impl Stream<Item = Bytes>
where
    P: Copy + Ord,
    F: Future<Output = Option<Vec<Frame<P>>>>,
{
    async_stream::stream! {
        let mut heartbeat = tokio::time::interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        while !shutdown.is_cancelled() {
            let kept = tail.borrow_and_update().clone();
            let (frames, within) = match kept.past(after) {
                Some(frames) => (frames.to_vec(), true),
                None => match page(after).await {
                    // All that is before what is kept was there to be read.
                    Some(frames) if frames.is_empty() => {
                        after = kept.after();
                        continue;
                    }
                    Some(frames) => (frames, false),
                    None => return,
                },
            };
            for frame in frames {
                after = frame.place;
                let handed = Instant::now();
                yield frame.bytes;
                if handed.elapsed() >= slow {
                    return;
                }
            }
            if !within {
                continue;
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                changed = tail.changed() => if changed.is_err() { return },
                _ = heartbeat.tick() => yield Bytes::from_static(COMMENT),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;
    use tokio::sync::watch;

    use super::*;
    use crate::events::kept::Kept;

    fn frames(places: std::ops::RangeInclusive<i64>) -> Vec<Frame<i64>> {
        places.map(|place| Frame { place, bytes: place.to_string().into() }).collect()
    }

    #[tokio::test]
    async fn a_reader_that_takes_too_long_for_a_message_is_sent_away() {
        let (_sender, tail) = watch::channel(Kept::nothing_after(0).with(frames(1..=3)));
        let read = async |slow| {
            let stream = follow_within(slow, CancellationToken::new(), tail.clone(), 0, async |_| None);
            stream.take(3).collect::<Vec<_>>().await
        };
        assert_eq!(read(Duration::ZERO).await, ["1"], "any time is too long");
        assert_eq!(read(SLOW).await, ["1", "2", "3"]);
    }

    #[tokio::test]
    async fn a_reader_behind_the_tail_with_nothing_between_goes_on_with_the_tail() {
        let (_sender, tail) = watch::channel(Kept::nothing_after(7).with(frames(8..=8)));
        let stream = follow(CancellationToken::new(), tail, 2, async |_| Some(Vec::new()));
        assert_eq!(std::pin::pin!(stream).next().await.unwrap(), "8");
    }
}
