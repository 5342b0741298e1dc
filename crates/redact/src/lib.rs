//! Takes secrets out of text, and finds secrets in text.
//!
//! Two tools for two questions. [`Redactor`] stands in front of everything that leaves (log sink, report, evidence): it
//! removes the secrets it was told of, and whatever looks like one. [`Scanner`] judges what did leave: it looks for
//! planted values in many encodings and says where it found which, never repeating one.
//!
//! Not guaranteed: that an unknown secret of unknown shape is recognised. Patterns are a net under the callers, who
//! should not log secrets in the first place.
//!
//! Not here: formats that are not unpacked (xz, bzip2, 7z and others), pictures of text, ciphers. The scanner says where it met
//! something that it could not look into.

mod class;
mod encoding;
mod engine;
mod escapes;
mod findings;
mod interest;
mod known;
mod layer;
mod members;
mod patterns;
mod redactor;
mod rules;
mod runs;
mod scanner;

pub use class::CanaryClass;
pub use encoding::Encoding;
pub use engine::Limits;
pub use findings::{Findings, Hit, MAX_HITS, Reason, Unseen, What};
pub use redactor::Redactor;
pub use scanner::{Needle, NeedleTooShort, Scanner};

/// The shortest value, in bytes, that can be told from chance in every encoding. A shorter one is neither redacted nor
/// searched for, and whoever registers it is told.
pub const MIN_LENGTH: usize = 6;
