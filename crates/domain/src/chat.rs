//! People in chats: what they may do from there, and how they speak to what an agent asks.
//!
//! A decision is a member's: an identity decides nothing by itself, but for the member that it is linked to, and only what that
//! member's role permits at this moment. Prompts may come from anybody, as the channel says.
//!
//! Not here: who they are (`store::channel_identity`), that a message was signed (`channels`), the tokens (`secrets`).

use std::str::FromStr;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::channel::UnknownWord;
use crate::permission::{Permission, Permissions};

/// Characters of the name that a chat has for a person.
pub const EXTERNAL_ID_CHARS: usize = 200;
/// Characters of what a person is called there.
pub const SENDER_NAME_CHARS: usize = 200;
/// Characters of an answer from a chat.
pub const ANSWER_CHARS: usize = 32_000;
/// People of a channel of whom nobody has said what they may do. With one more, the oldest of them is forgotten.
pub const PENDING_MAX: i64 = 1_000;
/// How long a question can be decided by its token.
pub const INTERACTION_LIFE: TimeDelta = TimeDelta::hours(24);
/// What a token begins with.
pub const TOKEN_PREFIX: &str = "cwi_";

/// What is known of somebody in a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum IdentityState {
    /// Has written, and nobody has said what it may do.
    Pending,
    Active,
    /// May do nothing by chat.
    Disabled,
}

impl IdentityState {
    /// As it stands in SQL and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Disabled => "disabled",
        }
    }
}

impl FromStr for IdentityState {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let all = [Self::Pending, Self::Active, Self::Disabled];
        all.into_iter().find(|state| state.as_str() == text).ok_or_else(|| UnknownWord::new(text))
    }
}

/// What somebody does by chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Prompt,
    Decide,
}

/// Somebody in a chat, as a message finds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub state: IdentityState,
    pub may_prompt: bool,
    pub may_decide: bool,
    pub member: Link,
}

/// The member that somebody in a chat is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Nobody said.
    None,
    /// The account is no member any more.
    Gone,
    Member(Permissions),
}

/// Why somebody may not do by chat what they want.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAllowed {
    #[error("nobody has said yet what the sender may do; somebody who manages members can, at /api/channel-identities")]
    Unknown,
    #[error("the message names no sender, and this takes one who is known")]
    Unnamed,
    #[error("the sender was disabled; somebody who manages members can change that, at /api/channel-identities")]
    Disabled,
    #[error(
        "the sender may not do this by chat; somebody who manages members can allow it, at /api/channel-identities"
    )]
    NotGranted,
    #[error("the sender is linked to no member of the org")]
    NotAMember,
    #[error("the role of the sender in the org does not permit it")]
    NotPermitted,
}

/// Whether `sender` may do it. `None`: the message names nobody. Whoever is not known may prompt where the channel lets them, and
/// never decides.
pub fn judge(act: Act, unknown_may_prompt: bool, sender: Option<&Standing>) -> Result<(), NotAllowed> {
    let unknown = act == Act::Prompt && unknown_may_prompt;
    let Some(sender) = sender else { return if unknown { Ok(()) } else { Err(NotAllowed::Unnamed) } };
    match sender.state {
        IdentityState::Disabled => return Err(NotAllowed::Disabled),
        IdentityState::Pending => return if unknown { Ok(()) } else { Err(NotAllowed::Unknown) },
        IdentityState::Active => {}
    }
    let (granted, permission) = match act {
        Act::Prompt => (sender.may_prompt, Permission::SessionsWrite),
        Act::Decide => (sender.may_decide, Permission::SessionsApprove),
    };
    match sender.member {
        _ if !granted => Err(NotAllowed::NotGranted),
        Link::None if act == Act::Prompt => Ok(()),
        Link::None | Link::Gone => Err(NotAllowed::NotAMember),
        Link::Member(permissions) if permissions.contains(permission) => Ok(()),
        Link::Member(_) => Err(NotAllowed::NotPermitted),
    }
}

