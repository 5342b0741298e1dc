//! How long lists are, where the number is a constant of what holds them to it: a type's description takes digits only.
//!
//! Not here: holding them to it; lists whose length others decide, such as the plans of a configuration.

use domain::details::TAGS_MAX;
use domain::permission::Permission;
use domain::policy::ENTRIES_MAX;
use domain::quota::{RANGE_DAYS_MAX, UsageKind};
use domain::schedule::MAX_TRIGGERS;
use domain::tenancy::Scope;
use domain::upload::{SIZE_MAX, parts};
use projects::TOLD_MAX;
use utoipa::openapi::schema::{Array, ArrayItems};
use utoipa::openapi::{OpenApi, RefOr, Schema};

use crate::roles::OfAnOrg;
use crate::{artifacts, events, page};

/// What the schema of a page begins with, before the name of what it is a page of.
const PAGE_OF: &str = "Page_";

/// Says of every page how long it is, and of the lists of [`bounds`].
pub(super) fn bound(document: &mut OpenApi) {
    let Some(components) = &mut document.components else { return };
    let bounds = bounds();
    for (name, schema) in &mut components.schemas {
        let of = name.strip_prefix(PAGE_OF);
        let schema = match of {
            None => schema,
            Some(of) => {
                let Some(items) = list(schema, "items") else { continue };
                items.max_items = Some(count(longest(of)));
                // What it is a page of stands in it once more.
                let ArrayItems::RefOrSchema(item) = &mut items.items else { continue };
                item.as_mut()
            }
        };
        for (_, field, max) in bounds.iter().filter(|(owner, ..)| *owner == of.unwrap_or(name)) {
            if let Some(found) = list(schema, field) {
                found.max_items = Some(*max);
            }
        }
    }
}

/// Rows of a page of this, at most.
fn longest(of: &str) -> i64 {
    match of {
        "Artifact" => artifacts::LIMIT_MAX,
        "Event" => events::PAGE,
        _ => page::LIMIT_MAX,
    }
}

/// Schemas, their lists, and how long those are at most.
fn bounds() -> [(&'static str, &'static str, usize); 19] {
    let (kinds, scopes, permissions) = (UsageKind::ALL.len(), Scope::all().count(), Permission::ALL.len());
    [
        ("NewToken", "scopes", scopes),
        ("Plan", "quotas", kinds),
        ("Policy", "agents", ENTRIES_MAX),
        ("Policy", "channel_hosts", ENTRIES_MAX),
        ("Policy", "member_domains", ENTRIES_MAX),
        ("Profile", "tags", TAGS_MAX),
        ("ProjectSource", "left_out", TOLD_MAX),
        ("PutRole", "permissions", OfAnOrg::all().count()),
        ("Quotas", "items", kinds),
        ("Role", "permissions", permissions),
        ("Session", "tags", TAGS_MAX),
        ("SessionDetails", "tags", TAGS_MAX),
        ("Token", "scopes", scopes),
        ("Upload", "parts", count(parts(SIZE_MAX))),
        ("Usage", "items", kinds),
        ("UsageDays", "items", kinds * count(RANGE_DAYS_MAX)),
        ("Workflow", "triggers", MAX_TRIGGERS),
        ("Workspace", "permissions", permissions),
        ("Workspace", "scopes", scopes),
    ]
}

/// A list of an object, by its name.
fn list<'a>(schema: &'a mut RefOr<Schema>, name: &str) -> Option<&'a mut Array> {
    let RefOr::T(Schema::Object(object)) = schema else { return None };
    let RefOr::T(Schema::Array(array)) = object.properties.get_mut(name)? else { return None };
    Some(array)
}

fn count(number: impl TryInto<usize>) -> usize {
    number.try_into().unwrap_or(usize::MAX)
}
