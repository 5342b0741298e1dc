//! What the HTTP of web and gateway has in common, before either knows who is there: ids of requests, who is at the
//! other end, how often somebody may ask, how many of something each may have, and how often somebody may be wrong.
//!
//! Everything here is of one process; another one counts for itself.
//!
//! Not here: when a bucket is empty (`domain::rate`), what is answered then (each has problems of its own), connections
//! (the binary).

mod failures;
mod observe;
mod peer;
mod shares;
mod throttle;

pub use crate::failures::Failures;
pub use crate::observe::{TraceBegins, describe, expect_failures, identify, measure};
pub use crate::peer::{Peer, network};
pub use crate::shares::{Share, Shares};
pub use crate::throttle::{Throttle, Told};