/// What somebody says of what an agent asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Approve,
    Reject,
    Answer(String),
}

/// A line that speaks to a question: `/approve TOKEN`, `/reject TOKEN` or `/answer TOKEN text`. `None`: it is something else, a
/// prompt; so is a line whose second word is no token.
#[must_use]
pub fn spoken(text: &str) -> Option<(&str, Decision)> {
    let (command, rest) = text.trim().split_once(char::is_whitespace)?;
    let rest = rest.trim_start();
    let (token, said) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    if !token.starts_with(TOKEN_PREFIX) {
        return None;
    }
    let decision = match command {
        "/approve" if said.trim().is_empty() => Decision::Approve,
        "/reject" if said.trim().is_empty() => Decision::Reject,
        "/answer" => Decision::Answer(said.trim().to_owned()),
        _ => return None,
    };
    Some((token, decision))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(act: Act, sender: Option<&Standing>, expected: Result<(), NotAllowed>) {
        assert_eq!(judge(act, true, sender), expected, "{act:?} of {sender:?}");
    }

    fn somebody(state: IdentityState, member: Link) -> Standing {
        Standing { state, may_prompt: true, may_decide: true, member }
    }

    #[test]
    fn who_is_not_known_may_prompt_where_the_channel_lets_them_and_never_decides() {
        let pending = somebody(IdentityState::Pending, Link::None);
        for sender in [None, Some(&pending)] {
            check(Act::Prompt, sender, Ok(()));
            assert!(judge(Act::Prompt, false, sender).is_err());
            for unknown_may_prompt in [true, false] {
                assert!(judge(Act::Decide, unknown_may_prompt, sender).is_err());
            }
        }
    }

    #[test]
    fn a_decision_is_a_members_whose_role_permits_it() {
        let of = |permissions: &[Permission]| Link::Member(permissions.iter().copied().collect());
        let active = |member| somebody(IdentityState::Active, member);
        check(Act::Decide, Some(&active(of(&[Permission::SessionsApprove]))), Ok(()));
        check(Act::Decide, Some(&active(of(&[Permission::SessionsWrite]))), Err(NotAllowed::NotPermitted));
        check(Act::Decide, Some(&active(Link::None)), Err(NotAllowed::NotAMember));
        check(Act::Decide, Some(&active(Link::Gone)), Err(NotAllowed::NotAMember));
        let mut prompts_only = active(of(&[Permission::SessionsApprove, Permission::SessionsWrite]));
        prompts_only.may_decide = false;
        check(Act::Decide, Some(&prompts_only), Err(NotAllowed::NotGranted));
        check(Act::Prompt, Some(&prompts_only), Ok(()));
    }

    #[test]
    fn who_was_disabled_may_nothing_and_a_guest_may_prompt() {
        let all: Permissions = Permission::ALL.iter().copied().collect();
        let disabled = somebody(IdentityState::Disabled, Link::Member(all));
        check(Act::Prompt, Some(&disabled), Err(NotAllowed::Disabled));
        check(Act::Decide, Some(&disabled), Err(NotAllowed::Disabled));
        let guest = somebody(IdentityState::Active, Link::None);
        assert_eq!(judge(Act::Prompt, false, Some(&guest)), Ok(()));
        check(Act::Prompt, Some(&somebody(IdentityState::Active, Link::Gone)), Err(NotAllowed::NotAMember));
    }

    #[test]
    fn only_a_line_with_a_token_speaks_to_a_question() {
        assert_eq!(spoken("/approve cwi_a"), Some(("cwi_a", Decision::Approve)));
        assert_eq!(spoken(" /reject  cwi_a \n"), Some(("cwi_a", Decision::Reject)));
        assert_eq!(spoken("/answer cwi_a  the blue one"), Some(("cwi_a", Decision::Answer("the blue one".into()))));
        for prompt in ["/approve", "/approve it", "approve cwi_a", "/approve cwi_a and go on", "/deny cwi_a", "hello"] {
            assert_eq!(spoken(prompt), None, "{prompt}");
        }
    }
}
