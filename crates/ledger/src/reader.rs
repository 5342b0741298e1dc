//! Reading a ledger by time.
//!
//! In bounded memory: an hour's keys, a few objects, and the end of each writer's chain. Opens only objects whose key
//! says that they may lie in the range. Writes nothing.
//!
//! Promised: entries come hour by hour, each segment once; what was put before the reading began is found, also while
//! the ledger is being compacted. Not promised: the order within an hour, and that of writers among each other. What
//! adds entries up must not depend on it (`fold` does not).
//!
//! Not here: what is found wrong with chains (`chain`).

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta};
use clock::Timestamp;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use ids::{SystemId, WriterId};
use objects::{Listed, Objects, ObjectsError};

use crate::bundle;
use crate::chain::Chains;
use crate::dropped;
use crate::error::LedgerError;
use crate::fence;
use crate::finding::{Finding, Findings};
use crate::record::Entry;
use crate::segment::{
    self, FrameError, Link, MAX_OBJECT, MAX_SEGMENT, SEGMENTS, Segment, SegmentKey, hour, hour_begins,
};

/// Reads that are under way at the same time.
const AT_ONCE: usize = 4;
/// Segments that are read in one go, as long as they are no larger than a bundle together.
const TOGETHER: usize = 64;

/// Clocks that differ by no more are in step.
pub const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(5);

/// How far before the range is looked for segments that were closed there but put in the range.
pub const LATE_AT_MOST: TimeDelta = TimeDelta::days(1);

/// How often an hour is listed again because objects that had been listed were gone.
const LIST_AGAIN: u32 = 3;

/// A system's ledger, to be read.
#[derive(Debug, Clone)]
pub struct Reader {
    objects: Objects,
    system: SystemId,
    now: Timestamp,
    /// What was closed before this was dropped.
    kept_from: Option<Timestamp>,
}

/// What was read so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Objects that were read.
    pub objects: u64,
    pub bytes: u64,
    pub segments: u64,
    pub records: u64,
}

/// The entries of a range: see [`Reader::entries`].
pub struct Entries {
    reader: Reader,
    from: Timestamp,
    /// `None`: not yet listed.
    hours: Option<VecDeque<String>>,
    hour: Hour,
    position: Timestamp,
    reading: BoxStream<'static, (Found, Result<Bytes, ObjectsError>)>,
    /// Segments of a bundle that was read, not yet opened.
    bundled: VecDeque<(Found, Bytes)>,
    ready: VecDeque<Entry>,
    chains: Chains,
    late: HashMap<WriterId, TimeDelta>,
    findings: Findings,
    tally: Tally,
    ended: bool,
}

/// The hour that is being read.
#[derive(Debug, Default)]
struct Hour {
    folder: String,
    /// Segments that were given out, with their checksums.
    seen: HashMap<SegmentKey, [u8; 32]>,
    /// Objects that were listed, and gone when they were to be read.
    gone: bool,
    listed: u32,
}

/// An object that a listing found.
#[derive(Debug, Clone)]
struct Found {
    name: String,
    /// `None`: a bundle.
    place: Option<SegmentKey>,
    put_at: Timestamp,
    size: u64,
}

impl Reader {
    /// `now`: to see whether clocks are far apart.
    ///
    /// # Errors
    /// `Empty` if nobody has written here: then nothing is remembered, and the caller has to say so. `AnotherSystem`,
    /// `NewerFormat`, `Damaged`: this is not the ledger that was meant, or it can't be read. `Unavailable`.
    pub async fn open(objects: Objects, system: SystemId, now: Timestamp) -> Result<Self, LedgerError> {
        fence::check_system(&objects, system).await?;
        let kept_from = dropped::kept_from(&objects, system).await?;
        Ok(Self { objects, system, now, kept_from })
    }

    /// What was recorded at `from` or later, by the clocks of the writers, or of the store if that says later: so a
    /// writer whose clock is behind by up to [`LATE_AT_MOST`] loses nothing.
    #[must_use]
    pub fn entries(&self, from: Timestamp) -> Entries {
        let mut findings = Findings::default();
        if let Some(kept_from) = self.kept_from.filter(|kept_from| *kept_from > from) {
            findings.add(Finding::Dropped { kept_from });
        }
        let from = self.kept_from.map_or(from, |kept_from| kept_from.max(from));
        Entries {
            reader: self.clone(),
            from,
            hours: None,
            hour: Hour::default(),
            position: from,
            reading: futures::stream::empty().boxed(),
            bundled: VecDeque::new(),
            ready: VecDeque::new(),
            chains: Chains::default(),
            late: HashMap::new(),
            findings,
            tally: Tally::default(),
            ended: false,
        }
    }

