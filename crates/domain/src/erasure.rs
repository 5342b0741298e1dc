//! Erasing a person: what is left of an event once nobody may read what was said.
//!
//! Events are never edited, with this one exception. What an erasure takes is text; what it leaves is shape: kinds, ids,
//! outcomes, counts of tokens, and the place in the order. So a session keeps its sequence without holes, and its projection
//! is still what its events add up to.
//!
//! Not here: which sessions and which events (`store::subject`), folding (`projection`).

use std::collections::HashSet;

use ids::CommandId;

use crate::event::{Event, MessageRole};

/// Stands where a text was.
pub const ERASED: &str = "[erased]";

/// What is left of an event of a session that goes whole.
#[must_use]
pub fn without_content(event: &Event) -> Event {
    let mut event = event.clone();
    match &mut event {
        Event::SessionCreated { title: text, .. }
        | Event::MessageAppended { text, .. }
        | Event::ApprovalRequested { title: text, .. }
        | Event::QuestionAsked { question: text, .. }
        | Event::QuestionAnswered { answer: text, .. } => erase(text),
        Event::ToolCallUpserted { title, output, .. } => {
            title.iter_mut().chain(output).for_each(erase);
        }
        Event::ArtifactCreated { name, media_type, size, sha256, .. } => {
            erase(name);
            erase(media_type);
            *size = 0;
            sha256.clear();
        }
        Event::TurnEnded { error, .. } => error.iter_mut().for_each(erase),
        Event::TurnStarted { .. } | Event::ApprovalResolved { .. } | Event::UsageRecorded { .. } => {}
    }
    event
}

fn erase(text: &mut String) {
    ERASED.clone_into(text);
}

/// Takes one person's words out of a session that others began: what their commands said, and nothing of what was
/// answered. Events must come in their session's order, from the first.
#[derive(Debug)]
pub struct Unsaid<'a> {
    commands: &'a HashSet<CommandId>,
    /// The turn that the next event belongs to is one of theirs.
    theirs: bool,
}

impl<'a> Unsaid<'a> {
    /// `commands`: those of the person, in this session.
    #[must_use]
    pub fn new(commands: &'a HashSet<CommandId>) -> Self {
        Self { commands, theirs: false }
    }

    /// What is left of the next event.
    pub fn apply(&mut self, event: &Event) -> Event {
        match event {
            Event::TurnStarted { command_id, .. } => self.theirs = self.commands.contains(command_id),
            Event::MessageAppended { role: MessageRole::User, .. } | Event::QuestionAnswered { .. } if self.theirs => {
                return without_content(event);
            }
            _ => {}
        }
        event.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{ToolCallStatus, TurnOutcome};
    use crate::projection::Projection;

    fn command(n: u128) -> CommandId {
        uuid::Uuid::from_u128(n).into()
    }

    fn said(role: MessageRole, text: &str) -> Event {
        Event::MessageAppended { message_id: text.into(), role, text: text.into() }
    }

    /// One of each kind; every text in it holds the word `private`.
    fn all() -> Vec<Event> {
        let private = || "private".to_owned();
        vec![
            Event::SessionCreated { title: private(), agent: "scripted".into() },
            Event::TurnStarted { command_id: command(1), attempt: 1 },
            Event::MessageAppended { message_id: "m".into(), role: MessageRole::User, text: private() },
            Event::ToolCallUpserted {
                tool_call_id: "t".into(),
                title: Some(private()),
                status: ToolCallStatus::Completed,
                output: Some(private()),
            },
            Event::ApprovalRequested { request_id: "r".into(), title: private() },
            Event::ApprovalResolved { request_id: "r".into(), outcome: crate::event::ApprovalOutcome::Approved },
            Event::QuestionAsked { request_id: "q".into(), question: private() },
            Event::QuestionAnswered { request_id: "q".into(), answer: private() },
            Event::ArtifactCreated {
                artifact_id: uuid::Uuid::from_u128(2).into(),
                name: private(),
                media_type: "text/private".into(),
                size: 7,
                sha256: "private".into(),
            },
            Event::UsageRecorded { input_tokens: 3, output_tokens: 4 },
            Event::TurnEnded { command_id: command(1), outcome: TurnOutcome::Failed, error: Some(private()) },
        ]
    }

    #[test]
    fn nothing_that_was_said_is_left_in_events_or_in_their_projection() {
        let left: Vec<Event> = all().iter().map(without_content).collect();
        let projection = Projection::rebuild(&left);
        for text in [serde_json::to_string(&left).unwrap(), serde_json::to_string(&projection).unwrap()] {
            assert!(!text.contains("private"), "{text}");
        }
        assert_eq!((projection.turns.failed, projection.input_tokens, projection.artifact_count), (1, 3, 1));
    }

    #[test]
    fn what_is_erased_already_stays_as_it_is() {
        let once: Vec<Event> = all().iter().map(without_content).collect();
        let twice: Vec<Event> = once.iter().map(without_content).collect();
        assert_eq!(once, twice);
    }

    #[test]
    fn in_the_session_of_others_only_the_persons_own_words_go() {
        let commands = HashSet::from([command(1)]);
        let events = [
            Event::TurnStarted { command_id: command(1), attempt: 1 },
            said(MessageRole::User, "mine"),
            said(MessageRole::Agent, "to me"),
            Event::TurnStarted { command_id: command(2), attempt: 1 },
            said(MessageRole::User, "yours"),
        ];
        let mut unsaid = Unsaid::new(&commands);
        let left: Vec<Event> = events.iter().map(|event| unsaid.apply(event)).collect();
        assert_eq!(left[1], without_content(&events[1]));
        assert_eq!([&left[0], &left[2], &left[3], &left[4]], [&events[0], &events[2], &events[3], &events[4]]);
    }
}
