//! How many streams of events a token or a browser session has open at this process, of sessions and feeds together.
//!
//! A stream costs a socket and some memory for as long as it lasts, and is one request, however long that is. So a
//! caller has a share of them, and whoever has all of it is told before another begins, while there is a status to say
//! it with.
//!
//! A stream counts from before its first word until it ended or its reader is gone, whichever comes first and in
//! whatever way: the guard goes with it. A reader that was cut off is noticed when its connection is (`cowork::serve`).
//!
//! Not promised: a number over several web processes; each counts for itself. Not here: how often somebody may ask
//! (`rate`), how many connections an address has (`cowork::serve`), who may read (`readers`).

use front::{Share, Shares};
use store::Credential;

use crate::problem::Problem;

/// The streams that are open at this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct OpenStreams(Shares<Credential>);

/// A stream that counts as open until this is dropped.
#[derive(Debug)]
#[must_use = "it counts only while this is kept"]
pub(crate) struct OpenStream {
    _share: Share<Credential>,
}

impl OpenStreams {
    /// `0`: no limit.
    #[must_use]
    pub fn per_caller(most: u32) -> Self {
        Self(Shares::of(most))
    }

    /// Makes room for one more, if the caller may have it.
    pub(crate) fn another(&self, credential: Credential) -> Result<OpenStream, Problem> {
        let Some(share) = self.0.another(credential) else {
            metrics::counter!("cowork_streams_refused_total").increment(1);
            return Err(Problem::too_many_streams(self.0.most()));
        };
        metrics::gauge!("cowork_streams_open").increment(1.0);
        Ok(OpenStream { _share: share })
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> u32 {
        self.0.count()
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        metrics::gauge!("cowork_streams_open").decrement(1.0);
    }
}
