//! Channels: where messages may go, and what a turn looks like to people on the far side.
//!
//! Not here: sending (`channels`), which events a thread has seen (`store::cursor`), when to try again (`retry`).

use std::fmt;
use std::str::FromStr;

use ids::CommandId;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::event::{Event, MessageRole, Recorded, TurnOutcome};
use crate::projection::RequestKind;

/// Characters of a rendered message; the rest of a long turn is cut and the cut is marked.
pub const TEXT_CHARS: usize = 4_000;
/// Characters of a thread's name.
pub const THREAD_CHARS: usize = 200;
/// Characters of a message that comes in.
pub const INBOUND_CHARS: usize = 32_000;
/// Characters of a destination.
pub const DESTINATION_CHARS: usize = 2_000;

/// A way to reach people outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ChannelKind {
    Webhook,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    Pending,
    /// The far side has accepted it.
    Sent,
    /// Set aside for a person: look at it, retry it or leave it.
    Dead,
    /// It may have arrived, and the far side could not tell a repeat: a person decides whether it goes out again.
    Unknown,
}

macro_rules! column_text {
    ($($name:ident { $($variant:ident = $text:literal),* $(,)? })*) => { $(
        impl $name {
            /// As it stands in SQL and JSON.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text { $($text => Ok(Self::$variant),)* _ => Err(UnknownWord::new(text)) }
            }
        }
    )* };
}

column_text! {
    ChannelKind { Webhook = "webhook" }
    DeliveryState { Pending = "pending", Sent = "sent", Dead = "dead", Unknown = "unknown" }
}

/// A word that this build does not know.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a word that is known here")]
pub struct UnknownWord(String);

impl UnknownWord {
    pub(crate) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Where deliveries are posted to: an http or https URL without credentials in it. Its query may be secret, so neither
/// `Debug` nor [`Self::without_query`] shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Destination {
    url: Url,
    text: String,
}

/// Why a text can't be a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DestinationError {
    #[error("a destination has at most {DESTINATION_CHARS} characters")]
    TooLong,
    #[error("a destination is an absolute URL such as https://chat.example/hook, without spaces")]
    NotAUrl,
    #[error("a destination begins with http:// or https://")]
    Scheme,
    #[error("a destination has no user name or password in it")]
    Credentials,
    #[error("a destination has no #fragment")]
    Fragment,
}

impl FromStr for Destination {
    type Err = DestinationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.chars().count() > DESTINATION_CHARS {
            return Err(DestinationError::TooLong);
        }
        // The parser forgives what it can; what is stored should be what is meant.
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(DestinationError::NotAUrl);
        }
        let url = Url::parse(text).map_err(|_| DestinationError::NotAUrl)?;
        match () {
            () if !matches!(url.scheme(), "http" | "https") => Err(DestinationError::Scheme),
            () if !url.username().is_empty() || url.password().is_some() => Err(DestinationError::Credentials),
            () if url.fragment().is_some() => Err(DestinationError::Fragment),
            () => Ok(Self { url, text: text.to_owned() }),
        }
    }
}

impl Destination {
    /// As it was given. May hold a secret in its query.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// For logs and headers.
    #[must_use]
    pub fn without_query(&self) -> String {
        let mut url = self.url.clone();
        url.set_query(None);
        url.into()
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Destination({})", self.without_query())
    }
}

/// What a thread is told at the end of a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The command whose turn ended. A command's turn ends once, so of a session each command has at most one message.
    pub command: CommandId,
    /// The event that it renders.
    pub sequence: i64,
    pub text: String,
    /// What the turn waits for, where it does.
    pub asks: Option<Asks>,
    /// When that event happened.
    pub at: clock::Timestamp,
}

/// What an agent asks a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asks {
    pub request_id: String,
    pub kind: RequestKind,
}

/// Folds a session's events, in order, into messages: one at the end of each turn that completed, failed or waits for
/// a person. An aborted turn is silent, since a person asked for it; so is a dead one, which is an operator's matter.
///
/// Memory is bounded however long a turn is.
#[derive(Debug, Default)]
pub struct Renderer {
    said: Bounded,
    message_id: Option<String>,
    asked: Option<(String, Asks)>,
}

