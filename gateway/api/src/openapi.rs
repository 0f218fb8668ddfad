//! The OpenAPI 3.1 document, assembled from the catalog.

use http::Method;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::catalog::{self, Entry};

/// The whole document.
pub fn document() -> Value {
    let mut schemas = SchemaSettings::draft2020_12()
        .with(|s| s.definitions_path = "/components/schemas".into())
        .into_generator();
    let mut paths = Map::new();
    for entry in catalog::entries() {
        let shapes = entry.shapes(&mut schemas);
        let item = paths.entry(entry.route.path).or_insert_with(|| json!({}));
        item[entry.route.method.as_str().to_ascii_lowercase()] = operation(&entry, shapes, &mut schemas);
    }
    let definitions = schemas.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Talon",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "A self-hosted vault and signing gateway for AI agents."
        },
        "paths": paths,
        "components": {
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer" } },
            "schemas": definitions,
            "responses": { "Problem": {
                "description": "What is wrong, and what to do next (RFC 9457).",
                "content": { "application/problem+json": { "schema": {
                    "type": "object",
                    "properties": {
                        "type": { "type": "string" },
                        "title": { "type": "string" },
                        "status": { "type": "integer" },
                        "detail": { "type": "string" }
                    },
                    "required": ["type", "title", "status", "detail"]
                }}}
            }}
        }
    })
}

fn operation(entry: &Entry, shapes: catalog::Shapes, schemas: &mut schemars::SchemaGenerator) -> Value {
    let mut parameters: Vec<Value> = entry
        .placeholders
        .iter()
        .map(|name| {
            let schema = if *name == "chain_id" {
                json!({"type": "string", "description": "A UUID, or an EIP-155 chain id."})
            } else if *name == "version" {
                json!({"type": "integer", "minimum": 1})
            } else if name.ends_with("_id") {
                json!({"type": "string", "format": "uuid"})
            } else {
                json!({"type": "string"})
            };
            json!({ "name": name, "in": "path", "required": true, "schema": schema })
        })
        .collect();
    let mut operation = json!({
        "operationId": entry.route.id,
        "summary": entry.route.summary,
        "security": if entry.public { json!([]) } else { json!([{ "bearer": [] }]) },
    });
    if let Some(input) = shapes.input {
        if entry.route.method == Method::GET {
            parameters.extend(query_parameters(input, schemas));
        } else {
            operation["requestBody"] = json!({ "required": !shapes.optional, "content": { "application/json": { "schema": input } } });
        }
    }
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    let mut success = json!({ "description": "Success" });
    if let Some(output) = shapes.output {
        let media_type = entry.route.streams.unwrap_or("application/json");
        success["content"] = json!({ media_type: { "schema": output } });
    }
    operation["responses"] = json!({
        entry.route.status.to_string(): success,
        "default": { "$ref": "#/components/responses/Problem" }
    });
    operation
}

/// A query's fields, out of the object that they are read into.
fn query_parameters(schema: schemars::Schema, schemas: &schemars::SchemaGenerator) -> Vec<Value> {
    let schema = schema.to_value();
    let name = schema["$ref"].as_str().and_then(|r| r.rsplit('/').next());
    let object = name.and_then(|n| schemas.definitions().get(n)).cloned().unwrap_or(schema);
    let fields = object["properties"].as_object().cloned().unwrap_or_default();
    fields
        .into_iter()
        .map(|(name, schema)| json!({ "name": name, "in": "query", "schema": schema }))
        .collect()
}
