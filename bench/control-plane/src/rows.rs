//! The rows of the table, in groups that are measured together.

mod append;
mod crash;
mod delivery;
mod growth;
mod latency;
mod memory;
mod peers;
mod projections;
mod reads;
mod streams;
mod throughput;

use futures::future::{BoxFuture, FutureExt as _};

use crate::Asked;
use crate::report::Row;

/// Rows that one world gives.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) measure: fn(&Asked) -> BoxFuture<'_, anyhow::Result<Vec<Row>>>,
}

pub(crate) const GROUPS: &[Group] = &[
    Group { name: "latency", measure: |asked| latency::measure(asked).boxed() },
    Group { name: "throughput", measure: |asked| throughput::measure(asked).boxed() },
    Group { name: "peers", measure: |asked| peers::measure(asked).boxed() },
    Group { name: "delivery", measure: |asked| delivery::measure(asked).boxed() },
    Group { name: "append", measure: |asked| append::measure(asked).boxed() },
    Group { name: "projections", measure: |asked| projections::measure(asked).boxed() },
    Group { name: "reads", measure: |asked| reads::measure(asked).boxed() },
    Group { name: "memory", measure: |asked| memory::measure(asked).boxed() },
    Group { name: "streams", measure: |asked| streams::measure(asked).boxed() },
    Group { name: "growth", measure: |asked| growth::measure(asked).boxed() },
    Group { name: "crash", measure: |asked| crash::measure(asked).boxed() },
];

pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    GROUPS.iter().map(|group| group.name)
}
