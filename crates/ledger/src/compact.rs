//! Fewer, larger objects; and none older than the retention.
//!
//! Segments of an hour that is long over are put together into bundles, which are read back before the segments are
//! taken away. A crash leaves both, and a reader takes each segment once. Any number of processes may compact at once,
//! of any generation: nothing that is recorded is changed, so a fenced one does no harm.
//!
//! Segments that can't be read are left where they are: they are evidence.
//!
//! Not here: when it is called, and with which ages (`scheduler`).

use bytes::Bytes;
use chrono::{DateTime, TimeDelta};
use clock::Timestamp;
use futures::{StreamExt, TryStreamExt};
use ids::SystemId;
use objects::{Listed, Objects, ObjectsError};

use crate::bundle::{self, Bundled};
use crate::dropped;
use crate::error::LedgerError;
use crate::fence;
use crate::segment::{MAX_OBJECT, MAX_SEGMENT, SEGMENTS, Segment, SegmentKey, hour_begins};

/// Objects that are read or deleted at the same time.
const AT_ONCE: usize = 8;

/// How old things must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compaction {
    /// Hours that ended this long ago are bundled. Longer than any process takes to put a segment.
    pub bundle_after: TimeDelta,
    /// Hours that ended this long ago are dropped. A backup that is older can't be restored without forgetting. Never
    /// less than [`Compaction::MIN_RETENTION`].
    pub retention: TimeDelta,
}

impl Compaction {
    pub const MIN_RETENTION: TimeDelta = TimeDelta::days(1);

    #[must_use]
    pub fn keeping(retention: TimeDelta) -> Self {
        Self { bundle_after: TimeDelta::hours(2), retention }
    }
}

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compacted {
    pub bundles: u64,
    /// Segments that lie in a bundle now and no longer by themselves.
    pub bundled: u64,
    /// Objects that were dropped because of their age.
    pub dropped: u64,
}

/// Compacts a system's ledger. May be stopped anywhere, and called again.
///
/// # Errors
/// `Unavailable`, and what [`crate::Reader::open`] says; an empty ledger is none.
pub async fn compact(
    objects: &Objects,
    system: SystemId,
    now: Timestamp,
    ages: Compaction,
) -> Result<Compacted, LedgerError> {
    let mut done = Compacted::default();
    match fence::check_system(objects, system).await {
        Err(LedgerError::Empty) => return Ok(done),
        checked => checked?,
    }
    let folders = objects.folders(SEGMENTS).await;
    let folders = folders.map_err(|error| LedgerError::unavailable("listing the ledger's hours", error))?;
    let retention = ages.retention.max(Compaction::MIN_RETENTION);
    let ended = |folder: &String| hour_begins(folder).map(|begins| begins + TimeDelta::hours(1));
    let older = |folder: &String, age| ended(folder).is_some_and(|ended| ended + age <= now);
    let (old, kept): (Vec<_>, Vec<_>) = folders.into_iter().partition(|folder| older(folder, retention));
    if let Some(kept_from) = old.iter().filter_map(ended).max() {
        dropped::mark(objects, system, kept_from).await?;
        for folder in &old {
            done.dropped += drop_hour(objects, folder).await?;
        }
    }
    for folder in kept.iter().filter(|folder| older(folder, ages.bundle_after)) {
        bundle_hour(objects, system, folder, &mut done).await?;
    }
    Ok(done)
}

async fn drop_hour(objects: &Objects, folder: &str) -> Result<u64, LedgerError> {
    let found = list(objects, folder).await?;
    delete(objects, found.into_iter().map(|found| found.key).collect()).await
}

async fn bundle_hour(
    objects: &Objects,
    system: SystemId,
    folder: &str,
    done: &mut Compacted,
) -> Result<(), LedgerError> {
    let mut found: Vec<(SegmentKey, Listed)> = list(objects, folder)
        .await?
        .into_iter()
        .filter(|found| found.size <= MAX_SEGMENT)
        .filter_map(|found| Some((SegmentKey::parse(&found.key)?, found)))
        .collect();
    if found.len() < 2 {
        return Ok(());
    }
    found.sort_unstable_by_key(|(key, _)| *key);
    let mut ahead = found.into_iter().peekable();
    while ahead.peek().is_some() {
        let mut size = bundle::OVERHEAD as u64;
        let part: Vec<_> = std::iter::from_fn(|| {
            let fits = |next: &(SegmentKey, Listed)| size + next.1.size + bundle::EACH as u64 <= MAX_OBJECT;
            let next = ahead.next_if(|next| size == bundle::OVERHEAD as u64 || fits(next))?;
            size += next.1.size + bundle::EACH as u64;
            Some(next)
        })
        .collect();
        bundle_part(objects, system, folder, part, done).await?;
    }
    Ok(())
}

async fn bundle_part(
    objects: &Objects,
    system: SystemId,
    folder: &str,
    part: Vec<(SegmentKey, Listed)>,
    done: &mut Compacted,
) -> Result<(), LedgerError> {
    let read = futures::stream::iter(part).map(|(key, found)| read(objects, system, key, found));
    let read: Vec<Option<_>> = read.buffered(AT_ONCE).try_collect().await?;
    let (keys, segments): (Vec<String>, Vec<Bundled<Bytes>>) = read.into_iter().flatten().unzip();
    if segments.len() < 2 {
        return Ok(());
    }
    let (key, bytes) = bundle::seal(system, folder, &segments);
    let put = objects.put(&key, bytes.clone()).await;
    put.map_err(|error| LedgerError::unavailable("putting a bundle", error))?;
    let stored = objects.get(&key).await.map_err(|error| LedgerError::unavailable("reading a bundle back", error))?;
    if stored != bytes {
        return Err(LedgerError::Damaged { key, why: "it reads back with other bytes".to_owned() });
    }
    done.bundles += 1;
    done.bundled += delete(objects, keys).await?;
    Ok(())
}

/// `None`: it can't be read, or somebody else has just bundled it.
async fn read(
    objects: &Objects,
    system: SystemId,
    place: SegmentKey,
    found: Listed,
) -> Result<Option<(String, Bundled<Bytes>)>, LedgerError> {
    let frame = match objects.get(&found.key).await {
        Ok(frame) => frame,
        Err(ObjectsError::NotFound(_)) => return Ok(None),
        Err(error) => return Err(LedgerError::unavailable("reading a segment to be bundled", error)),
    };
    let whole = Segment::open(system, &frame).is_ok_and(|segment| segment.link.key() == place);
    let put_at = DateTime::from_timestamp_micros(found.modified_micros).unwrap_or(place.at);
    Ok(whole.then_some((found.key, Bundled { frame, put_at })))
}

async fn list(objects: &Objects, folder: &str) -> Result<Vec<Listed>, LedgerError> {
    let listed = objects.list(&format!("{SEGMENTS}/{folder}")).try_collect().await;
    listed.map_err(|error| LedgerError::unavailable("listing segments", error))
}

async fn delete(objects: &Objects, keys: Vec<String>) -> Result<u64, LedgerError> {
    let delete = |key: String| async move { objects.delete(&key).await };
    let deleting = futures::stream::iter(keys).map(delete).buffer_unordered(AT_ONCE);
    let deleted: Result<Vec<()>, _> = deleting.try_collect().await;
    let deleted = deleted.map_err(|error| LedgerError::unavailable("deleting what is no longer needed", error))?;
    Ok(deleted.len() as u64)
}