    async fn hours(&self, from: Timestamp) -> Result<VecDeque<String>, LedgerError> {
        let folders = self.objects.folders(SEGMENTS).await;
        let folders = folders.map_err(|error| LedgerError::unavailable("listing the ledger's hours", error))?;
        let first = from.checked_sub_signed(LATE_AT_MOST).unwrap_or(DateTime::UNIX_EPOCH);
        let first = hour(self.kept_from.map_or(first, |kept_from| kept_from.max(first)));
        Ok(folders.into_iter().filter(|folder| *folder >= first).collect())
    }

    /// Whether a segment lies in the range.
    fn within(&self, from: Timestamp, at: Timestamp, put_at: Timestamp) -> bool {
        // A store whose clock is ahead of ours says nothing.
        at >= from || (put_at >= from && put_at <= self.now + CLOCK_TOLERANCE)
    }
}

impl Entries {
    /// The next entry. `None`: there are no more, and [`Entries::findings`] is complete.
    ///
    /// # Errors
    /// `Unavailable`: a new reading may begin at [`Entries::position`].
    pub async fn next(&mut self) -> Result<Option<Entry>, LedgerError> {
        while self.ready.is_empty() && self.read().await? {}
        Ok(self.ready.pop_front())
    }

    /// Like [`Entries::next`], but all that is at hand at once; never an empty list. At most a few thousand.
    ///
    /// # Errors
    /// As `next`.
    pub async fn next_many(&mut self) -> Result<Option<Vec<Entry>>, LedgerError> {
        while self.ready.is_empty() && self.read().await? {}
        let many: Vec<Entry> = std::mem::take(&mut self.ready).into();
        Ok((!many.is_empty()).then_some(many))
    }

    /// All that was recorded before this has been given out, so a reading that begins here misses nothing that this one
    /// has not told.
    #[must_use]
    pub fn position(&self) -> Timestamp {
        self.position
    }

    /// What was wrong so far. Complete when there are no more entries: holes are known at the end only.
    #[must_use]
    pub fn findings(&self) -> &Findings {
        &self.findings
    }

    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Does one step. `false`: there is none left.
    async fn read(&mut self) -> Result<bool, LedgerError> {
        if let Some((found, bytes)) = self.bundled.pop_front() {
            self.take_segment(&found, &bytes);
            return Ok(true);
        }
        match self.reading.next().await {
            Some((found, Ok(bytes))) => self.take(&found, &bytes),
            // Somebody has just put it into a bundle. If not, its chain will have a hole there.
            Some((_, Err(ObjectsError::NotFound(_)))) => self.hour.gone = true,
            Some((_, Err(error))) => return Err(LedgerError::unavailable("reading a segment", error)),
            None if self.hour.gone && self.hour.listed < LIST_AGAIN => self.list().await?,
            None => return self.next_hour().await,
        }
        Ok(true)
    }

    async fn next_hour(&mut self) -> Result<bool, LedgerError> {
        if self.hours.is_none() {
            self.hours = Some(self.reader.hours(self.from).await?);
        }
        let Some(folder) = self.hours.as_mut().and_then(VecDeque::pop_front) else {
            self.finish();
            return Ok(false);
        };
        let Some(begins) = hour_begins(&folder) else {
            self.findings.add(Finding::Stray { key: format!("{SEGMENTS}/{folder}") });
            return Ok(true);
        };
        self.position = begins.max(self.from);
        self.hour = Hour { folder, ..Hour::default() };
        self.list().await?;
        Ok(true)
    }

    /// Begins to read what the hour's folder holds and was not given out yet.
    async fn list(&mut self) -> Result<(), LedgerError> {
        let mut found = Vec::new();
        let mut listed = self.reader.objects.list(&format!("{SEGMENTS}/{}", self.hour.folder));
        while let Some(object) =
            listed.try_next().await.map_err(|error| LedgerError::unavailable("listing segments", error))?
        {
            found.extend(self.wanted(object));
        }
        self.hour.gone = false;
        self.hour.listed += 1;
        // Bundles first, then by instant: what lies in a bundle need not be read again.
        found.sort_unstable_by(|one, other| one.order().cmp(&other.order()));
        let objects = self.reader.objects.clone();
        let read = move |found: Vec<Found>| {
            let objects = objects.clone();
            async move {
                let keys = found.iter().map(|found| found.name.clone()).collect();
                let bytes = objects.get_many(keys).await;
                futures::stream::iter(found.into_iter().zip(bytes))
            }
        };
        self.reading = futures::stream::iter(together(found)).map(read).buffered(AT_ONCE).flatten().boxed();
        Ok(())
    }

