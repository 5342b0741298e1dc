//! Reading a ledger by time.
//!
//! In bounded memory: an hour's keys, a few segments, and the end of each writer's chain. Opens only segments whose key
//! says that they lie in the range. Writes nothing.
//!
//! Promised: entries come hour by hour; what was put before the reading began is found. Not promised: the order within
//! an hour, and that of writers among each other. What adds entries up must not depend on it (`fold` does not).

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, NaiveDateTime, TimeDelta};
use clock::Timestamp;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use ids::SystemId;
use objects::{Objects, ObjectsError};

use crate::chain::Chains;
use crate::error::LedgerError;
use crate::fence;
use crate::finding::{Finding, Findings};
use crate::record::Entry;
use crate::segment::{FrameError, MAX_OBJECT, SEGMENTS, Segment, SegmentKey, hour};

/// Objects that are read at the same time.
const AT_ONCE: usize = 8;

/// Clocks that differ by no more are in step.
pub const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(5);

/// A system's ledger, to be read.
#[derive(Debug, Clone)]
pub struct Reader {
    objects: Objects,
    system: SystemId,
    now: Timestamp,
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
    position: Timestamp,
    reading: BoxStream<'static, (Found, Result<Bytes, ObjectsError>)>,
    ready: VecDeque<Entry>,
    chains: Chains,
    findings: Findings,
    tally: Tally,
    ended: bool,
}

/// A segment that a listing found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    at: Timestamp,
    name: String,
    key: SegmentKey,
}

impl Reader {
    /// `now`: to see whether clocks are far apart.
    ///
    /// # Errors
    /// `Empty` if nobody has written here: then nothing is remembered, and the caller has to say so. `AnotherSystem`,
    /// `NewerFormat`, `Damaged`: this is not the ledger that was meant, or it can't be read. `Unavailable`.
    pub async fn open(objects: Objects, system: SystemId, now: Timestamp) -> Result<Self, LedgerError> {
        fence::check_system(&objects, system).await?;
        Ok(Self { objects, system, now })
    }

    /// What was recorded at `from` or later, by the clocks of the writers: go back by as much as they may differ.
    #[must_use]
    pub fn entries(&self, from: Timestamp) -> Entries {
        Entries {
            reader: self.clone(),
            from,
            hours: None,
            position: from,
            reading: futures::stream::empty().boxed(),
            ready: VecDeque::new(),
            chains: Chains::default(),
            findings: Findings::default(),
            tally: Tally::default(),
            ended: false,
        }
    }

    async fn hours(&self, from: Timestamp) -> Result<VecDeque<String>, LedgerError> {
        let folders = self.objects.folders(SEGMENTS).await;
        let folders = folders.map_err(|error| LedgerError::unavailable("listing the ledger's hours", error))?;
        let first = hour(from);
        Ok(folders.into_iter().filter(|folder| *folder >= first).collect())
    }

    /// The segments of an hour that lie in the range, in the order of their instants.
    async fn segments(&self, hour: &str, from: Timestamp, findings: &mut Findings) -> Result<Vec<Found>, LedgerError> {
        let mut found = Vec::new();
        let mut listed = self.objects.list(&format!("{SEGMENTS}/{hour}"));
        while let Some(object) =
            listed.try_next().await.map_err(|error| LedgerError::unavailable("listing segments", error))?
        {
            let Some(key) = SegmentKey::parse(&object.key) else {
                findings.add(Finding::Stray { key: object.key });
                continue;
            };
            if object.size > MAX_OBJECT {
                findings.add(Finding::Damaged { key: object.key, why: format!("it has {} bytes", object.size) });
            } else if key.at >= from {
                found.push(Found { at: key.at, name: object.key, key });
            }
        }
        found.sort_unstable();
        Ok(found)
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

    /// Like [`Entries::next`], but all that is at hand at once; never an empty list.
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

    /// What was wrong so far. Holes are known at the end only.
    #[must_use]
    pub fn findings(&self) -> &Findings {
        &self.findings
    }

    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Reads one more object. `false`: there is none.
    async fn read(&mut self) -> Result<bool, LedgerError> {
        if let Some((found, bytes)) = self.reading.next().await {
            match bytes {
                Ok(bytes) => self.take(found, &bytes),
                // Its chain will have a hole there.
                Err(ObjectsError::NotFound(_)) => {}
                Err(error) => return Err(LedgerError::unavailable("reading a segment", error)),
            }
            return Ok(true);
        }
        if self.hours.is_none() {
            self.hours = Some(self.reader.hours(self.from).await?);
        }
        let Some(hour) = self.hours.as_mut().and_then(VecDeque::pop_front) else {
            if !std::mem::replace(&mut self.ended, true) {
                self.chains.finish(self.from, &mut self.findings);
            }
            return Ok(false);
        };
        let Some(begins) = hour_begins(&hour) else {
            self.findings.add(Finding::Stray { key: format!("{SEGMENTS}/{hour}") });
            return Ok(true);
        };
        self.position = begins.max(self.from);
        let found = self.reader.segments(&hour, self.from, &mut self.findings).await?;
        let objects = Arc::new(self.reader.objects.clone());
        let get = move |found: Found| {
            let objects = objects.clone();
            async move {
                let bytes = objects.get(&found.name).await;
                (found, bytes)
            }
        };
        self.reading = futures::stream::iter(found).map(get).buffered(AT_ONCE).boxed();
        Ok(true)
    }

    fn take(&mut self, found: Found, bytes: &[u8]) {
        self.tally.objects += 1;
        self.tally.bytes += bytes.len() as u64;
        let Found { name: key, key: place, .. } = found;
        match Segment::open(self.reader.system, &place, bytes) {
            Ok(segment) => self.accept(segment),
            Err(FrameError::Torn) => self.chains.torn(place.writer, place.sequence, key),
            Err(FrameError::Newer(format)) => self.findings.add(Finding::NewerFormat { key, format }),
            Err(FrameError::AnotherSystem(system)) => self.findings.add(Finding::AnotherSystem { key, system }),
            Err(error) => self.findings.add(Finding::Damaged { key, why: error.to_string() }),
        }
    }

    fn accept(&mut self, segment: Segment) {
        let link = &segment.link;
        let (writer, sequence) = (link.writer, link.sequence);
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
        self.tally.segments += 1;
        self.tally.records += segment.records.len() as u64;
        self.ready.extend(segment.into_entries());
    }
}

impl std::fmt::Debug for Entries {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Entries").field("from", &self.from).field("tally", &self.tally).finish_non_exhaustive()
    }
}

fn hour_begins(folder: &str) -> Option<Timestamp> {
    let begins: DateTime<chrono::Utc> =
        NaiveDateTime::parse_from_str(&format!("{folder}0000"), "%Y%m%d%H%M%S").ok()?.and_utc();
    (hour(begins) == folder).then_some(begins)
}
