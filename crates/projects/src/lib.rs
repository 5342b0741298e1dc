//! What a session's workspace begins with: archives that people send, read with limits, and packed anew.
//!
//! An archive is somebody else's program for our disk, so nothing of it reaches one before all of it was read. What is taken is
//! packed in a form of our own (a tar with sorted-out names, no owners and no times, under zstd), which workers unpack; the same
//! archive gives the same bytes. An archive with something that no honest one has (a path or a link that leads out, two names that
//! are one on other machines) is refused whole, with what it was. A link that stays inside is kept. What is honest and does not belong into a workspace (secrets, the
//! history of a repository) is left out, and told.
//!
//! Not promised: that no secret gets in. Names are looked at, not contents.
//!
//! Not here: where archives come from and where packed ones are kept (`web`, `store`).

mod name;
mod pack;
mod read;
mod unpack;

pub use crate::pack::{Format, LeftOut, PackError, Packed, Refusal, pack, pack_tar};
pub use crate::unpack::{UnpackError, unpack};

/// Bytes of an archive.
pub const ARCHIVE_MAX: usize = 64 << 20;
/// Bytes of all files of one, unpacked.
pub const UNPACKED_MAX: u64 = 256 << 20;
/// Bytes of one file, unpacked.
pub const FILE_MAX: u64 = 64 << 20;
/// Files and folders that an archive names, whether they are taken or not.
pub const ENTRIES_MAX: usize = 20_000;
/// An archive that unpacks to more than this times its own size is no archive of files that people work with.
pub const RATIO_MAX: u64 = 200;
/// So much may unpack from however few bytes.
const RATIO_FROM: u64 = 4 << 20;
/// Bytes that headers and padding of all entries may take in a tar.
const AROUND: u64 = 64 << 20;
/// What was refused or left out is told up to so many.
pub const TOLD_MAX: usize = 100;
