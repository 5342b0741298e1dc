//! What lies in the ledger's folder: frames (checksummed objects that say whose they are), segments in them, and the
//! keys that segments have.
//!
//! Not here: many segments in one object (`bundle`), putting and finding them (`writer`, `reader`), who may write
//! (`fence`).

use chrono::{DateTime, NaiveDateTime, SubsecRound as _};
use clock::Timestamp;
use ids::{SystemId, WriterId};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::codec::{Cursor, Malformed};
use crate::record::{Entry, Record};

/// What every object begins with.
const MAGIC: [u8; 8] = *b"cowledgr";
/// The version that this program writes, and the newest that it reads.
pub(crate) const FORMAT: u16 = 1;
const HEADER: usize = 8 + 2 + 1 + 1 + 16 + 4;
const CHECKSUM: usize = 32;
const SEGMENT_HEADER: usize = 8 + 16 + 8 + 32 + 8 + 8 + 4;

/// Records of one segment take at most this many bytes.
pub(crate) const MAX_BODY: usize = 1 << 20;
/// No segment is larger.
pub(crate) const MAX_SEGMENT: u64 = (MAX_BODY + HEADER + SEGMENT_HEADER + CHECKSUM) as u64;
/// No object of the ledger is larger. A reader refuses one that is, unread.
pub(crate) const MAX_OBJECT: u64 = 4 << 20;

/// The folder of segments, by hours.
pub(crate) const SEGMENTS: &str = "segments";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameKind {
    System = 1,
    Generation = 2,
    Segment = 3,
    Bundle = 4,
    Dropped = 5,
}

/// Why bytes are not the frame that was looked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    /// A beginning of a frame: what a write that was cut off leaves behind.
    #[error("it ends early")]
    Torn,
    #[error("it is no object of a ledger")]
    Magic,
    #[error("it has format {0}, and this program reads format {FORMAT}")]
    Newer(u16),
    #[error("its checksum does not match its bytes")]
    Checksum,
    #[error("it belongs to the system {0}")]
    AnotherSystem(SystemId),
    #[error("it does not hold what its key says")]
    Misplaced,
    #[error("{0}")]
    Malformed(#[from] Malformed),
}

pub(crate) fn header(kind: FrameKind, system: SystemId, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + length + CHECKSUM);
    bytes.extend(MAGIC);
    bytes.extend(FORMAT.to_be_bytes());
    bytes.extend([kind as u8, 0]);
    bytes.extend(system.as_uuid().as_bytes());
    bytes.extend(u32::try_from(length).expect("payloads are bounded").to_be_bytes());
    bytes
}

/// The bytes of an object, and its checksum.
pub(crate) fn seal(kind: FrameKind, system: SystemId, payload: &[u8]) -> (Vec<u8>, [u8; 32]) {
    let mut bytes = header(kind, system, payload.len());
    bytes.extend(payload);
    let checksum: [u8; 32] = Sha256::digest(&bytes).into();
    bytes.extend(checksum);
    (bytes, checksum)
}

/// What a frame says of itself before its payload.
pub(crate) struct Header {
    pub(crate) system: SystemId,
    /// Of the payload.
    pub(crate) length: usize,
}

/// Takes the header off `cursor`.
pub(crate) fn take_header(kind: FrameKind, cursor: &mut Cursor<'_>) -> Result<Header, FrameError> {
    let torn = |_: Malformed| FrameError::Torn;
    let magic = cursor.slice(MAGIC.len().min(cursor.0.len())).map_err(torn)?;
    if !MAGIC.starts_with(magic) {
        return Err(FrameError::Magic);
    }
    let format = u16::from_be_bytes(cursor.array().map_err(torn)?);
    // First of all: only what stands before this is the same in every format.
    if format > FORMAT {
        return Err(FrameError::Newer(format));
    }
    let [found, reserved] = cursor.array().map_err(torn)?;
    let system: SystemId = cursor.id().map_err(torn)?;
    let length = cursor.u32().map_err(torn)? as usize;
    if format == 0 || found != kind as u8 || reserved != 0 {
        return Err(FrameError::Misplaced);
    }
    Ok(Header { system, length })
}

/// The system, payload and checksum of an object.
pub(crate) fn open(kind: FrameKind, bytes: &[u8]) -> Result<(SystemId, &[u8], [u8; 32]), FrameError> {
    let torn = |_: Malformed| FrameError::Torn;
    let mut cursor = Cursor(bytes);
    let header = take_header(kind, &mut cursor)?;
    let payload = cursor.slice(header.length).map_err(torn)?;
    let checksum: [u8; 32] = cursor.array().map_err(torn)?;
    if Sha256::digest(&bytes[..HEADER + header.length])[..] != checksum {
        return Err(FrameError::Checksum);
    }
    cursor.end()?;
    Ok((header.system, payload, checksum))
}

/// Takes a whole frame off `cursor`, as it is.
pub(crate) fn take_frame<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8], FrameError> {
    let mut ahead = Cursor(cursor.0);
    let header = take_header(FrameKind::Segment, &mut ahead)?;
    let length = HEADER.saturating_add(header.length).saturating_add(CHECKSUM);
    cursor.slice(length).map_err(|_| FrameError::Torn)
}

