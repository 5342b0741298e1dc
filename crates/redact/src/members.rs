//! Compressed members: where one may begin, and unpacking it, within limits, while it arrives.
//!
//! What follows a member's first bytes may be anything, so unpacking is tried and given up at the first error. Only a
//! member that had given a good deal before it failed counts as damaged; all others were never one.
//!
//! Not here: xz, bzip2, 7z and other formats that are not unpacked; the first bytes of an input tell those that are
//! known.

use std::fmt;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder as Zstd, Operation};

use crate::encoding::Encoding;
use crate::findings::Reason;

/// What was unpacked before an error, in bytes, that makes it a damaged member rather than chance.
const CREDIBLE: u64 = 256;
/// The largest window of a zstd frame that is kept in memory: 2^27 is what its own program takes.
const ZSTD_WINDOW_LOG: u32 = 27;
/// zlib's largest window, with its gzip header.
const GZIP_WINDOW: u8 = 15;

/// The beginning of something compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Magic {
    Gzip,
    Zlib,
    Zip,
    Zstd,
    GzipReversed,
    ZstdReversed,
    ZlibReversed,
}

const MAGICS: [(&[u8], Magic); 13] = [
    (b"\x1f\x8b\x08", Magic::Gzip),
    (b"\x28\xb5\x2f\xfd", Magic::Zstd),
    (b"PK\x03\x04", Magic::Zip),
    (b"x\x01", Magic::Zlib),
    (b"x\x5e", Magic::Zlib),
    (b"x\x9c", Magic::Zlib),
    (b"x\xda", Magic::Zlib),
    (b"\x08\x8b\x1f", Magic::GzipReversed),
    (b"\xfd\x2f\xb5\x28", Magic::ZstdReversed),
    (b"\x01x", Magic::ZlibReversed),
    (b"\x5ex", Magic::ZlibReversed),
    (b"\x9cx", Magic::ZlibReversed),
    (b"\xdax", Magic::ZlibReversed),
];

/// How formats begin that are not unpacked.
const FOREIGN: [&[u8]; 7] = [
    b"\xfd7zXZ\0",
    b"BZh",
    b"7z\xbc\xaf\x27\x1c",
    b"Rar!\x1a\x07",
    b"\x04\x22\x4d\x18",
    b"PGDMP",
    b"age-encryption.org/v1",
];

/// The longest of the above, and a zip member's fixed header.
pub(crate) const LONGEST_HEADER: usize = 30;

/// Unpacks one member.
pub(crate) enum Decoder {
    Inflate(Decompress),
    Zstd(Zstd<'static>),
}

/// What one step of unpacking did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) read: usize,
    pub(crate) written: usize,
    pub(crate) ended: bool,
}

/// What stands at a place that begins like a member.
#[derive(Debug)]
pub(crate) enum Start {
    /// A member; so many bytes of header come before what a decoder takes.
    Member(Decoder, Encoding, usize),
    Unreadable,
    /// Nothing of the kind.
    Chance,
    /// More of the input must be known.
    Short,
}

impl fmt::Debug for Decoder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Inflate(_) => "Inflate",
            Self::Zstd(_) => "Zstd",
        })
    }
}

/// The next place from `from` on where something compressed may begin (or, reversed, end): its place, its length and what it may be.
pub(crate) fn next_magic(text: &[u8], from: usize) -> Option<(usize, usize, Magic)> {
    static FINDER: LazyLock<AhoCorasick> = LazyLock::new(|| {
        let finder = AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(MAGICS.map(|(magic, _)| magic));
        finder.expect("the patterns are constants")
    });
    let found = FINDER.find(text.get(from..)?)?;
    Some((from + found.start(), found.len(), MAGICS[found.pattern().as_usize()].1))
}

/// Whether `text` begins like a format that is not unpacked.
pub(crate) fn is_foreign(text: &[u8]) -> bool {
    FOREIGN.iter().any(|magic| text.starts_with(magic))
}

impl Magic {
    pub(crate) fn is_reversed(self) -> bool {
        matches!(self, Self::GzipReversed | Self::ZstdReversed | Self::ZlibReversed)
    }

