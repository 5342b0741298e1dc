//! How names of roles and scopes look in the description of the API.

use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::{ROLE_CHARS, RoleName, Scope};

impl PartialSchema for RoleName {
    fn schema() -> RefOr<Schema> {
        let name = ObjectBuilder::new().schema_type(Type::String).max_length(Some(ROLE_CHARS));
        let said = "That of a built-in role, or of one of the org's own.";
        let name = name.pattern(Some("^[a-z][a-z0-9-]*$")).description(Some(said));
        name.examples(["member"]).build().into()
    }
}

impl ToSchema for RoleName {}

impl PartialSchema for Scope {
    fn schema() -> RefOr<Schema> {
        let all = Self::all().map(Self::as_str);
        let scope = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(all));
        scope.description(Some("A group of permissions, or one by its name.")).build().into()
    }
}

impl ToSchema for Scope {}
