//! What a backup needs to know about our tables: SQL that goes into its manifest, so that whoever judges a restore
//! can ask the same questions without knowing our tables.
//!
//! Not here: asking (`archive`). The types are plain, for this crate knows no archive; the binary hands them over.

/// SQL about our tables, for a backup.
#[derive(Debug, Clone, Copy)]
pub struct BackupSpec {
    /// One row: `system_id, generation, environment, schema_version`.
    pub system: &'static str,
    /// Rows of `blob_key, size, sha256` (hex).
    pub blobs: &'static str,
    /// Rows of `version, ciphertexts`.
    pub key_versions: &'static str,
    /// Rows of `name, value`.
    pub watermarks: &'static str,
    pub probes: &'static [BackupProbe],
    /// Every table is in exactly one.
    pub groups: &'static [BackupGroup],
    pub filters: &'static [BackupFilter],
    /// Tables whose rows are not compared, with the reason.
    pub not_compared: &'static [(&'static str, &'static str)],
}

/// A question about the data. Its answer has a fixed order.
#[derive(Debug, Clone, Copy)]
pub struct BackupProbe {
    pub name: &'static str,
    pub sql: &'static str,
    /// Whether the backup keeps the answer. `false` where rows are many and their digest says as much.
    pub recorded: bool,
    /// A table and its columns, if they are all that the answer consists of.
    pub columns_of: Option<(&'static str, &'static [&'static str])>,
}

/// Tables that the drill's report counts together.
#[derive(Debug, Clone, Copy)]
pub struct BackupGroup {
    pub name: &'static str,
    pub tables: &'static [&'static str],
}

/// Rows that a restore adds to are left out of a table's digest.
#[derive(Debug, Clone, Copy)]
pub struct BackupFilter {
    pub table: &'static str,
    /// `{generation}` stands for the backup's generation.
    pub condition: &'static str,
    pub reason: &'static str,
}

macro_rules! probe {
    ($name:literal, $recorded:literal) => {
        probe!($name, $recorded, None)
    };
    ($name:literal, $recorded:literal, $columns_of:expr) => {
        BackupProbe {
            name: $name,
            sql: include_str!(concat!("backup_spec/", $name, ".sql")),
            recorded: $recorded,
            columns_of: $columns_of,
        }
    };
}

pub const BACKUP_SPEC: BackupSpec = BackupSpec {
    system: include_str!("backup_spec/system.sql"),
    blobs: include_str!("backup_spec/blobs.sql"),
    key_versions: include_str!("backup_spec/key_versions.sql"),
    watermarks: include_str!("backup_spec/watermarks.sql"),
    probes: &[
        probe!("activity", false),
        probe!("artifacts", true),
        probe!("audit_chains", false),
        probe!("bindings", true),
        probe!("blobs", true),
        probe!("checkpoints", true),
        probe!("commands_acknowledged", true),
        probe!("deliveries", true),
        probe!("delivery_cursors", true),
        probe!("inbound_messages", true),
        probe!("runs", true),
        probe!("session_events", false, Some(("events", &["org_id", "session_id", "sequence", "kind", "payload"]))),
        probe!("session_projections", false, Some(("projections", &["org_id", "session_id", "sequence", "content"]))),
        probe!("sessions", true),
        probe!("slots", true),
        probe!("tenant_walls", false),
        probe!("triggers", true),
    ],
    groups: &[
        BackupGroup {
            name: "sessions",
            tables: &["sessions", "session_terms", "commands", "session_leases", "profiles"],
        },
        BackupGroup { name: "events", tables: &["events"] },
        BackupGroup { name: "projections", tables: &["projections"] },
        BackupGroup { name: "workflows", tables: &["workflows", "triggers", "slots", "runs", "trigger_calls"] },
        BackupGroup {
            name: "channel bindings",
            tables: &[
                "channels",
                "channel_identities",
                "bindings",
                "delivery_cursors",
                "deliveries",
                "due_threads",
                "inbound_messages",
                "interactions",
            ],
        },
        BackupGroup { name: "BYOK metadata", tables: &["byok_keys"] },
        BackupGroup {
            name: "billing/usage",
            tables: &["subscriptions", "billing_events", "usage_records", "usage_counters", "model_usage", "quotas"],
        },
        BackupGroup { name: "audit", tables: &["audit_records", "audit_heads"] },
        BackupGroup {
            name: "artifacts and checkpoints",
            tables: &[
                "blobs",
                "artifacts",
                "checkpoints",
                "checkpoint_blobs",
                "project_sources",
                "blob_deletions",
                "uploads",
                "upload_parts",
            ],
        },
        BackupGroup {
            name: "identity",
            tables: &[
                "orgs",
                "accounts",
                "memberships",
                "roles",
                "api_tokens",
                "account_identities",
                "browser_sessions",
                "invitations",
                "idempotency_keys",
                "org_keys",
                "org_policies",
                "key_rotations",
                "subject_erasures",
                "subject_erasure_sessions",
            ],
        },
        BackupGroup {
            name: "system",
            tables: &[
                "generations",
                "archives",
                "maintenance",
                "ledger_outbox",
                "role_instances",
                "remembered_effects",
                "restore_reports",
                "_sqlx_migrations",
            ],
        },
    ],
    filters: &[
        BackupFilter {
            table: "generations",
            condition: "generation <= {generation}",
            reason: "a restore begins a generation of its own",
        },
        BackupFilter {
            table: "remembered_effects",
            condition: "generation <= {generation}",
            reason: "a restore remembers for a generation of its own",
        },
        BackupFilter {
            table: "restore_reports",
            condition: "generation <= {generation}",
            reason: "a restore reports on a generation of its own",
        },
    ],
    not_compared: &[("role_instances", "unlogged: it tells which processes are alive, and survives no backup")],
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use sqlx::{AssertSqlSafe, Row};
    use testkit::TestDatabase;

    use super::*;
    use crate::Store;

    async fn migrated() -> (TestDatabase, Store) {
        let database = TestDatabase::create().await;
        let store = Store::from_pool(database.pool(), testkit::system_sources());
        store.migrate().await.unwrap();
        (database, store)
    }

    #[tokio::test]
    async fn every_table_belongs_to_exactly_one_group() {
        let (database, _store) = migrated().await;
        let mut groups: BTreeMap<String, usize> = BTreeMap::new();
        for table in BACKUP_SPEC.groups.iter().flat_map(|group| group.tables) {
            *groups.entry((*table).to_owned()).or_default() += 1;
        }
        let tables: Vec<String> = sqlx::query_scalar(
            "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace",
        )
        .fetch_all(&database.pool())
        .await
        .unwrap();
        let expected: BTreeMap<String, usize> = tables.into_iter().map(|table| (table, 1)).collect();
        assert_eq!(groups, expected);
    }

    #[tokio::test]
    async fn every_statement_is_answered_by_the_schema() {
        let (database, store) = migrated().await;
        store.generation_initialise(crate::Environment::Production).await.unwrap();
        let spec = BACKUP_SPEC;
        let statements = [spec.system, spec.blobs, spec.key_versions, spec.watermarks];
        for sql in statements.into_iter().chain(spec.probes.iter().map(|probe| probe.sql)) {
            sqlx::query(AssertSqlSafe(sql)).fetch_all(&database.pool()).await.unwrap();
        }
        let system = sqlx::query(AssertSqlSafe(spec.system)).fetch_one(&database.pool()).await.unwrap();
        assert_eq!(system.get::<i64, _>("schema_version"), Store::schema_version());
    }
}
