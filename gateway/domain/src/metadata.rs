//! Limits on what callers attach to a secret: notes for people and tools, never a place for values.

use serde_json::{Map, Value};

use crate::{Error, Result};

/// As JSON, in bytes.
pub const MAX_BYTES: usize = 16 * 1024;
/// Of one object.
pub const MAX_KEYS: usize = 64;
/// Of a key, in characters.
pub const MAX_KEY: usize = 64;
/// Objects and lists within each other, the outermost included.
pub const MAX_DEPTH: usize = 4;

/// Checks the size, the keys and the depth.
///
/// # Errors
/// `Invalid`, naming the field and the limit; never what was sent.
pub fn check(field: &str, given: &Map<String, Value>) -> Result<()> {
    let bytes = serde_json::to_vec(given).map_err(Error::internal)?.len();
    if bytes > MAX_BYTES {
        return Err(Error::invalid(field, "must have at most 16 KiB as JSON"));
    }
    object(field, given, 1)
}

fn object(field: &str, given: &Map<String, Value>, depth: usize) -> Result<()> {
    if given.len() > MAX_KEYS {
        return Err(Error::invalid(field, format!("must have at most {MAX_KEYS} keys in each object")));
    }
    if given.keys().any(|key| key.is_empty() || key.chars().count() > MAX_KEY) {
        return Err(Error::invalid(field, format!("must have keys of 1 to {MAX_KEY} characters")));
    }
    given.values().try_for_each(|value| within(field, value, depth))
}

fn within(field: &str, value: &Value, depth: usize) -> Result<()> {
    if matches!(value, Value::Object(_) | Value::Array(_)) && depth == MAX_DEPTH {
        return Err(Error::invalid(field, format!("must be nested at most {MAX_DEPTH} levels deep")));
    }
    match value {
        Value::Object(fields) => object(field, fields, depth + 1),
        Value::Array(items) => items.iter().try_for_each(|item| within(field, item, depth + 1)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn checked(value: Value) -> Result<()> {
        check("metadata", value.as_object().unwrap())
    }

    fn keys(count: usize) -> Value {
        Value::Object((0..count).map(|n| (n.to_string(), Value::Null)).collect())
    }

    #[test]
    fn what_is_at_a_limit_is_taken_and_what_is_over_it_refused_by_name() {
        assert!(checked(json!({})).is_ok());
        assert!(checked(json!({"a": {"b": {"c": {"d": 1}}}})).is_ok());
        assert!(checked(json!({"a": [[[1]]]})).is_ok());
        assert!(checked(keys(64)).is_ok());
        assert!(checked(json!({"ä".repeat(64): 1})).is_ok());
        let full = "x".repeat(MAX_BYTES - r#"{"a":""}"#.len());
        assert!(checked(json!({"a": full})).is_ok());
        for (bad, limit) in [
            (json!({"a": {"b": {"c": {"d": {}}}}}), "4 levels"),
            (json!({"a": [[[[]]]]}), "4 levels"),
            (keys(65), "64 keys"),
            (json!({"a": [keys(65)]}), "64 keys"),
            (json!({"x".repeat(65): "hunter2"}), "1 to 64 characters"),
            (json!({"": 1}), "1 to 64 characters"),
            (json!({"a": format!("{full}x")}), "16 KiB"),
        ] {
            let error = checked(bad).unwrap_err();
            assert!(error.detail().starts_with("metadata: ") && error.detail().contains(limit), "{error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
