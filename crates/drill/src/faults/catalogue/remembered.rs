//! What a restore remembered, and what is undone of it after the replay.

use super::super::act::Act;
use super::super::fault::Step::{After, Source};
use super::super::fault::{Fault, found};
use crate::report::CheckId as Row;
use crate::report::Code;

pub(super) const FAULTS: &[Fault] = &[
    Fault::new(
        "revoked-token-in-force",
        "tokens that were revoked after the backup are in force again",
        &[After("generation", Act::Sql("UPDATE api_tokens SET revoked_at = NULL WHERE revoked_at IS NOT NULL"))],
        &[found(Row::WebOnlyBoot, Code::TokenResurrected)],
    ),
    Fault::new(
        "removed-member-back",
        "who was removed or erased after the backup is a member again",
        &[
            After("data", Act::Define("CREATE SCHEMA kept; CREATE TABLE kept.memberships AS TABLE memberships")),
            After(
                "generation",
                Act::Sql("INSERT INTO memberships SELECT * FROM kept.memberships ON CONFLICT DO NOTHING"),
            ),
        ],
        &[
            found(Row::WebOnlyBoot, Code::MemberResurrected),
            found(Row::WebOnlyBoot, Code::DiagnosticsCount),
        ],
    ),
    Fault::new(
        "erased-title-back",
        "the title of a session is there again whose owner was erased after the backup",
        &[
            After("data", Act::Define("CREATE SCHEMA kept; CREATE TABLE kept.sessions AS TABLE sessions")),
            After(
                "generation",
                Act::Sql(
                    "UPDATE sessions SET title = kept.title FROM kept.sessions AS kept
                     WHERE sessions.session_id = kept.session_id AND sessions.title <> kept.title",
                ),
            ),
        ],
        &[found(Row::SessionProjectionParity, Code::SubjectResurrected)],
    ),
    Fault::new(
        "erased-file-back",
        "a file is there again whose owner was erased after the backup",
        &[
            After(
                "data",
                Act::Define(
                    "CREATE SCHEMA kept; CREATE TABLE kept.artifacts AS TABLE artifacts;
                     CREATE TABLE kept.blobs AS TABLE blobs",
                ),
            ),
            After(
                "generation",
                Act::Sql(
                    "INSERT INTO blobs SELECT kept.* FROM kept.blobs AS kept JOIN kept.artifacts USING (org_id, blob_key)
                     ON CONFLICT DO NOTHING;
                     INSERT INTO artifacts SELECT * FROM kept.artifacts ON CONFLICT DO NOTHING",
                ),
            ),
        ],
        &[
            found(Row::WebOnlyBoot, Code::DiagnosticsCount),
            found(Row::SessionProjectionParity, Code::SubjectResurrected),
            found(Row::ArtifactMetadata, Code::ArtifactCount),
            found(Row::ArtifactMetadata, Code::SubjectResurrected),
        ],
    ),
    Fault::new(
        "answered-request-open",
        "a request that was answered after the backup can be answered again",
        &[After("web", Act::Sql("DELETE FROM remembered_effects WHERE kind = 'interaction'"))],
        &[
            found(Row::WorkerRecovery, Code::RequestAnsweredTwice),
            found(Row::GatewayRecovery, Code::DecisionForgotten),
        ],
    ),
    Fault::new(
        "later-call-forgotten",
        "a call of a workflow that was accepted after the backup is taken again, and so is a decision by chat",
        &[After("web", Act::Sql("DELETE FROM remembered_effects WHERE kind = 'inbound'"))],
        &[found(Row::GatewayRecovery, Code::CallTakenTwice), found(Row::GatewayRecovery, Code::DecisionForgotten)],
    ),
    Fault::new(
        "fired-slot-forgotten",
        "slots that fired after the backup are in no row",
        &[After("web", Act::Sql("DELETE FROM slots WHERE trigger_id IS NULL AND state IN ('fired', 'unknown')"))],
        &[
            found(Row::SchedulerRecovery, Code::SlotFiredAgain),
            found(Row::SchedulerRecovery, Code::SlotForgotten),
            found(Row::SchedulerRecovery, Code::HeldSlot),
        ],
    ),
    Fault::new(
        "held-delivery-sent",
        "what nobody can know to have arrived is pending, also where a repeat is seen",
        &[After(
            "web",
            Act::Sql(
                "UPDATE deliveries SET state = 'pending', next_attempt_at = now(), finished_at = NULL
                 WHERE state = 'unknown'",
            ),
        )],
        &[
            found(Row::GatewayRecovery, Code::DeliveryRepeated),
            found(Row::GatewayRecovery, Code::DeliveryNotHeld),
        ],
    ),
    Fault::new(
        "sent-delivery-held",
        "a delivery that was answered long before the disaster is held for a person",
        &[After(
            "web",
            Act::Sql(
                "UPDATE deliveries SET state = 'unknown' WHERE delivery_id =
                 (SELECT delivery_id FROM deliveries WHERE state = 'sent' ORDER BY created_at LIMIT 1)",
            ),
        )],
        &[found(Row::GatewayRecovery, Code::DeliveryHeldNeedlessly)],
    ),
    Fault::new(
        "answered-delivery-forgotten",
        "a delivery that is pending in the backup was answered long before the disaster, and goes out again",
        &[
            Source(Act::Sql(
                "UPDATE deliveries SET state = 'pending', finished_at = NULL, last_error = 'not yet' WHERE delivery_id =
                 (SELECT delivery_id FROM deliveries JOIN channels USING (org_id, channel_id)
                 WHERE state = 'sent' AND deduplicates ORDER BY deliveries.created_at LIMIT 1)",
            )),
            // The recovery ledger remembers it.
            After(
                "web",
                Act::Sql(
                    "UPDATE deliveries SET state = 'pending', finished_at = NULL, next_attempt_at = now()
                     WHERE last_error = 'not yet'",
                ),
            ),
        ],
        &[found(Row::GatewayRecovery, Code::DeliveryForgotten)],
    ),
    Fault::new(
        "delivery-from-nowhere",
        "a delivery goes out in a thread that the backup does not have",
        &[After(
            "web",
            Act::Sql(
                "INSERT INTO deliveries (org_id, delivery_id, channel_id, binding_id, sequence, payload, state,
                     next_attempt_at, created_at)
                 SELECT org_id, gen_random_uuid(), channel_id, binding_id, 900000,
                     jsonb_set(payload, '{data,thread}', '\"nowhere\"'), 'pending', now(), now()
                 FROM deliveries WHERE state = 'sent' ORDER BY created_at LIMIT 1",
            ),
        )],
        &[found(Row::GatewayRecovery, Code::DeliveryUnexplained)],
    ),
];
