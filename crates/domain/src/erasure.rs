//! Erasing a person: what is left of an event once nobody may read what was said.
//!
//! Events are never edited, with this one exception. What an erasure takes is text; what it leaves is shape: kinds, ids,
//! outcomes, counts of tokens, and the place in the order. So a session keeps its sequence without holes, and its projection
//! is still what its events add up to.
//!
//! Not here: which sessions and which events (`store::subject`), folding (`projection`).

use std::collections::{HashMap, HashSet};

use ids::CommandId;

use crate::event::{Event, MessageRole, prompt_of_message};
use crate::projection::{MessageView, Projection};

/// Stands where a text was.
pub const ERASED: &str = "[erased]";

/// What is left of an event of a session that goes whole.
#[must_use]
pub fn without_content(event: &Event) -> Event {
    let mut event = event.clone();
    match &mut event {
        Event::SessionCreated { title: text, .. }
        | Event::HistoryImported { source: text, .. }
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
        Event::Compacted { projection } => empty(projection),
        Event::TurnStarted { .. } | Event::ApprovalResolved { .. } | Event::UsageRecorded { .. } => {}
    }
    event
}

fn erase(text: &mut String) {
    ERASED.clone_into(text);
}

/// What events that are gone had said, as far as their base still holds it.
fn empty(projection: &mut Projection) {
    erase(&mut projection.title);
    projection.messages.iter_mut().for_each(erase_message);
    for call in &mut projection.tool_calls {
        [&mut call.title, &mut call.output].into_iter().filter(|text| !text.is_empty()).for_each(erase);
    }
    for artifact in &mut projection.artifacts {
        erase(&mut artifact.name);
        artifact.size = 0;
        artifact.sha256.clear();
    }
    projection.waiting_for.iter_mut().for_each(|request| erase(&mut request.text));
    projection.last_error.iter_mut().for_each(erase);
}

fn erase_message(message: &mut MessageView) {
    erase(&mut message.excerpt);
    message.chars = ERASED.chars().count() as u64;
}

/// Takes one person's words out of a session that others began: what their commands said, and nothing of what was
/// answered. Events must come in their session's order, from the first.
///
/// Of events that were compacted a base still has some messages; whose they are is told by their names.
#[derive(Debug)]
pub struct Unsaid<'a> {
    commands: &'a HashMap<CommandId, i64>,
    ordinals: HashSet<i64>,
    /// The turn that the next event belongs to is one of theirs.
    theirs: bool,
}

impl<'a> Unsaid<'a> {
    /// `commands`: those of the person, in this session, with their ordinals.
    #[must_use]
    pub fn new(commands: &'a HashMap<CommandId, i64>) -> Self {
        Self { commands, ordinals: commands.values().copied().collect(), theirs: false }
    }

    /// What is left of the next event.
    pub fn apply(&mut self, event: &Event) -> Event {
        match event {
            Event::TurnStarted { command_id, .. } => self.theirs = self.commands.contains_key(command_id),
            Event::MessageAppended { role: MessageRole::User, message_id, .. } if self.said(message_id) => {
                return without_content(event);
            }
            Event::QuestionAnswered { .. } if self.theirs => return without_content(event),
            Event::Compacted { projection } => {
                let mut projection = projection.clone();
                self.unsay(&mut projection);
                return Event::Compacted { projection };
            }
            _ => {}
        }
        event.clone()
    }

    fn unsay(&self, projection: &mut Projection) {
        let prompted = |message: &MessageView| prompt_of_message(&message.message_id);
        let theirs = |message: &MessageView| prompted(message).is_some_and(|prompt| self.ordinals.contains(&prompt));
        let said =
            projection.messages.iter_mut().filter(|message| message.role == MessageRole::User && theirs(message));
        said.for_each(erase_message);
    }

    /// By its name, for a turn hears what others say meanwhile, too. What has another name is said by whom the turn is of.
    fn said(&self, message_id: &str) -> bool {
        prompt_of_message(message_id).map_or(self.theirs, |prompt| self.ordinals.contains(&prompt))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{ToolCallStatus, TurnOutcome, prompt_message_id, steering_message_id};
    use crate::projection::{Request, RequestKind};

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
            Event::HistoryImported { source: private(), messages: 1 },
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
            Event::UsageRecorded { input_tokens: 3, output_tokens: 4, model: None },
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

    /// All of it, compacted.
    fn base() -> Event {
        let mut projection = Projection::rebuild(&all());
        projection.waiting_for =
            Some(Request { request_id: "r".into(), text: "private".into(), kind: RequestKind::Answer });
        Event::Compacted { projection: Box::new(projection) }
    }

    #[test]
    fn nothing_that_was_said_is_left_in_a_base() {
        let left = without_content(&base());
        assert!(!serde_json::to_string(&left).unwrap().contains("private"), "{left:?}");
        assert_eq!(without_content(&left), left);
        let Event::Compacted { projection } = left else { panic!("a base stays one") };
        assert_eq!((projection.turns.failed, projection.message_count, projection.artifact_count), (1, 1, 1));
    }

    #[test]
    fn what_is_erased_already_stays_as_it_is() {
        let once: Vec<Event> = all().iter().map(without_content).collect();
        let twice: Vec<Event> = once.iter().map(without_content).collect();
        assert_eq!(once, twice);
    }

    #[test]
    fn in_the_session_of_others_only_the_persons_own_words_go() {
        let commands = HashMap::from([(command(1), 1)]);
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

    #[test]
    fn who_steered_a_turn_of_another_is_forgotten_without_them() {
        let steered = |ordinal| Event::MessageAppended {
            message_id: steering_message_id(ordinal, 1, 1),
            role: MessageRole::User,
            text: "private".into(),
        };
        let events = [Event::TurnStarted { command_id: command(1), attempt: 1 }, steered(2), steered(3)];
        let left = |commands| {
            let mut unsaid = Unsaid::new(commands);
            events.iter().map(|event| unsaid.apply(event)).collect::<Vec<_>>()
        };
        let (first, second) = (HashMap::from([(command(1), 1)]), HashMap::from([(command(2), 2)]));
        assert_eq!(left(&first), events);
        assert_eq!(left(&second), [events[0].clone(), without_content(&events[1]), events[2].clone()]);
        let base = Event::Compacted { projection: Box::new(Projection::rebuild(&events)) };
        let Event::Compacted { projection } = Unsaid::new(&second).apply(&base) else { panic!("a base stays one") };
        let excerpts: Vec<&str> = projection.messages.iter().map(|message| message.excerpt.as_str()).collect();
        assert_eq!(excerpts, [ERASED, "private"]);
    }

    #[test]
    fn in_a_base_of_others_only_the_persons_own_prompts_go() {
        let prompt = |ordinal: i64, role| Event::MessageAppended {
            message_id: prompt_message_id(ordinal),
            role,
            text: format!("said {ordinal}"),
        };
        let events = [prompt(1, MessageRole::User), prompt(2, MessageRole::User), prompt(11, MessageRole::Agent)];
        let base = Event::Compacted { projection: Box::new(Projection::rebuild(&events)) };
        let commands = HashMap::from([(command(1), 1), (command(7), 11)]);
        let Event::Compacted { projection } = Unsaid::new(&commands).apply(&base) else { panic!("a base stays one") };
        let excerpts: Vec<&str> = projection.messages.iter().map(|message| message.excerpt.as_str()).collect();
        assert_eq!(excerpts, [ERASED, "said 2", "said 11"]);
    }
}
