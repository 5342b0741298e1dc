//! Rows, definitions and pages that differ from the backup's.

use super::super::act::Act;
use super::super::fault::Step::{After, Source};
use super::super::fault::{Fault, found, unknown};
use crate::report::CheckId as Row;
use crate::report::Code;

pub(super) const FAULTS: &[Fault] = &[
    Fault::new(
        "table-lost",
        "a table is dropped after the restore",
        &[After("restore", Act::Define("DROP TABLE usage_records"))],
        &[
            found(Row::PostgresRestore, Code::TableCount),
            found(Row::PostgresRestore, Code::CatalogueMissing),
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
        "row-lost",
        "a usage record is deleted after the restore",
        &[After(
            "restore",
            Act::Sql(
                "DELETE FROM usage_records WHERE usage_id = (SELECT usage_id FROM usage_records ORDER BY \
                 usage_id LIMIT 1)",
            ),
        )],
        &[found(Row::PostgresRestore, Code::TableCount)],
    ),
    Fault::new(
        "row-changed",
        "a usage record counts one more after the restore",
        &[After(
            "restore",
            Act::Sql(
                "UPDATE usage_records SET quantity = quantity + 1 WHERE usage_id = (SELECT usage_id FROM \
                 usage_records ORDER BY usage_id LIMIT 1)",
            ),
        )],
        &[found(Row::PostgresRestore, Code::TableDigest)],
    ),
    Fault::new(
        "row-added",
        "an audit record is written after the restore",
        &[After(
            "restore",
            Act::Sql(
                "INSERT INTO audit_records (org_id, audit_id, actor, action, target, detail, recorded_at) \
                 SELECT org_id, gen_random_uuid(), actor, action, target, detail, now() FROM audit_records \
                 LIMIT 1",
            ),
        )],
        &[found(Row::PostgresRestore, Code::TableCount), found(Row::PostgresRestore, Code::SequenceValue)],
    ),
    Fault::new(
        "audit-record-altered",
        "a sealed audit record tells of somebody else; the backup's digests agree with it",
        &[Source(Act::Sql(
            "UPDATE audit_records SET actor = 'role:nobody' WHERE audit_id = (SELECT audit_id FROM \
             audit_records WHERE seal_number = 1 ORDER BY org_id LIMIT 1)",
        ))],
        &[found(Row::PostgresRestore, Code::AuditChain)],
    ),
    Fault::new(
        "audit-detail-altered",
        "what a sealed audit record quotes is another text, and its salt is gone as after an erasure",
        &[Source(Act::Sql(
            "UPDATE audit_records SET detail = '{\"title\": \"harmless\"}', seal_salt = NULL WHERE audit_id = \
             (SELECT audit_id FROM audit_records WHERE seal_number = 1 ORDER BY org_id LIMIT 1)",
        ))],
        &[found(Row::PostgresRestore, Code::AuditChain)],
    ),
    Fault::new(
        "audit-record-taken-away",
        "the newest sealed audit record of an org is not there any more, before the backup",
        &[Source(Act::Sql(
            "DELETE FROM audit_records WHERE audit_id = (SELECT audit_id FROM audit_records JOIN audit_heads \
             USING (org_id, seal_number) ORDER BY org_id LIMIT 1)",
        ))],
        &[found(Row::PostgresRestore, Code::AuditChain)],
    ),
    Fault::new(
        "default-lost",
        "a column loses its default",
        &[After("restore", Act::Define("ALTER TABLE deliveries ALTER COLUMN generation SET DEFAULT 7"))],
        &[found(Row::PostgresRestore, Code::CatalogueMissing), found(Row::PostgresRestore, Code::CatalogueAdded)],
    ),
    Fault::new(
        "index-lost",
        "an index is dropped",
        &[After("restore", Act::Define("DROP INDEX artifacts_session"))],
        &[found(Row::PostgresRestore, Code::CatalogueMissing)],
    ),
    Fault::new(
        "index-invalid",
        "an index is there and marked as not valid",
        &[After(
            "restore",
            Act::Sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'runs_running'::regclass"),
        )],
        &[
            found(Row::PostgresRestore, Code::CatalogueMissing),
            found(Row::PostgresRestore, Code::CatalogueAdded),
            found(Row::PostgresRestore, Code::EngineComplaint),
        ],
    ),
    Fault::new(
        "constraint-lost",
        "a check of a column is dropped",
        &[After("restore", Act::Define("ALTER TABLE usage_records DROP CONSTRAINT usage_records_quantity_check"))],
        &[found(Row::PostgresRestore, Code::CatalogueMissing)],
    ),
    Fault::new(
        "grant-lost",
        "the owner's right to read a table is revoked; a superuser reads on",
        &[After("restore", Act::Define("REVOKE SELECT ON audit_records FROM CURRENT_USER"))],
        &[found(Row::PostgresRestore, Code::CatalogueMissing)],
    ),
    Fault::new(
        "grant-added",
        "everybody may read a table",
        &[After("restore", Act::Define("GRANT SELECT ON sessions TO PUBLIC"))],
        &[found(Row::PostgresRestore, Code::CatalogueAdded)],
    ),
    Fault::new(
        "wall-open-in-the-source",
        "a policy of the source lets everybody see the rows of everybody; its backup agrees with it",
        &[Source(Act::Define(
            "DROP POLICY tenant ON usage_records; CREATE POLICY tenant ON usage_records USING (true)",
        ))],
        &[found(Row::PostgresRestore, Code::TenantWall)],
    ),
    Fault::new(
        "wall-off-in-the-source",
        "a table of the source has its policy, and row-level security is off; its backup agrees with it",
        &[Source(Act::Define("ALTER TABLE usage_records DISABLE ROW LEVEL SECURITY"))],
        &[found(Row::PostgresRestore, Code::TenantWall)],
    ),
    Fault::new(
        "policy-lost",
        "a policy is dropped after the restore, and row-level security switched off",
        &[After(
            "restore",
            Act::Define("DROP POLICY tenant ON usage_records; ALTER TABLE usage_records DISABLE ROW LEVEL SECURITY"),
        )],
        &[
            found(Row::PostgresRestore, Code::CatalogueMissing),
            found(Row::PostgresRestore, Code::CatalogueAdded),
            found(Row::PostgresRestore, Code::TenantWall),
        ],
    ),
    Fault::new(
        "runtime-grant-lost",
        "a right of the role that roles work under is revoked after the restore",
        &[After("restore", Act::Define("REVOKE DELETE ON usage_records FROM cowork_runtime"))],
        &[found(Row::PostgresRestore, Code::CatalogueMissing), found(Row::PostgresRestore, Code::TenantWall)],
    ),
    Fault::new(
        "sequence-reset",
        "a sequence begins again",
        &[After("restore", Act::Sql("SELECT setval(pg_get_serial_sequence('audit_records', 'position'), 1, false)"))],
        &[found(Row::PostgresRestore, Code::SequenceValue)],
    ),
    Fault::new(
        "index-lacks-a-row",
        "a row is written again while an index takes no entries: the rows are the backup's, the \
         index is not",
        &[
            After(
                "restore",
                Act::Sql("UPDATE pg_index SET indisready = false WHERE indexrelid = 'usage_records_pkey'::regclass"),
            ),
            After(
                "restore",
                Act::Sql(
                    "WITH gone AS (DELETE FROM usage_records WHERE usage_id = (SELECT usage_id FROM \
                     usage_records ORDER BY usage_id LIMIT 1) RETURNING *) INSERT INTO usage_records SELECT * \
                     FROM gone",
                ),
            ),
            After(
                "restore",
                Act::Sql("UPDATE pg_index SET indisready = true WHERE indexrelid = 'usage_records_pkey'::regclass"),
            ),
        ],
        &[found(Row::PostgresRestore, Code::EngineComplaint)],
    ),
    Fault::new(
        "heap-page-flipped",
        "a bit in a page of a table of the target, whose server is down meanwhile",
        &[After("restore", Act::Page("SELECT pg_relation_filepath('usage_records')"))],
        &[
            found(Row::PostgresRestore, Code::TableCount),
            found(Row::PostgresRestore, Code::EngineComplaint),
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
        "index-page-flipped",
        "a bit in a page of an index of the target, whose server is down meanwhile",
        &[After("restore", Act::Page("SELECT pg_relation_filepath('usage_records_pkey')"))],
        &[
            found(Row::PostgresRestore, Code::TableCount),
            found(Row::PostgresRestore, Code::EngineComplaint),
            unknown(Row::WebOnlyBoot),
            unknown(Row::SessionProjectionParity),
            unknown(Row::ArtifactMetadata),
            unknown(Row::WorkerRecovery),
            unknown(Row::SchedulerRecovery),
            unknown(Row::GatewayRecovery),
            unknown(Row::Redaction),
        ],
    ),
];
