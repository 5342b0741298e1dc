//! What a gateway measures, said when it starts: so every number is there from the first scrape.
//!
//! Not here: counting, which happens where something is done.

use domain::egress::Network;
use front::Failures;

use crate::problem;

pub(crate) fn describe() {
    let outcomes = ["started", "skipped", "duplicate"].into_iter().chain(problem::OF_CALLS);
    measures::counter_by(
        "cowork_calls_total",
        "calls of webhook triggers, by what became of them",
        "outcome",
        outcomes,
    );
    measures::counter("cowork_inbound_messages_total", "messages that were taken");
    measures::counter("cowork_inbound_refused_total", "messages that were more than their channel may send");
    Failures::describe(["signature"]);
    measures::counter("cowork_inbound_duplicates_total", "messages that had been taken before");
    measures::counter("cowork_decisions_refused_total", "decisions by chat that changed nothing");
    deliveries();
}

fn deliveries() {
    measures::counter("cowork_deliveries_sent_total", "deliveries that were accepted");
    measures::counter("cowork_deliveries_dead_total", "deliveries that became dead letters");
    measures::counter("cowork_deliveries_unknown_total", "deliveries of which nobody knows whether they arrived");
    measures::counter("cowork_delivery_attempts_failed_total", "attempts that were refused or did not come through");
    measures::counter_by(
        "cowork_deliveries_refused_total",
        "attempts that called nobody, since the destination leads to where this system does not go",
        "network",
        Network::ALL.map(Network::as_str),
    );
    measures::histogram(
        "cowork_delivery_latency_ms",
        "from an event to the acceptance of its delivery, in milliseconds",
    );
}
