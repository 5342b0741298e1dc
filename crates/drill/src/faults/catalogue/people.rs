//! People in chats, and questions that they were told of, which come back wrongly.

use super::super::act::Act;
use super::super::fault::Step::{After, Source};
use super::super::fault::{Fault, found};
use crate::report::CheckId as Row;
use crate::report::Code;

/// The question that is open in the backup.
macro_rules! open_question {
    ($before:literal) => {
        concat!($before, " WHERE binding_id IN (SELECT binding_id FROM bindings WHERE thread = 'chat-open')")
    };
}

pub(super) const FAULTS: &[Fault] = &[
    Fault::new(
        "identity-terms-changed",
        "who may decide in a chat may not prompt there any more; the backup's digests agree with it",
        &[Source(Act::Sql("UPDATE channel_identities SET may_prompt = false WHERE external_id = 'chat-decider'"))],
        &[found(Row::WebOnlyBoot, Code::IdentityTerms)],
    ),
    Fault::new(
        "identity-unlinked",
        "who may decide in a chat is no member any more; the backup's digests agree with it",
        &[Source(Act::Sql(
            "UPDATE channel_identities SET may_decide = false, account_id = NULL WHERE external_id = 'chat-decider'",
        ))],
        &[found(Row::WebOnlyBoot, Code::IdentityTerms), found(Row::GatewayRecovery, Code::IdentityRefused)],
    ),
    Fault::new(
        "disabled-person-active",
        "a person whom the backup is to know as disabled is active in it; its digests agree",
        &[Source(Act::Sql("UPDATE channel_identities SET state = 'active' WHERE external_id = 'chat-disabled'"))],
        &[found(Row::WebOnlyBoot, Code::IdentityResurrected), found(Row::GatewayRecovery, Code::IdentityResurrected)],
    ),
    Fault::new(
        "disabled-person-back",
        "a person who was disabled after the backup is active again after the replay",
        &[After(
            "generation",
            Act::Sql(
                "UPDATE channel_identities SET state = 'active'
                 WHERE external_id = 'chat-to-be-disabled' AND state = 'disabled'",
            ),
        )],
        &[found(Row::WebOnlyBoot, Code::IdentityResurrected), found(Row::GatewayRecovery, Code::IdentityResurrected)],
    ),
    Fault::new(
        "disabled-newcomer-forgotten",
        "nobody remembers who was disabled after the backup and had not written before",
        &[After("web", Act::Sql("DELETE FROM remembered_effects WHERE kind = 'identity'"))],
        &[found(Row::GatewayRecovery, Code::IdentityResurrected)],
    ),
    Fault::new(
        "question-token-in-force",
        "questions are known as told by the restored system, so the lost one's tokens decide",
        &[After("web", Act::Sql("UPDATE interactions SET generation = generation + 1"))],
        &[found(Row::GatewayRecovery, Code::QuestionTokenInForce)],
    ),
    Fault::new(
        "question-forgotten",
        "nobody knows that a thread was told of a question; the backup's digests agree with it",
        &[Source(Act::Sql(open_question!("DELETE FROM interactions")))],
        &[found(Row::GatewayRecovery, Code::QuestionLost)],
    ),
    Fault::new(
        "decision-forgotten",
        "a question that was decided by chat counts as one that nobody decided; the backup's digests agree with it",
        &[Source(Act::Sql(
            "UPDATE interactions SET decision = NULL, decided_by = NULL, command_id = NULL, decided_at = NULL
             WHERE decision IS NOT NULL",
        ))],
        &[found(Row::GatewayRecovery, Code::DecisionForgotten)],
    ),
];
