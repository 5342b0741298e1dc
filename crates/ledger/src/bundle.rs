//! Many segments in one object, each as its writer sealed it, with the time at which the store took it.
//!
//! So a bundle says nothing of its own: chains are checked as before, and a bundle that holds the same segments twice,
//! or beside them, changes nothing. Its checksum covers the heads of its segments, and their records through their own
//! checksums: so a reader of a range may pass segments over by their heads, and nothing large is hashed twice.
//!
//! Not here: which segments are bundled, and when (`compact`).

use bytes::Bytes;
use chrono::DateTime;
use clock::Timestamp;
use ids::SystemId;
use sha2::{Digest as _, Sha256};

use crate::codec::Cursor;
use crate::segment::{self, FrameError, FrameKind, SEGMENTS};

/// A segment, unopened.
#[derive(Debug, Clone)]
pub(crate) struct Bundled<B> {
    pub(crate) frame: B,
    /// By the clock of the store.
    pub(crate) put_at: Timestamp,
}

const CHECKSUM: usize = 32;

/// Bytes that a bundle has beside its segments, and beside each.
pub(crate) const OVERHEAD: usize = 256;
pub(crate) const EACH: usize = 8;

/// A bundle's bytes, and its key: equal segments make the same object.
pub(crate) fn seal(system: SystemId, hour: &str, segments: &[Bundled<Bytes>]) -> (String, Bytes) {
    let length = 4 + segments.iter().map(|segment| EACH + segment.frame.len()).sum::<usize>();
    let mut bytes = segment::header(FrameKind::Bundle, system, length);
    bytes.extend(u32::try_from(segments.len()).expect("bundles are bounded").to_be_bytes());
    let mut sum = Sha256::new_with_prefix(&bytes);
    for Bundled { frame, put_at } in segments {
        let put_at = put_at.timestamp_micros().to_be_bytes();
        sum.update(put_at);
        sum.update(segment::head_of(frame));
        sum.update(checksum_of(frame));
        bytes.extend(put_at);
        bytes.extend(frame);
    }
    let sum: [u8; 32] = sum.finalize().into();
    bytes.extend(sum);
    (format!("{SEGMENTS}/{hour}/{PREFIX}{}", hex::encode(&sum[..16])), bytes.into())
}

const PREFIX: &str = "bundle-";

/// Whether `key` is that of a bundle.
pub(crate) fn named(key: &str) -> bool {
    let digits = key.rsplit('/').next().and_then(|name| name.strip_prefix(PREFIX));
    digits.is_some_and(|digits| digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The segments that can be told apart, and whether that is all of them and just as they were bundled.
pub(crate) fn open(system: SystemId, bytes: &[u8]) -> (Vec<Bundled<&[u8]>>, Result<(), FrameError>) {
    let mut segments = Vec::new();
    let whole = take(system, bytes, &mut segments);
    (segments, whole)
}

fn take<'a>(system: SystemId, bytes: &'a [u8], segments: &mut Vec<Bundled<&'a [u8]>>) -> Result<(), FrameError> {
    let mut cursor = Cursor(bytes);
    let header = segment::take_header(FrameKind::Bundle, &mut cursor)?;
    if header.system != system {
        return Err(FrameError::AnotherSystem(header.system));
    }
    let count = cursor.u32()?;
    let mut sum = Sha256::new_with_prefix(&bytes[..bytes.len() - cursor.0.len()]);
    for _ in 0..count {
        let put_at = cursor.i64()?;
        let frame = segment::take_frame(&mut cursor)?;
        sum.update(put_at.to_be_bytes());
        sum.update(segment::head_of(frame));
        sum.update(checksum_of(frame));
        let put_at = DateTime::from_timestamp_micros(put_at).unwrap_or(DateTime::UNIX_EPOCH);
        segments.push(Bundled { frame, put_at });
    }
    if cursor.array::<CHECKSUM>()? != sum.finalize()[..] {
        return Err(FrameError::Checksum);
    }
    cursor.end()?;
    Ok(())
}

/// A frame's last bytes.
fn checksum_of(frame: &[u8]) -> &[u8] {
    &frame[frame.len().saturating_sub(CHECKSUM)..]
}
