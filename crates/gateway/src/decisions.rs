//! Decisions that come in at a channel: approvals, rejections and answers, each by the token of its question.
//!
//! A decision is a field of the message (`{"token": "...", "kind": "approve"}`), as a button makes it, or a line of its text
//! (`/approve TOKEN`, `/reject TOKEN`, `/answer TOKEN text`), as a person writes it. One that is refused changes nothing, and the
//! problem says in a sentence why: whoever runs the bridge can show it to the person.
//!
//! Not here: whether it counts (`store::interaction`), who may decide (`domain::chat`).

use domain::chat::{ANSWER_CHARS, Decision, spoken};
use secrets::interaction_token_hash;
use serde::Deserialize;
use store::{Channel, DecisionError, EnqueueError, InboundDecision};
use utoipa::ToSchema;

use crate::Parts;
use crate::door::{bounded, internal};
use crate::problem::Problem;

/// Characters of a token.
const TOKEN_CHARS: usize = 100;

#[derive(Deserialize, ToSchema)]
#[schema(as = Decision)]
pub(crate) struct DecisionBody {
    /// Of the question, as the channel was told it.
    token: String,
    #[serde(flatten)]
    what: What,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = DecisionKind)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum What {
    Approve,
    Reject,
    Answer { answer: String },
}

/// The hash of the token and what is decided. `None`: the message is a prompt.
pub(crate) fn read(
    decision: Option<DecisionBody>,
    text: Option<&str>,
) -> Result<Option<([u8; 32], Decision)>, Problem> {
    let (token, decision) = match (decision, text.and_then(spoken)) {
        (Some(DecisionBody { token, what }), _) => {
            let decision = match what {
                What::Approve => Decision::Approve,
                What::Reject => Decision::Reject,
                What::Answer { answer } => Decision::Answer(answer),
            };
            (token, decision)
        }
        (None, Some((token, decision))) => (token.to_owned(), decision),
        (None, None) => return Ok(None),
    };
    bounded("token", &token, TOKEN_CHARS)?;
    if let Decision::Answer(answer) = &decision {
        bounded("answer", answer, ANSWER_CHARS)?;
    }
    Ok(Some((interaction_token_hash(&token), decision)))
}

pub(crate) async fn take(
    parts: &Parts,
    channel: &Channel,
    decision: &InboundDecision,
) -> Result<store::Received, Problem> {
    let digests = |session, request: &str| parts.effects.interaction(session, request);
    let taken = parts.store.interaction_decide(parts.generation.generation, channel, decision, &digests).await;
    taken.map_err(|error| {
        metrics::counter!("cowork_decisions_refused_total").increment(1);
        refused(&error)
    })
}

fn refused(error: &DecisionError) -> Problem {
    match error {
        DecisionError::NotAllowed(why) => Problem::not_allowed(why),
        DecisionError::NoSuchToken => Problem::no_such("question for this token in this thread"),
        DecisionError::Over(over) => Problem::over(over.to_string()),
        DecisionError::Enqueue(EnqueueError::SpokenTo) => {
            Problem::over("somebody spoke to the question before a restore")
        }
        DecisionError::AnotherKind(_) => Problem::invalid(error.to_string()),
        error => internal(error),
    }
}
