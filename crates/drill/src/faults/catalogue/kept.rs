//! What was set before the backup and otherwise after it, or waited meanwhile, and comes back wrongly.

use super::super::act::{Act, Change, SecretChange};
use super::super::fault::Step::{After, Source};
use super::super::fault::{Fault, found};
use crate::report::CheckId as Row;
use crate::report::Code;

/// The session that has done nothing in the backup.
macro_rules! unbegun {
    ($before:literal, $after:literal) => {
        concat!($before, "(SELECT session_id FROM sessions WHERE title = 'To begin with files')", $after)
    };
}

pub(super) const FAULTS: &[Fault] = &[
    Fault::new(
        "subscription-changed",
        "an org is on the plan that it was put on after the backup, and nobody has said so; the backup's digests agree",
        &[Source(Act::Sql("UPDATE subscriptions SET plan = 'drill-company' WHERE plan = 'drill-team'"))],
        &[found(Row::WebOnlyBoot, Code::SubscriptionTerms)],
    ),
    Fault::new(
        "subscription-lost",
        "an org is on the plan that all begin with, after the restore",
        &[After("restore", Act::Sql("UPDATE subscriptions SET plan = 'self-hosted' WHERE plan = 'drill-team'"))],
        &[found(Row::PostgresRestore, Code::TableDigest), found(Row::WebOnlyBoot, Code::SubscriptionTerms)],
    ),
    Fault::new(
        "subscription-gone",
        "an org has no subscription at all, after the restore",
        &[After("restore", Act::Sql("DELETE FROM subscriptions WHERE plan = 'drill-team'"))],
        &[found(Row::PostgresRestore, Code::TableCount), found(Row::WebOnlyBoot, Code::SubscriptionTerms)],
    ),
    Fault::new(
        "subscription-confirmed",
        "the plan of before the backup counts as confirmed in the restored system, where nobody has said so",
        &[After("generation", Act::Sql("UPDATE subscriptions SET confirmed_at = now() WHERE plan = 'drill-team'"))],
        &[found(Row::WebOnlyBoot, Code::SubscriptionTerms)],
    ),
    Fault::new(
        "org-policy-lost",
        "the policies of all orgs are gone after the restore",
        &[After("restore", Act::Sql("DELETE FROM org_policies"))],
        &[found(Row::PostgresRestore, Code::TableCount), found(Row::WebOnlyBoot, Code::PolicyTerms)],
    ),
    Fault::new(
        "policy-loosened",
        "a policy lets everybody in; the backup's digests agree with it",
        &[Source(Act::Sql("UPDATE org_policies SET member_domains = NULL"))],
        &[found(Row::WebOnlyBoot, Code::PolicyTerms)],
    ),
    Fault::new(
        "key-of-before-in-force",
        "a key that was replaced after the backup is in force again after the replay, with the secret of before",
        &[
            After("data", Act::Define("CREATE SCHEMA kept; CREATE TABLE kept.byok_keys AS TABLE byok_keys")),
            After(
                "generation",
                Act::Sql(
                    "UPDATE byok_keys SET ciphertext = kept.ciphertext, wrapped_key = kept.wrapped_key, revoked_at = NULL
                     FROM kept.byok_keys AS kept
                     WHERE byok_keys.byok_key_id = kept.byok_key_id AND byok_keys.label = 'to be rotated'",
                ),
            ),
        ],
        &[found(Row::WebOnlyBoot, Code::KeyResurrected)],
    ),
    Fault::new(
        "key-withdrawn",
        "a replay takes a key out of force that was rotated before the backup, and not since",
        &[After(
            "generation",
            Act::Sql(
                "UPDATE byok_keys SET revoked_at = now(), ciphertext = '', wrapped_key = '' WHERE label = 'rotated'",
            ),
        )],
        &[found(Row::WebOnlyBoot, Code::KeyWithdrawn)],
    ),
    Fault::new(
        "source-damaged",
        "a bit of the files is flipped that a session is to begin with",
        &[After(
            "restore",
            Act::Object { key: "SELECT blob_key FROM project_sources WHERE name = 'Handbook'", change: Change::Flip },
        )],
        &[found(Row::ObjectStoreRestore, Code::BlobContent), found(Row::WorkerRecovery, Code::SourceLost)],
    ),
    Fault::new(
        "fetched-source-damaged",
        "a bit of the files of a commit is flipped that a session is to begin with",
        &[After(
            "restore",
            Act::Object { key: "SELECT blob_key FROM project_sources WHERE format = 'git'", change: Change::Flip },
        )],
        &[found(Row::ObjectStoreRestore, Code::BlobContent), found(Row::WorkerRecovery, Code::SourceLost)],
    ),
    Fault::new(
        "source-forgotten",
        "a session that has done nothing names no files to begin with; the backup's digests agree with it",
        &[Source(Act::Sql(unbegun!("UPDATE sessions SET project_source_id = NULL WHERE session_id = ", "")))],
        &[found(Row::WorkerRecovery, Code::SourceLost)],
    ),
    Fault::new(
        "steering-lost",
        "a prompt that had steered is in no row",
        &[Source(Act::Sql("DELETE FROM commands WHERE while_running = 'steer' AND state = 'done'"))],
        &[found(Row::WorkerRecovery, Code::CommandLost)],
    ),
    Fault::new(
        "steering-lost-while-it-waits",
        "a prompt that steers and was not heard yet is in no row",
        &[Source(Act::Sql("DELETE FROM commands WHERE while_running = 'steer' AND state = 'pending'"))],
        &[found(Row::WorkerRecovery, Code::CommandLost), found(Row::WorkerRecovery, Code::SteeringUnheard)],
    ),
    Fault::new(
        "steering-waits-its-turn",
        "a prompt that steers is one that waits, in the backup",
        &[Source(Act::Sql(
            "UPDATE commands SET while_running = NULL WHERE while_running = 'steer' AND state = 'pending'",
        ))],
        &[found(Row::WorkerRecovery, Code::SteeringUnheard)],
    ),
    Fault::new(
        "steering-heard-again",
        "a prompt that had steered a turn before the backup is pending again, when the worker starts",
        &[After(
            "web",
            Act::Sql(
                "UPDATE commands SET state = 'pending', finished_at = NULL, outcome = NULL
                 WHERE while_running = 'steer' AND state = 'done';
                 INSERT INTO session_leases
                 SELECT org_id, session_id, now(), NULL, NULL FROM sessions WHERE title = 'It is told more'",
            ),
        )],
        &[found(Row::WorkerRecovery, Code::SteeringRepeated)],
    ),
    Fault::new(
        "overlap-lost",
        "the secret of before is void of a trigger that was rotated with an overlap; the backup's digests agree with it",
        &[Source(Act::Sql(
            "UPDATE triggers SET overlap_until = NULL, overlap_version = NULL WHERE overlap_until IS NOT NULL",
        ))],
        &[found(Row::GatewayRecovery, Code::CallRefused)],
    ),
    Fault::new(
        "trigger-secret-taken-back",
        "a trigger that was rotated after the backup has the secret of before again after the replay",
        &[After(
            "generation",
            Act::Sql("UPDATE triggers SET secret_number = 1 WHERE secret_number = 2 AND overlap_until IS NULL"),
        )],
        &[
            found(Row::GatewayRecovery, Code::CallRefused),
            found(Row::GatewayRecovery, Code::TriggerSecretResurrected),
        ],
    ),
    Fault::new(
        "overlap-from-nowhere",
        "a trigger that was rotated after the backup takes the secret of before, too",
        &[After(
            "generation",
            Act::Sql(
                "UPDATE triggers SET overlap_until = now() + interval '1 hour', overlap_version = secret_version
                 WHERE secret_number = 2 AND overlap_until IS NULL",
            ),
        )],
        &[found(Row::GatewayRecovery, Code::TriggerSecretResurrected)],
    ),
    Fault::new(
        "closed-channel-open-again",
        "channels that were closed for good, before the backup and after it, are open after the replay",
        &[After("generation", Act::Sql("UPDATE channels SET closed_at = NULL"))],
        &[found(Row::WebOnlyBoot, Code::ChannelReopened), found(Row::GatewayRecovery, Code::ChannelReopened)],
    ),
    Fault::new(
        "billing-secret-missing",
        "the file of a billing provider's secret is gone; no role of a copy needs it",
        &[After("restore", Act::Secret { name: "billing_webhook", change: SecretChange::Remove })],
        &[
            found(Row::SecretReferences, Code::SecretUnresolved),
            found(Row::WebOnlyBoot, Code::SecretUnresolved),
        ],
    ),
];