    /// `None`: not in the range, given out already, or not to be read.
    fn wanted(&mut self, object: Listed) -> Option<Found> {
        let put_at = DateTime::from_timestamp_micros(object.modified_micros).unwrap_or(DateTime::UNIX_EPOCH);
        let place = SegmentKey::parse(&object.key);
        let again = self.hour.listed > 0;
        if place.is_none() && !bundle::named(&object.key) {
            if !again {
                self.findings.add(Finding::Stray { key: object.key });
            }
            return None;
        }
        if object.size > if place.is_some() { MAX_SEGMENT } else { MAX_OBJECT } {
            if !again {
                self.findings.add(Finding::Damaged { key: object.key, why: format!("it has {} bytes", object.size) });
            }
            return None;
        }
        let wanted = place.is_none_or(|place| {
            self.reader.within(self.from, place.at, put_at) && !self.hour.seen.contains_key(&place)
        });
        wanted.then_some(Found { name: object.key, place, put_at, size: object.size })
    }

    fn take(&mut self, found: &Found, bytes: &Bytes) {
        self.tally.objects += 1;
        self.tally.bytes += bytes.len() as u64;
        if found.place.is_some() {
            return self.take_segment(found, bytes);
        }
        let (segments, whole) = bundle::open(self.reader.system, bytes);
        // What the heads say is believed only if the whole is as it was.
        let believed = whole.is_ok();
        if let Err(error) = whole {
            self.refused(&found.name, error);
        }
        for bundled in segments {
            match segment::peek_at(bundled.frame) {
                Ok(at) if believed && !self.reader.within(self.from, at, bundled.put_at) => {}
                Ok(_) => {
                    let of = Found { put_at: bundled.put_at, ..found.clone() };
                    self.bundled.push_back((of, bytes.slice_ref(bundled.frame)));
                }
                Err(error) => self.refused(&found.name, error),
            }
        }
    }

    fn take_segment(&mut self, found: &Found, bytes: &[u8]) {
        match Segment::open(self.reader.system, bytes) {
            Ok(segment) if self.placed(&segment.link, found) => self.accept(segment, found.put_at),
            Ok(_) => self.refused(&found.name, FrameError::Misplaced),
            Err(error) => match (error, found.place) {
                (FrameError::Torn, Some(place)) => {
                    self.chains.torn(place.writer, place.sequence, found.name.clone());
                }
                (error, _) => self.refused(&found.name, error),
            },
        }
    }

    /// Whether it lies where it belongs.
    fn placed(&self, link: &Link, found: &Found) -> bool {
        let key = link.key();
        found.place.map_or_else(|| hour(key.at) == self.hour.folder, |place| place == key)
    }

    fn refused(&mut self, key: &str, error: FrameError) {
        let key = key.to_owned();
        self.findings.add(match error {
            FrameError::Newer(format) => Finding::NewerFormat { key, format },
            FrameError::AnotherSystem(system) => Finding::AnotherSystem { key, system },
            error => Finding::Damaged { key, why: error.to_string() },
        });
    }

    fn accept(&mut self, segment: Segment, put_at: Timestamp) {
        let link = &segment.link;
        let (writer, sequence) = (link.writer, link.sequence);
        match self.hour.seen.insert(link.key(), segment.checksum) {
            Some(checksum) if checksum == segment.checksum => return,
            _ => {}
        }
        if !self.chains.add(link, segment.checksum) {
            self.findings.add(Finding::TwoWriters { writer, sequence });
        }
        let back = link.previous_at - link.at;
        if back > CLOCK_TOLERANCE {
            self.findings.add(Finding::ClockBack { writer, sequence, by: back });
        }
        let ahead = link.at - self.reader.now;
        if ahead > CLOCK_TOLERANCE {
            self.findings.add(Finding::ClockAhead { writer, sequence, by: ahead });
        }
        let late = put_at - link.at;
        if late > CLOCK_TOLERANCE && put_at <= self.reader.now + CLOCK_TOLERANCE {
            let most = self.late.entry(writer).or_insert(late);
            *most = late.max(*most);
        }
        self.tally.segments += 1;
        self.tally.records += segment.entries.len() as u64;
        // Only asked for when nothing is ready any more, so nothing is copied.
        self.ready = segment.entries.into();
    }

    fn finish(&mut self) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.chains.finish(self.from, &mut self.findings);
        for (writer, by) in self.late.drain() {
            self.findings.add(Finding::PutLate { writer, by });
        }
    }
}

impl Found {
    fn order(&self) -> impl Ord + '_ {
        (self.place.map(|place| place.at), self.place, &self.name)
    }
}

/// What is read in one go, in the same order.
fn together(found: Vec<Found>) -> Vec<Vec<Found>> {
    let mut groups: Vec<Vec<Found>> = Vec::new();
    let mut size = 0;
    for found in found {
        match groups.last_mut() {
            Some(group) if group.len() < TOGETHER && size + found.size <= MAX_OBJECT => {
                size += found.size;
                group.push(found);
            }
            _ => {
                size = found.size;
                groups.push(vec![found]);
            }
        }
    }
    groups
}

impl std::fmt::Debug for Entries {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Entries").field("from", &self.from).field("tally", &self.tally).finish_non_exhaustive()
    }
}
