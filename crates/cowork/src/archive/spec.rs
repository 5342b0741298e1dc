//! Handing what the store and the configuration know to a backup.

use archive::manifest::{ColumnsOf, Group, NotCompared, SecretVersion};
use archive::{BackupSpec, ProbeSpec, TableFilter};
use config::Config;
use store::{BACKUP_SPEC, Store};

/// The store's SQL about its tables, as the archive takes it.
pub(crate) fn spec() -> BackupSpec {
    let from = BACKUP_SPEC;
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let group = |group: &store::BackupGroup| Group { name: group.name.to_owned(), tables: owned(group.tables) };
    let probe = |probe: &store::BackupProbe| ProbeSpec {
        name: probe.name.to_owned(),
        sql: probe.sql.to_owned(),
        recorded: probe.recorded,
        columns_of: probe.columns_of.map(|(table, columns)| ColumnsOf {
            table: table.to_owned(),
            columns: columns.iter().map(|column| (*column).to_owned()).collect(),
        }),
    };
    let filter = |filter: &store::BackupFilter| TableFilter {
        table: filter.table.to_owned(),
        condition: filter.condition.to_owned(),
        reason: filter.reason.to_owned(),
    };
    let not_compared = |(name, reason): &(&str, &str)| NotCompared {
        schema: "public".to_owned(),
        name: (*name).to_owned(),
        reason: (*reason).to_owned(),
    };
    BackupSpec {
        system: from.system.to_owned(),
        schema_version: Store::schema_version(),
        blobs: from.blobs.to_owned(),
        key_versions: from.key_versions.to_owned(),
        watermarks: from.watermarks.to_owned(),
        probes: from.probes.iter().map(probe).collect(),
        groups: from.groups.iter().map(group).collect(),
        filters: from.filters.iter().map(filter).collect(),
        not_compared: from.not_compared.iter().map(not_compared).collect(),
    }
}

/// The configured secrets by name and version. Where a value lies stays out: it can be a path of this machine.
pub(crate) fn secrets(config: &Config) -> Vec<SecretVersion> {
    let references = config.secret_references().references();
    references.into_iter().map(|named| SecretVersion { name: named.name, version: named.version }).collect()
}