impl Renderer {
    pub fn apply(&mut self, recorded: &Recorded) -> Option<Message> {
        match &recorded.event {
            Event::MessageAppended { message_id, role: MessageRole::Agent, text } => self.append(message_id, text),
            Event::QuestionAsked { request_id, question } => {
                self.asked(format!("The agent asks: {question}"), request_id, RequestKind::Answer);
            }
            Event::ApprovalRequested { request_id, title } => {
                self.asked(format!("The agent asks for approval: {title}"), request_id, RequestKind::Approval);
            }
            Event::TurnEnded { command_id, outcome, error } => {
                let mut told = std::mem::take(self);
                let waits = matches!(outcome, TurnOutcome::AwaitingApproval | TurnOutcome::AwaitingAnswer);
                let (asked, asks) = told.asked.take().filter(|_| waits).unzip();
                let text = told.text(*outcome, error.as_deref(), asked)?;
                let (command, sequence, at) = (*command_id, recorded.sequence, recorded.created_at);
                return Some(Message { command, sequence, text, asks, at });
            }
            _ => {}
        }
        None
    }

    fn asked(&mut self, sentence: String, request_id: &str, kind: RequestKind) {
        self.asked = Some((sentence, Asks { request_id: request_id.to_owned(), kind }));
    }

    fn append(&mut self, message_id: &str, text: &str) {
        let another = self.message_id.as_deref() != Some(message_id);
        if another && self.message_id.replace(message_id.to_owned()).is_some() {
            self.said.push("\n\n");
        }
        self.said.push(text);
    }

    fn text(self, outcome: TurnOutcome, error: Option<&str>, asked: Option<String>) -> Option<String> {
        let sentence = match outcome {
            TurnOutcome::Completed if self.said.is_empty() => {
                Some("The turn is complete; the agent said nothing.".into())
            }
            TurnOutcome::Completed => None,
            TurnOutcome::AwaitingAnswer => Some(asked.unwrap_or_else(|| "The agent waits for an answer.".into())),
            TurnOutcome::AwaitingApproval => Some(asked.unwrap_or_else(|| "The agent waits for approval.".into())),
            TurnOutcome::Failed => Some(format!("The turn failed: {}", error.unwrap_or("no reason was given"))),
            TurnOutcome::Aborted | TurnOutcome::Dead => return None,
        };
        Some(match sentence {
            None => self.said.cut(TEXT_CHARS),
            Some(sentence) => below(&self.said, &sentence),
        })
    }
}

/// What was said, then `sentence`. The sentence is never cut for the sake of the rest.
fn below(said: &Bounded, sentence: &str) -> String {
    let sentence = cut(sentence, TEXT_CHARS);
    let room = TEXT_CHARS.saturating_sub(sentence.chars().count() + 2);
    if said.is_empty() || room == 0 { sentence } else { format!("{}\n\n{sentence}", said.cut(room)) }
}

/// The start of a text that may be long.
#[derive(Debug, Default)]
struct Bounded {
    text: String,
    chars: usize,
}

impl Bounded {
    /// Keeps one character more than is ever shown, so that a cut is noticed.
    fn push(&mut self, text: &str) {
        for c in text.chars().take(TEXT_CHARS + 1 - self.chars) {
            self.text.push(c);
            self.chars += 1;
        }
    }

    fn is_empty(&self) -> bool {
        self.chars == 0
    }

    fn cut(&self, chars: usize) -> String {
        cut(&self.text, chars)
    }
}

