//! Evidence and the hash-chained journal of a drill.
//!
//! Two things that a drill leaves behind so that somebody who was not there can follow it: the [`Journal`], in which
//! every step is announced before it is taken, and the evidence folder ([`EvidenceFolder`]), where what was seen is
//! stored before it is judged. Both are durable when the call that wrote them returns.
//!
//! Guaranteed: a line of a closed journal that was edited, removed, inserted or moved is found by [`verify`], and a
//! piece of evidence that was changed is found by [`Evidence::verify`].
//!
//! Not guaranteed: that nobody wrote the whole journal anew. A chain without a signature only ties its lines to each
//! other; whoever can write the folder can forge all of it, or cut a journal that was never closed. The signature comes
//! later, and its place is here: a `bundle` module that signs [`Summary::head`] and the evidence digests of the
//! report. Nothing else in this crate needs to change for that, and this crate stays small enough to be read in one
//! sitting by whoever has to trust it.
//!
//! Not here: what a check means, what a report looks like (`drill::report`), and taking secrets out of text (`redact`).

mod evidence;
mod journal;

pub use evidence::{Evidence, EvidenceDamage, EvidenceError, EvidenceFolder};
pub use journal::{Damage, Entry, Head, Journal, JournalError, Summary, verify};

use sha2::{Digest, Sha256};

/// The SHA-256 of `bytes` in lower-case hex: the one spelling of a digest in journals and reports.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
