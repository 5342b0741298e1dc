//! Events: appended under a lease, read by anyone of the org.
//!
//! Not here: the first event of a session (`session`), the transaction that ends a turn (`lease`).

use domain::event::Event;
use serde_json::Value;

/// An event as its two columns.
#[derive(Debug, Clone)]
pub(crate) struct EventRow {
    pub(crate) kind: String,
    pub(crate) payload: Value,
}

impl From<&Event> for EventRow {
    fn from(event: &Event) -> Self {
        let mut value = serde_json::to_value(event).expect("an event is plain data");
        let kind = value["kind"].as_str().expect("an event has a kind").to_owned();
        Self { kind, payload: value["payload"].take() }
    }
}