/// At most `chars` characters, the last being an ellipsis if some are missing.
fn cut(text: &str, chars: usize) -> String {
    if text.chars().count() <= chars {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(chars.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use clock::Timestamp;

    use super::*;

    fn render(events: Vec<Event>) -> Vec<Message> {
        let mut renderer = Renderer::default();
        let recorded = events.into_iter().zip(1..).map(|(event, sequence)| Recorded {
            sequence,
            event,
            created_at: Timestamp::UNIX_EPOCH,
        });
        recorded.filter_map(|recorded| renderer.apply(&recorded)).collect()
    }

    fn texts(events: Vec<Event>) -> Vec<String> {
        render(events).into_iter().map(|message| message.text).collect()
    }

    fn said(message_id: &str, text: &str) -> Event {
        Event::MessageAppended { message_id: message_id.into(), role: MessageRole::Agent, text: text.into() }
    }

    fn ended(outcome: TurnOutcome) -> Event {
        let error = (outcome == TurnOutcome::Failed).then(|| "no disk".into());
        Event::TurnEnded { command_id: uuid::Uuid::from_u128(1).into(), outcome, error }
    }

    #[test]
    fn a_turn_is_one_message_for_its_last_event() {
        let user = Event::MessageAppended { message_id: "u".into(), role: MessageRole::User, text: "hi".into() };
        let messages =
            render(vec![user, said("m1", "hel"), said("m1", "lo"), said("m2", "bye"), ended(TurnOutcome::Completed)]);
        assert_eq!(messages.len(), 1);
        assert_eq!((messages[0].sequence, messages[0].text.as_str()), (5, "hello\n\nbye"));
    }

    #[test]
    fn each_turn_speaks_for_itself() {
        let events =
            vec![said("m1", "one"), ended(TurnOutcome::Completed), said("m2", "two"), ended(TurnOutcome::Failed)];
        assert_eq!(texts(events), ["one", "two\n\nThe turn failed: no disk"]);
    }

    #[test]
    fn a_question_comes_after_what_was_said() {
        let asked = Event::QuestionAsked { request_id: "r".into(), question: "which one?".into() };
        let events = vec![said("m", "two fit"), asked, ended(TurnOutcome::AwaitingAnswer)];
        let messages = render(events);
        assert_eq!(messages[0].text, "two fit\n\nThe agent asks: which one?");
        assert_eq!(messages[0].asks, Some(Asks { request_id: "r".into(), kind: RequestKind::Answer }));
    }

    #[test]
    fn a_turn_that_went_on_asks_nothing_any_more() {
        let asked = Event::QuestionAsked { request_id: "r".into(), question: "which one?".into() };
        let messages = render(vec![asked, said("m", "never mind"), ended(TurnOutcome::Completed)]);
        assert_eq!((&*messages[0].text, &messages[0].asks), ("never mind", &None));
    }

    #[test]
    fn a_silent_turn_is_told_and_an_aborted_one_is_not() {
        assert_eq!(texts(vec![ended(TurnOutcome::Aborted), ended(TurnOutcome::Dead)]), [] as [&str; 0]);
        assert_eq!(texts(vec![ended(TurnOutcome::Completed)]), ["The turn is complete; the agent said nothing."]);
    }

    #[test]
    fn a_long_turn_is_cut_and_its_question_is_not() {
        let long = || said("m", &"é".repeat(TEXT_CHARS + 1));
        let asked = Event::ApprovalRequested { request_id: "r".into(), title: "delete it".into() };
        let all =
            texts(vec![long(), ended(TurnOutcome::Completed), long(), asked, ended(TurnOutcome::AwaitingApproval)]);
        assert_eq!(all.iter().map(|text| text.chars().count()).collect::<Vec<_>>(), [TEXT_CHARS, TEXT_CHARS]);
        assert!(all[0].ends_with('…'));
        assert!(all[1].ends_with("…\n\nThe agent asks for approval: delete it"));
    }

    #[test]
    fn a_destination_is_a_plain_web_address() {
        let check = |text: &str| text.parse::<Destination>().map(|_| ());
        assert_eq!(check("http://127.0.0.1:4000/hook?key=1"), Ok(()));
        assert_eq!(check("https://chat.example"), Ok(()));
        assert_eq!(check("ftp://chat.example"), Err(DestinationError::Scheme));
        assert_eq!(check("file:///etc/passwd"), Err(DestinationError::Scheme));
        assert_eq!(check("https://me:pw@chat.example"), Err(DestinationError::Credentials));
        assert_eq!(check("https://chat.example/#x"), Err(DestinationError::Fragment));
        assert_eq!(check("chat.example"), Err(DestinationError::NotAUrl));
        assert_eq!(check("https://chat.example/a b"), Err(DestinationError::NotAUrl));
    }

    #[test]
    fn a_destination_hides_its_query() {
        let destination: Destination = "https://chat.example/hook?signature=s3cret".parse().unwrap();
        assert_eq!(format!("{destination:?}"), "Destination(https://chat.example/hook)");
    }
}
