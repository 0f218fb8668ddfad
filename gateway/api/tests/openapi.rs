//! The checked-in OpenAPI document is the one that the catalog gives.

use std::collections::BTreeSet;

#[test]
fn the_document_is_fresh() {
    let checked_in = include_str!("../../openapi.json");
    let now = format!("{:#}\n", talon_api::openapi::document());
    assert!(
        checked_in == now,
        "gateway/openapi.json is stale; run: cargo run -- openapi > gateway/openapi.json"
    );
}

#[test]
fn every_operation_is_in_it_once() {
    let entries = talon_api::catalog::entries();
    let ids: BTreeSet<&str> = entries.iter().map(|e| e.route.id).collect();
    assert_eq!(ids.len(), entries.len(), "an operation id is used twice");
    let document = talon_api::openapi::document();
    for entry in entries {
        let method = entry.route.method.as_str().to_ascii_lowercase();
        let operation = &document["paths"][entry.route.path][method];
        assert_eq!(operation["operationId"], entry.route.id);
        assert_eq!(
            operation["security"].as_array().is_some_and(Vec::is_empty),
            entry.public,
            "{}",
            entry.route.id
        );
        for placeholder in entry.placeholders {
            assert!(
                entry.route.path.contains(&format!("{{{placeholder}}}")),
                "{}: {placeholder}",
                entry.route.id
            );
        }
    }
}
