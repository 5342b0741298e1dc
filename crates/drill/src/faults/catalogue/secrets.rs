//! Secrets, keys and what is sealed with them.

use super::super::act::{Act, SecretChange};
use super::super::fault::Step::{After, Backup, Source};
use super::super::fault::{Fault, found, unknown};
use super::super::harm::Harm;
use crate::report::CheckId as Row;
use crate::report::Code;

pub(super) const FAULTS: &[Fault] = &[
    Fault::new(
        "key-wrong",
        "another key of the same form",
        &[After("restore", Act::Secret { name: "adapter_key", change: SecretChange::Other })],
        &[
            found(Row::ObjectStoreRestore, Code::CheckpointUnopened),
            found(Row::SecretReferences, Code::CiphertextUnopened),
            found(Row::WorkerRecovery, Code::CheckpointUnopened),
            found(Row::WorkerRecovery, Code::SmokeOutcome),
            found(Row::WorkerRecovery, Code::SmokeEvents),
            found(Row::WorkerRecovery, Code::WorkspaceLost),
            found(Row::WorkerRecovery, Code::LinkLost),
            found(Row::WorkerRecovery, Code::CheckpointSaved),
            found(Row::WorkerRecovery, Code::StaleTakeover),
            found(Row::WorkerRecovery, Code::StaleAttempts),
            found(Row::WorkerRecovery, Code::StaleTokenAccepted),
            found(Row::GatewayRecovery, Code::SmokeUnanswered),
            // The turn that the open question's decision lets go on has no end.
            found(Row::GatewayRecovery, Code::QuestionLost),
        ],
    ),
    Fault::new(
        "secret-file-missing",
        "the file of a secret is gone",
        &[After("restore", Act::Secret { name: "channel", change: SecretChange::Remove })],
        &[
            found(Row::SecretReferences, Code::SecretUnresolved),
            found(Row::WebOnlyBoot, Code::RoleDidNotStart),
            unknown(Row::SessionProjectionParity),
            unknown(Row::ArtifactMetadata),
            unknown(Row::WorkerRecovery),
            unknown(Row::SchedulerRecovery),
            unknown(Row::GatewayRecovery),
            unknown(Row::Redaction),
        ],
    ),
    Fault::new(
        "secret-variable-missing",
        "the variable of a secret is not set",
        &[After("restore", Act::Variable { name: "SECRET_COOKIE", value: None })],
        &[
            found(Row::SecretReferences, Code::SecretUnresolved),
            found(Row::WebOnlyBoot, Code::RoleDidNotStart),
            unknown(Row::SessionProjectionParity),
            unknown(Row::ArtifactMetadata),
            unknown(Row::WorkerRecovery),
            unknown(Row::SchedulerRecovery),
            unknown(Row::GatewayRecovery),
            unknown(Row::Redaction),
        ],
    ),
    Fault::new(
        "secret-of-another-version",
        "a secret is configured as another version than the backup's",
        &[After(
            "restore",
            Act::Config { from: "SECRET_GATEWAY\"\nversion = \"1\"", to: "SECRET_GATEWAY\"\nversion = \"0\"" },
        )],
        &[found(Row::SecretReferences, Code::SecretVersion)],
    ),
    Fault::new(
        "secret-not-configured",
        "a secret of the backup is not configured",
        &[After(
            "restore",
            Act::Config {
                from: "[secrets.oidc_client]\nreference = \"env:SECRET_OIDC_CLIENT\"\nversion = \"1\"",
                to: "",
            },
        )],
        &[
            unknown(Row::ObjectStoreRestore),
            unknown(Row::SecretReferences),
            unknown(Row::WebOnlyBoot),
            unknown(Row::SessionProjectionParity),
            unknown(Row::ArtifactMetadata),
            unknown(Row::WorkerRecovery),
            unknown(Row::SchedulerRecovery),
            unknown(Row::GatewayRecovery),
            unknown(Row::Redaction),
        ],
    ),
    Fault::new(
        "secret-unknown",
        "the backup names a secret that this installation has never had; the manifest is sealed again",
        &[Backup(Harm::ForgeSecret)],
        &[found(Row::SecretReferences, Code::SecretMissing)],
    ),
    Fault::new(
        "ciphertext-moved",
        "two BYOK keys of two orgs change ciphertexts",
        &[Source(Act::Sql(
            "UPDATE byok_keys k SET ciphertext = o.ciphertext, wrapped_key = o.wrapped_key FROM (SELECT \
             byok_key_id, lead(ciphertext) OVER w AS ciphertext, lead(wrapped_key) OVER w AS wrapped_key \
             FROM byok_keys WINDOW w AS (ORDER BY byok_key_id)) o WHERE o.byok_key_id = k.byok_key_id \
             AND o.ciphertext IS NOT NULL",
        ))],
        &[found(Row::SecretReferences, Code::CiphertextUnopened)],
    ),
    Fault::new(
        "ciphertext-lost",
        "a BYOK key's row is gone after the restore",
        &[After(
            "restore",
            Act::Sql(
                "DELETE FROM byok_keys WHERE byok_key_id = (SELECT byok_key_id FROM byok_keys ORDER BY 1 \
                 LIMIT 1)",
            ),
        )],
        &[found(Row::PostgresRestore, Code::TableCount), found(Row::SecretReferences, Code::CiphertextCount)],
    ),
    Fault::new(
        "key-version-dangling",
        "a BYOK key names a version of the key that nobody has",
        &[Source(Act::Sql(
            "UPDATE byok_keys SET key_version = '9' WHERE byok_key_id = (SELECT byok_key_id FROM \
             byok_keys ORDER BY 1 LIMIT 1)",
        ))],
        &[found(Row::SecretReferences, Code::CiphertextUnopened)],
    ),
    Fault::new(
        "plaintext-exported",
        "an operator wrote a secret's value where its version belongs",
        &[Source(Act::SecretAsVersion("channel")), After("restore", Act::SecretAsVersion("channel"))],
        &[
            found(Row::SecretReferences, Code::PlaintextExported),
            found(Row::GatewayRecovery, Code::Retry),
            found(Row::GatewayRecovery, Code::DeliveryLost),
        ],
    ),
];
