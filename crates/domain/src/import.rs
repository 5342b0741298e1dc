//! A conversation that took place elsewhere, as the first events of a session.
//!
//! Its messages are events like any others, so everything that is made of events knows them: projections, streams, compaction,
//! erasure. No turn stands around them, so nothing of them is metered or told to a thread.
//!
//! Not promised: that they were said, or by whom. Whoever imports says so.
//!
//! Not here: writing them (`store::session`), how long one text may be (`web`).

use clock::Timestamp;

use crate::event::{Event, MessageRole, Recorded};

/// Messages of one import.
pub const MESSAGES_MAX: usize = 1_000;
/// Characters of all of them.
pub const CHARS_MAX: usize = 500_000;
/// Characters of where they come from.
pub const SOURCE_CHARS: usize = 200;

/// A message that was said elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub role: MessageRole,
    pub text: String,
    pub at: Option<Timestamp>,
}

/// Messages that can be imported, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    source: String,
    messages: Vec<Said>,
}

/// Why a conversation can't be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    #[error("an import has 1 to {MESSAGES_MAX} messages")]
    Messages,
    #[error("the messages of an import have at most {CHARS_MAX} characters, all together")]
    Chars,
    #[error("either every message says when it was said, or none does")]
    SomeTimes,
    #[error("message {0} was said before the one before it")]
    Backwards(usize),
    #[error("message {0} was said before 1970, or is yet to be said")]
    Unlikely(usize),
}

impl History {
    /// `source`: where it comes from, for people.
    ///
    /// # Errors
    /// If it is too much, or the times can't be right. Messages are numbered from 0, as in the request.
    pub fn new(source: String, messages: Vec<Said>, now: Timestamp) -> Result<Self, ImportError> {
        if messages.is_empty() || messages.len() > MESSAGES_MAX {
            return Err(ImportError::Messages);
        }
        if messages.iter().map(|said| said.text.chars().count()).sum::<usize>() > CHARS_MAX {
            return Err(ImportError::Chars);
        }
        let times: Vec<Timestamp> = messages.iter().filter_map(|said| said.at).collect();
        if !times.is_empty() && times.len() != messages.len() {
            return Err(ImportError::SomeTimes);
        }
        if let Some(place) = times.iter().position(|at| *at > now || *at < Timestamp::UNIX_EPOCH) {
            return Err(ImportError::Unlikely(place));
        }
        if let Some(place) = times.windows(2).position(|pair| pair[1] < pair[0]) {
            return Err(ImportError::Backwards(place + 1));
        }
        Ok(Self { source, messages })
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The first events of its session.
    #[must_use]
    pub fn events(&self, title: &str, agent: &str, now: Timestamp) -> Vec<Recorded> {
        let created = Event::SessionCreated { title: title.to_owned(), agent: agent.to_owned() };
        let messages = i64::try_from(self.messages.len()).expect("an import is small");
        let imported = Event::HistoryImported { source: self.source.clone(), messages };
        let said = self.messages.iter().enumerate().map(|(place, said)| {
            let Said { role, text, at } = said.clone();
            (Event::MessageAppended { message_id: format!("imported-{}", place + 1), role, text }, at.unwrap_or(now))
        });
        let all = [(created, now), (imported, now)].into_iter().chain(said);
        all.zip(1..).map(|((event, created_at), sequence)| Recorded { sequence, event, created_at }).collect()
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::fold::Fold;

    fn now() -> Timestamp {
        Timestamp::UNIX_EPOCH + TimeDelta::days(20_000)
    }

    fn said(role: MessageRole, text: &str, seconds: Option<i64>) -> Said {
        let at = seconds.map(|seconds| Timestamp::UNIX_EPOCH + TimeDelta::seconds(seconds));
        Said { role, text: text.into(), at }
    }

    fn history(messages: Vec<Said>) -> Result<History, ImportError> {
        History::new("elsewhere".into(), messages, now())
    }

    #[test]
    fn what_is_imported_folds_as_if_it_had_been_said_here() {
        let history =
            history(vec![said(MessageRole::User, "hi", Some(5)), said(MessageRole::Agent, "hello", Some(5))]).unwrap();
        let events = history.events("Plan", "scripted", now());
        let mut fold = Fold::default();
        events.iter().for_each(|event| fold.take(event).unwrap());
        let projection = fold.up_to(4).unwrap();
        assert_eq!(
            (projection.title.as_str(), projection.message_count, projection.state.as_str()),
            ("Plan", 2, "idle")
        );
        let messages: Vec<_> = projection.messages.iter().map(|it| (it.role, it.excerpt.as_str())).collect();
        assert_eq!(messages, [(MessageRole::User, "hi"), (MessageRole::Agent, "hello")]);
        assert_eq!((projection.turns.completed, projection.input_tokens, projection.output_tokens), (0, 0, 0));
        assert_eq!(
            (events[1].created_at, events[2].created_at),
            (now(), Timestamp::UNIX_EPOCH + TimeDelta::seconds(5))
        );
    }

    #[test]
    fn times_are_all_there_or_none_and_do_not_go_back() {
        let at = |seconds: &[Option<i64>]| {
            let messages = seconds.iter().map(|at| said(MessageRole::User, "hi", *at)).collect();
            history(messages).map(|history| history.len())
        };
        assert_eq!(at(&[None, None]), Ok(2));
        assert_eq!(at(&[Some(1), Some(1), Some(2)]), Ok(3));
        assert_eq!(at(&[Some(1), None]), Err(ImportError::SomeTimes));
        assert_eq!(at(&[Some(1), Some(3), Some(2)]), Err(ImportError::Backwards(2)));
        assert_eq!(at(&[Some(1), Some(1 << 40)]), Err(ImportError::Unlikely(1)));
        assert_eq!(at(&[Some(-1)]), Err(ImportError::Unlikely(0)));
    }

    #[test]
    fn an_import_is_bounded() {
        let many = |count, chars| history(vec![said(MessageRole::User, &"x".repeat(chars), None); count]).err();
        assert_eq!((many(0, 1), many(MESSAGES_MAX + 1, 1)), (Some(ImportError::Messages), Some(ImportError::Messages)));
        assert_eq!(
            (many(MESSAGES_MAX, CHARS_MAX / MESSAGES_MAX), many(2, CHARS_MAX)),
            (None, Some(ImportError::Chars))
        );
    }
}
