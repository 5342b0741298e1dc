//! The recovery ledger: what a restore must not forget.
//!
//! A restore winds rows back, but not the world: messages were sent, slots fired, tokens revoked, people erased. So
//! each of these is written down here, outside of what is wound back: the intent before the effect leaves, the outcome
//! after it. FORMAT.md says how, precisely enough to read a ledger without this program.
//!
//! Writing is [`Ledger`], reading [`Reader`], what entries add up to [`Summary`], fencing [`begin_generation`].
//!
//! Not here: what is done about it on a restore (`store`), and which effects are recorded (whoever has them).

mod bundle;
mod chain;
mod codec;
mod compact;
mod digest;
mod dropped;
mod error;
mod fence;
mod finding;
mod fold;
mod ledger;
mod reach;
mod reader;
mod record;
mod segment;
mod writer;

pub use crate::compact::{Compacted, Compaction, compact};
pub use crate::digest::DigestKey;
pub use crate::error::LedgerError;
pub use crate::fence::{GenerationMarker, NewGeneration, begin_generation, generations, newest_generation};
pub use crate::finding::{Finding, Findings};
pub use crate::fold::{DeliveryFact, DeliveryVerdict, SlotVerdict, Summary};
pub use crate::ledger::{Identity, Ledger, Settings};
pub use crate::reach::{BEFORE_SNAPSHOT, Reach};
pub use crate::reader::{CLOCK_TOLERANCE, Entries, LATE_AT_MOST, Reader, Tally};
pub use crate::record::{Digest, Entry, Environment, Key, Label, Outcome, Record};

#[cfg(test)]
mod tests;