/// A segment's frame up to its records.
pub(crate) fn head_of(frame: &[u8]) -> &[u8] {
    &frame[..frame.len().min(HEADER + SEGMENT_HEADER)]
}

/// The instant that stands in a segment's frame, before anything of it is checked.
pub(crate) fn peek_at(frame: &[u8]) -> Result<Timestamp, FrameError> {
    let mut cursor = Cursor(frame);
    take_header(FrameKind::Segment, &mut cursor)?;
    Ok(take_link(&mut cursor)?.at)
}

/// A segment's place in its writer's chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) generation: i64,
    pub(crate) writer: WriterId,
    /// From 1, without holes.
    pub(crate) sequence: u64,
    /// When it was closed.
    pub(crate) at: Timestamp,
    /// Checksum of the writer's segment before this one. Zeros in the first.
    pub(crate) previous: [u8; 32],
    /// When that one was closed. The epoch in the first.
    pub(crate) previous_at: Timestamp,
}

/// A segment as it was read, whole and in its place.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) link: Link,
    pub(crate) checksum: [u8; 32],
    pub(crate) entries: Vec<Entry>,
}

impl Segment {
    /// The bytes of a segment whose `count` records are `body`, and its checksum.
    pub(crate) fn seal(system: SystemId, link: &Link, count: u32, body: &[u8]) -> (Vec<u8>, [u8; 32]) {
        let mut payload = Vec::with_capacity(SEGMENT_HEADER + body.len());
        payload.extend(link.generation.to_be_bytes());
        payload.extend(link.writer.as_uuid().as_bytes());
        payload.extend(link.sequence.to_be_bytes());
        payload.extend(link.previous);
        payload.extend(link.previous_at.timestamp_micros().to_be_bytes());
        payload.extend(link.at.timestamp_micros().to_be_bytes());
        payload.extend(count.to_be_bytes());
        payload.extend(body);
        seal(FrameKind::Segment, system, &payload)
    }

    /// Reads a segment of `system`. Whether it lies where its key says is for the caller to see.
    pub(crate) fn open(system: SystemId, bytes: &[u8]) -> Result<Self, FrameError> {
        let (found, payload, checksum) = open(FrameKind::Segment, bytes)?;
        if found != system {
            return Err(FrameError::AnotherSystem(found));
        }
        let mut cursor = Cursor(payload);
        let link = take_link(&mut cursor)?;
        let count = cursor.u32()? as usize;
        // The shortest record has two bytes: a count that promises more than is there allocates nothing.
        let mut entries = Vec::with_capacity(count.min(cursor.0.len() / 2));
        let Link { generation, writer, at, .. } = link;
        for _ in 0..count {
            entries.push(Entry { at, generation, writer, record: Record::decode(&mut cursor)? });
        }
        cursor.end()?;
        Ok(Self { link, checksum, entries })
    }
}

fn take_link(cursor: &mut Cursor<'_>) -> Result<Link, Malformed> {
    let generation = cursor.i64()?;
    let writer = cursor.id()?;
    let sequence = u64::from_be_bytes(cursor.array()?);
    let previous = cursor.array()?;
    let previous_at = cursor.instant()?;
    let at = cursor.instant()?;
    Ok(Link { generation, writer, sequence, at, previous, previous_at })
}

/// What a segment's key says of it, so that a reader of a range opens only what lies in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SegmentKey {
    pub(crate) writer: WriterId,
    pub(crate) sequence: u64,
    pub(crate) at: Timestamp,
    pub(crate) generation: i64,
}

impl Link {
    pub(crate) fn key(&self) -> SegmentKey {
        SegmentKey { writer: self.writer, sequence: self.sequence, at: self.at, generation: self.generation }
    }
}

impl std::fmt::Display for SegmentKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (hour, at) = (hour(self.at), self.at.timestamp_micros());
        let writer = self.writer.as_uuid().simple();
        write!(out, "{SEGMENTS}/{hour}/{at:016}-{:010}-{writer}-{:010}", self.generation, self.sequence)
    }
}

impl SegmentKey {
    /// `None`: no key that this program would give to a segment.
    pub(crate) fn parse(key: &str) -> Option<Self> {
        let mut parts = key.rsplit('/').next()?.split('-');
        let at = DateTime::from_timestamp_micros(parts.next()?.parse().ok()?)?;
        let generation = parts.next()?.parse().ok()?;
        let writer = WriterId::from(Uuid::try_parse(parts.next()?).ok()?);
        let sequence = parts.next()?.parse().ok()?;
        let parsed = Self { writer, sequence, at, generation };
        (parsed.to_string() == key).then_some(parsed)
    }
}

/// The folder, below [`SEGMENTS`], of what was closed at `at`. Sorts like time.
pub(crate) fn hour(at: Timestamp) -> String {
    at.trunc_subsecs(0).format("%Y%m%d%H").to_string()
}

/// When the hour of such a folder began. `None`: it is no such folder.
pub(crate) fn hour_begins(folder: &str) -> Option<Timestamp> {
    let begins = NaiveDateTime::parse_from_str(&format!("{folder}0000"), "%Y%m%d%H%M%S").ok()?.and_utc();
    (hour(begins) == folder).then_some(begins)
}
