//! What all tools have in common.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::collections::BTreeSet;

use serde_json::Value;

/// For the whole list: a model reads it with every conversation.
const MOST_TOKENS: usize = 6_000;
/// English and JSON alike come to about so many bytes a token.
const BYTES_A_TOKEN: usize = 4;

fn tools() -> Vec<Value> {
    mcp::document().unwrap()["tools"].as_array().unwrap().clone()
}

#[test]
fn the_checked_in_list_is_fresh() {
    let fresh = format!("{}\n", serde_json::to_string_pretty(&mcp::document().unwrap()).unwrap());
    assert!(include_str!("../tools.json") == fresh, "stale: run `cargo run -- tools > mcp/tools.json`");
}

#[test]
fn the_list_leaves_a_model_room() {
    let bytes = mcp::document().unwrap().to_string().len();
    assert!(bytes / BYTES_A_TOKEN < MOST_TOKENS, "{bytes} bytes");
}

#[test]
fn names_and_arguments_are_those_of_the_contract() {
    for (name, required, optional) in [
        ("list_secrets", "", "prefix"),
        ("get_secret", "path", ""),
        ("describe_secret", "path", ""),
        ("put_secret", "path value", "type metadata expires_at max_access_count"),
        ("rotate_and_store", "path value", ""),
        ("delete_secret", "path", ""),
        ("get_env_bundle", "path", ""),
        ("share_secret", "secret_id recipient_type expires_at", "recipient_id max_access_count"),
        ("create_vault", "name", "description"),
        ("list_vaults", "", ""),
        ("grant_access", "vault_id principal_type principal_id", "permissions secret_path_pattern"),
        (
            "submit_transaction",
            "chain to value",
            "data signing_key_path nonce gas_limit gas_price max_fee_per_gas max_priority_fee_per_gas simulate_first \
             idempotency_key",
        ),
        ("simulate_transaction", "chain to value", "data signing_key_path gas_limit"),
        ("simulate_bundle", "transactions", ""),
        ("get_transaction", "tx_id", ""),
        ("list_transactions", "", "limit"),
        ("list_chains", "", ""),
        ("whoami", "", ""),
    ] {
        let tools = tools();
        let input = &tools.iter().find(|tool| tool["name"] == name).unwrap()["inputSchema"];
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<BTreeSet<_>>();
        let given = input["required"].as_array().into_iter().flatten();
        assert_eq!(
            given.map(|f| f.as_str().unwrap().to_owned()).collect::<BTreeSet<_>>(),
            words(required),
            "{name}"
        );
        let all: BTreeSet<_> = input["properties"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(all, &words(required) | &words(optional), "{name}");
    }
}

#[test]
fn each_tool_says_what_a_client_and_a_model_must_know() {
    let mut names = BTreeSet::new();
    for tool in tools() {
        let name = tool["name"].as_str().unwrap();
        assert!(names.insert(name.to_owned()), "{name} is there twice");
        assert!(tool["description"].as_str().unwrap().len() > 60, "{name} says too little");
        for hint in ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"] {
            assert!(tool["annotations"][hint].is_boolean(), "{name}: {hint}");
        }
        assert_eq!(tool["inputSchema"]["additionalProperties"], false, "{name}");
        for (argument, schema) in tool["inputSchema"]["properties"].as_object().unwrap() {
            assert!(schema["type"].is_string(), "{name}.{argument} has no plain type: {schema}");
        }
    }
}

#[test]
fn hints_are_honest() {
    let tools = tools();
    let hint = |name: &str, hint: &str| {
        tools.iter().find(|tool| tool["name"] == name).unwrap()["annotations"][hint].as_bool().unwrap()
    };
    for (name, read_only, destructive, open_world) in [
        ("list_secrets", true, false, false),
        ("describe_secret", true, false, false),
        // A read is counted, and may be the last.
        ("get_secret", false, false, false),
        ("put_secret", false, false, false),
        ("delete_secret", false, true, false),
        ("submit_transaction", false, true, true),
        ("get_transaction", true, false, false),
    ] {
        assert_eq!(hint(name, "readOnlyHint"), read_only, "{name}");
        assert_eq!(hint(name, "destructiveHint"), destructive, "{name}");
        assert_eq!(hint(name, "openWorldHint"), open_world, "{name}");
    }
}
