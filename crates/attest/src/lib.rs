//! Evidence of a drill, and the seal on it.
//!
//! What a drill leaves behind so that somebody who was not there can follow it: the [`Journal`], in which every step is
//! announced before it is taken; the evidence folder ([`EvidenceFolder`]), where what was seen is stored before it is
//! judged; and the envelope ([`bundle`]), which signs the digests of all of it. The first two are durable when the
//! call that wrote them returns. `attest verify` (`src/bin/attest.rs`) checks a bundle offline.
//!
//! This crate uses nothing else of ours, and is small enough to be read in one sitting by whoever has to trust it.
//! Read in this order: FORMAT.md, `bundle`, `statement`, `envelope`, `journal`, `folder`, `key`,
//! `run_key`.
//!
//! Guaranteed: of a sealed bundle no byte of any file can be changed, no file added, removed or renamed, without
//! [`bundle::verify`] noticing it, as long as the private key is kept.
//!
//! Not guaranteed: that what was signed is true. Who holds the key can sign anything. A bundle without an envelope only
//! ties its journal's lines to each other; whoever can write the folder can forge all of it.
//!
//! Not here: what a check means, what a report looks like (`drill::report`), and taking secrets out of text (`redact`).

pub mod bundle;
pub mod envelope;
mod evidence;
mod folder;
mod journal;
pub mod key;
mod run_key;
pub mod statement;
mod told;

pub use bundle::{Conclusion, Problem, Refusal, SealError, Verified, VerifyError};
pub use envelope::{Envelope, EnvelopeError};
pub use evidence::{Evidence, EvidenceDamage, EvidenceError, EvidenceFolder};
pub use folder::FolderError;
pub use journal::{Damage, Entry, Head, Journal, JournalError, Summary, check, verify};
pub use key::{KeyError, PublicKey, SigningKey};
pub use run_key::RunKey;
pub use statement::{Statement, StatementError};
pub use told::Answer;

use sha2::{Digest, Sha256};

/// The SHA-256 of `bytes` in lower-case hex: the one spelling of a digest in journals and reports.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
