//! What a worker measures, said when it starts: so every number is there from the first scrape.
//!
//! Not here: counting, which happens where something is done; what doors to providers count, but that a worker says it.

use domain::event::TurnOutcome;

const OUTCOMES: [TurnOutcome; 6] = [
    TurnOutcome::Completed,
    TurnOutcome::AwaitingApproval,
    TurnOutcome::AwaitingAnswer,
    TurnOutcome::Aborted,
    TurnOutcome::Failed,
    TurnOutcome::Dead,
];

pub(crate) fn describe() {
    measures::counter_by("cowork_turns_total", "turns that ended, by outcome", "outcome", OUTCOMES.map(label));
    measures::histogram("cowork_turn_duration_ms", "how long turns took, in milliseconds");
    measures::counter("cowork_events_appended_total", "events that were written");
    measures::counter("cowork_checkpoints_saved_total", "checkpoints that were saved");
    measures::counter("cowork_lease_lost_total", "sessions that were lost to another worker");
    providers::describe();
}

/// In labels.
pub(crate) fn label(outcome: TurnOutcome) -> &'static str {
    match outcome {
        TurnOutcome::Completed => "completed",
        TurnOutcome::AwaitingApproval => "awaiting_approval",
        TurnOutcome::AwaitingAnswer => "awaiting_answer",
        TurnOutcome::Aborted => "aborted",
        TurnOutcome::Failed => "failed",
        TurnOutcome::Dead => "dead",
    }
}