    /// The decoder for `text`, which begins with this.
    pub(crate) fn start(self, text: &[u8]) -> Start {
        match self {
            // The flags beyond the fifth are reserved.
            Self::Gzip | Self::GzipReversed => match text.get(3) {
                None => Start::Short,
                Some(flags) if flags & 0xe0 != 0 => Start::Chance,
                Some(_) => Start::Member(Decoder::gzip(), Encoding::Gzip, 0),
            },
            Self::Zlib | Self::ZlibReversed => match text {
                // A block of the type that doesn't exist.
                [_, _, first, ..] if first & 6 == 6 => Start::Chance,
                [_, _, _, ..] => Start::Member(Decoder::Inflate(Decompress::new(true)), Encoding::Zlib, 0),
                _ => Start::Short,
            },
            Self::Zstd | Self::ZstdReversed => {
                Decoder::zstd().map_or(Start::Unreadable, |decoder| Start::Member(decoder, Encoding::Zstd, 0))
            }
            Self::Zip => zip(text),
        }
    }
}

/// A member without any header, if `text` can begin one: text can't, and what is stored as it is needs no unpacking.
pub(crate) fn headless(text: &[u8]) -> Option<Decoder> {
    let coded = text.len() >= 12 && matches!(text[0] & 6, 2 | 4) && !text[..12].is_ascii();
    coded.then(|| Decoder::Inflate(Decompress::new(false)))
}

fn zip(text: &[u8]) -> Start {
    let Some(header) = text.first_chunk::<LONGEST_HEADER>() else { return Start::Short };
    let number = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    let (version, flags, method) = (number(4), number(6), number(8));
    let length = LONGEST_HEADER + usize::from(number(26)) + usize::from(number(28));
    match method {
        _ if version > 100 => Start::Chance,
        _ if flags & 1 == 1 => Start::Unreadable,
        // Stored as it is, or beginning with a magic of its own.
        0 | 93 => Start::Chance,
        8 => Start::Member(Decoder::Inflate(Decompress::new(false)), Encoding::Zip, length),
        _ => Start::Unreadable,
    }
}

impl Decoder {
    fn gzip() -> Self {
        Self::Inflate(Decompress::new_gzip(GZIP_WINDOW))
    }

    fn zstd() -> std::io::Result<Self> {
        let mut decoder = Zstd::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG))?;
        Ok(Self::Zstd(decoder))
    }

    /// Whether `input` unpacks to something, as far as a look at its beginning tells.
    pub(crate) fn unpacks(&mut self, input: &[u8]) -> bool {
        let mut out = [0; CREDIBLE as usize];
        let step = self.step(input, &mut out);
        step.is_some_and(|step| step.ended && step.written > 0 || step.written as u64 == CREDIBLE)
    }

    /// Unpacks some of `input` into `out`. `None`: it is not what the decoder takes.
    pub(crate) fn step(&mut self, input: &[u8], out: &mut [u8]) -> Option<Step> {
        match self {
            Self::Inflate(inflate) => {
                let (read, written) = (inflate.total_in(), inflate.total_out());
                let status = inflate.decompress(input, out, FlushDecompress::None).ok()?;
                let moved = |now: u64, before: u64| usize::try_from(now - before).unwrap_or(usize::MAX);
                let read = moved(inflate.total_in(), read);
                Some(Step { read, written: moved(inflate.total_out(), written), ended: status == Status::StreamEnd })
            }
            Self::Zstd(zstd) => {
                let status = zstd.run_on_buffers(input, out).ok()?;
                let ended = status.remaining == 0;
                Some(Step { read: status.bytes_read, written: status.bytes_written, ended })
            }
        }
    }
}

/// What it means that a member ended with an error after `unpacked` bytes.
pub(crate) fn failure(step: Encoding, unpacked: u64) -> Option<Reason> {
    let marked = matches!(step, Encoding::Gzip | Encoding::Zip | Encoding::Zstd);
    (marked && unpacked >= CREDIBLE).then_some(Reason::Damaged)
}
