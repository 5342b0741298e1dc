//! What bodies are: objects without other fields than those that are described. Types say it of themselves
//! (`deny_unknown_fields`); what derives their schemas hears it of structs and not of the variants of an enum.
//!
//! Not here: the fields, which stand where a route is handled.

use utoipa::openapi::schema::{AdditionalProperties, ArrayItems, SchemaType};
use utoipa::openapi::{Content, OpenApi, RefOr, Schema, Type};

/// Closes every object that a body is made of.
pub(super) fn close(document: &mut OpenApi) {
    let Some(components) = &mut document.components else { return };
    let mut named = Vec::new();
    let operations = document.paths.paths.values_mut().flat_map(super::operations);
    for body in operations.filter_map(|(_, operation)| operation.request_body.as_mut()) {
        let RefOr::T(body) = body else { continue };
        for content in body.content.values_mut() {
            if let RefOr::T(Content { schema: Some(schema), .. }) = content {
                close_schema(schema, &mut named);
            }
        }
    }
    let mut closed = Vec::new();
    while let Some(name) = named.pop() {
        if closed.contains(&name) {
            continue;
        }
        if let Some(schema) = components.schemas.get_mut(&name) {
            close_schema(schema, &mut named);
        }
        closed.push(name);
    }
}

/// `named` takes the names of the schemas that this one is made of.
fn close_schema(schema: &mut RefOr<Schema>, named: &mut Vec<String>) {
    let schema = match schema {
        RefOr::T(schema) => schema,
        RefOr::Ref(reference) => {
            named.extend(reference.ref_location.rsplit('/').next().map(str::to_owned));
            return;
        }
    };
    match schema {
        Schema::Object(object) => {
            object.properties.values_mut().for_each(|field| close_schema(field, named));
            if object.schema_type == SchemaType::Type(Type::Object) {
                object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
            }
        }
        Schema::Array(array) => {
            if let ArrayItems::RefOrSchema(items) = &mut array.items {
                close_schema(items, named);
            }
        }
        Schema::OneOf(one_of) => one_of.items.iter_mut().for_each(|schema| close_schema(schema, named)),
        // Closed parts of a whole would refuse each other's fields.
        _ => {}
    }
}
