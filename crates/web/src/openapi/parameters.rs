//! What operations take beside what is their own: ids in paths, and headers.
//!
//! Not here: who reads them (`auth`, `idempotency`, `etag`).

use domain::profile::ProfileName;
use domain::quota::UsageKind;
use domain::tenancy::RoleName;
use domain::upload::{SIZE_MAX, parts};
use utoipa::PartialSchema;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::{KnownFormat, ObjectBuilder, RefOr, Required, Schema, SchemaFormat, Type};

use crate::idempotency::KEY_MAX;

const ETAGS: &str = r#"^(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$"#;

/// `conditional`: it may be asked for only if the state is the one that was seen.
pub(super) fn added(path: &str, changes: bool, conditional: bool) -> Vec<Parameter> {
    let ids = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut added: Vec<Parameter> = ids.map(id).collect();
    added.push(cowork_org());
    if changes {
        added.extend([idempotency_key(), csrf_token()]);
    }
    if changes && conditional {
        added.push(if_match());
    }
    added
}

fn uuid() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)))
}

fn id(name: &str) -> Parameter {
    let schema: RefOr<Schema> = match name {
        "part" => part().into(),
        "finding_id" => finding().into(),
        "kind" => UsageKind::schema(),
        "role" => RoleName::schema(),
        "profile" => ProfileName::schema(),
        _ => uuid().into(),
    };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .schema(Some(schema))
        .build()
}

fn part() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).maximum(Some(parts(SIZE_MAX)))
}

/// No UUID: it is made of what was found, so that it is the same in every drill.
fn finding() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[A-Za-z0-9-]{1,100}$")).examples(["F-0123456789"])
}

fn cowork_org() -> Parameter {
    ParameterBuilder::new()
        .name("Cowork-Org")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some("The org to act in. Only an operator may name another than that of the token."))
        .schema(Some(uuid()))
        .build()
}

fn idempotency_key() -> Parameter {
    let key = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(KEY_MAX));
    // What stands around a header's value is not a part of it.
    let key = key.pattern(Some("^[!-~]([ -~]*[!-~])?$"));
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "A repeat with the same key, within 24 hours, has no further effect and gets the same answer.",
        ))
        .schema(Some(key))
        .build()
}

fn csrf_token() -> Parameter {
    ParameterBuilder::new()
        .name("Cowork-Csrf-Token")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "Needed with a browser session: the `csrf_token` of `GET /api/browser-sessions/current`. Besides, `Origin` is \
            this system's own. With an API token neither is looked at.",
        ))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .build()
}

fn if_match() -> Parameter {
    ParameterBuilder::new()
        .name("If-Match")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "The `ETag` that the change was made for, or `*` for any. Without it the change happens anyway.",
        ))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String).pattern(Some(ETAGS)).examples(["*"])))
        .build()
}
