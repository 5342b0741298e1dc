//! What to do with a session's next command: a decision, without I/O.

use domain::command::{MAX_ATTEMPTS, Wish};
use domain::event::{ApprovalOutcome, Event, MessageRole, prompt_message_id};
use domain::projection::{Projection, RequestKind};
use store::NextCommand;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Start a turn with these events.
    Run(Vec<Event>),
    /// End the turn that waits for a person.
    AbortWaiting,
    /// It makes no sense now; why, for people.
    Refuse(&'static str),
    /// Too many attempts were lost.
    SetAside,
}

pub(crate) fn plan(command: &NextCommand, projection: &Projection) -> Plan {
    if command.attempt >= MAX_ATTEMPTS {
        return Plan::SetAside;
    }
    if matches!(command.wish, Wish::Abort {}) {
        let waits = projection.waiting_for.is_some();
        return if waits { Plan::AbortWaiting } else { Plan::Refuse("nothing was running that could be aborted") };
    }
    // An attempt that was lost had passed this, and its first events stand.
    if command.attempt == 0
        && let Some(why) = out_of_place(&command.wish, projection)
    {
        return Plan::Refuse(why);
    }
    let started = Event::TurnStarted { command_id: command.command, attempt: command.attempt + 1 };
    let heard = (command.attempt == 0).then(|| heard(command)).flatten();
    Plan::Run([started].into_iter().chain(heard).collect())
}

fn out_of_place(wish: &Wish, projection: &Projection) -> Option<&'static str> {
    let (request_id, kind) = match wish {
        Wish::Prompt { .. } | Wish::Abort {} => return None,
        Wish::Answer { request_id, .. } => (request_id, RequestKind::Answer),
        Wish::Approve { request_id } | Wish::Reject { request_id } => (request_id, RequestKind::Approval),
    };
    match &projection.waiting_for {
        Some(request) if request.request_id == *request_id && request.kind == kind => None,
        Some(_) => Some("the turn waits for something else"),
        None => Some("no turn waits for a person"),
    }
}

/// What the person said, as a fact.
fn heard(command: &NextCommand) -> Option<Event> {
    let resolved = |request_id: &String, outcome| Event::ApprovalResolved { request_id: request_id.clone(), outcome };
    match &command.wish {
        Wish::Prompt { text } => {
            let message_id = prompt_message_id(command.ordinal);
            Some(Event::MessageAppended { message_id, role: MessageRole::User, text: text.clone() })
        }
        Wish::Answer { request_id, answer } => {
            Some(Event::QuestionAnswered { request_id: request_id.clone(), answer: answer.clone() })
        }
        Wish::Approve { request_id } => Some(resolved(request_id, ApprovalOutcome::Approved)),
        Wish::Reject { request_id } => Some(resolved(request_id, ApprovalOutcome::Rejected)),
        Wish::Abort {} => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(wish: Wish, attempt: i32) -> NextCommand {
        NextCommand { command: uuid::Uuid::nil().into(), ordinal: 2, wish, attempt, traceparent: None, limited: false }
    }

    fn waiting() -> Projection {
        Projection::rebuild(&[Event::ApprovalRequested { request_id: "r1".into(), title: "delete it".into() }])
    }

    fn approve(request_id: &str) -> Wish {
        Wish::Approve { request_id: request_id.into() }
    }

    #[test]
    fn an_approval_is_carried_out_only_for_what_is_waited_for() {
        assert!(matches!(plan(&command(approve("r1"), 0), &waiting()), Plan::Run(_)));
        assert!(matches!(plan(&command(approve("r2"), 0), &waiting()), Plan::Refuse(_)));
        assert!(matches!(plan(&command(approve("r1"), 0), &Projection::default()), Plan::Refuse(_)));
        let answer = Wish::Answer { request_id: "r1".into(), answer: "yes".into() };
        assert!(matches!(plan(&command(answer, 0), &waiting()), Plan::Refuse(_)));
    }

    #[test]
    fn an_attempt_after_a_lost_one_does_not_say_again_what_the_person_said() {
        let started = |attempt| Event::TurnStarted { command_id: uuid::Uuid::nil().into(), attempt };
        assert_eq!(plan(&command(approve("r1"), 1), &Projection::default()), Plan::Run(vec![started(2)]));
        let prompt = Wish::Prompt { text: "hi".into() };
        let Plan::Run(first) = plan(&command(prompt, 0), &Projection::default()) else { panic!("it runs") };
        assert_eq!((first.len(), &first[0]), (2, &started(1)));
    }

    #[test]
    fn a_command_is_set_aside_after_too_many_lost_attempts() {
        let prompt = |attempt| command(Wish::Prompt { text: "hi".into() }, attempt);
        assert!(matches!(plan(&prompt(MAX_ATTEMPTS - 1), &Projection::default()), Plan::Run(_)));
        assert_eq!(plan(&prompt(MAX_ATTEMPTS), &Projection::default()), Plan::SetAside);
    }

    #[test]
    fn an_abort_ends_what_waits_and_is_refused_when_nothing_does() {
        assert_eq!(plan(&command(Wish::Abort {}, 0), &waiting()), Plan::AbortWaiting);
        assert!(matches!(plan(&command(Wish::Abort {}, 0), &Projection::default()), Plan::Refuse(_)));
    }
}
