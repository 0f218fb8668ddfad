//! Objects in which no name comes twice. Where what they say restricts, the second of two must not quietly undo the first.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// An object whose names, and those of all objects in it, are different ones.
#[derive(Debug, Default)]
pub struct Distinct(pub Map<String, Value>);

impl<'de> Deserialize<'de> for Distinct {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Object).map(Self)
    }
}

impl JsonSchema for Distinct {
    fn schema_name() -> Cow<'static, str> {
        Map::<String, Value>::schema_name()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(schemas: &mut SchemaGenerator) -> Schema {
        Map::<String, Value>::json_schema(schemas)
    }
}

struct Object;

impl<'de> Visitor<'de> for Object {
    type Value = Map<String, Value>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<M: MapAccess<'de>>(self, mut given: M) -> Result<Self::Value, M::Error> {
        let mut fields = Map::new();
        while let Some(name) = given.next_key::<String>()? {
            let AnyDistinct(value) = given.next_value()?;
            if fields.insert(name, value).is_some() {
                return Err(M::Error::custom("must hold each name once"));
            }
        }
        Ok(fields)
    }
}

struct AnyDistinct(Value);

impl<'de> Deserialize<'de> for AnyDistinct {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any).map(Self)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Value;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E>(self, given: bool) -> Result<Value, E> {
        Ok(given.into())
    }
    fn visit_i64<E>(self, given: i64) -> Result<Value, E> {
        Ok(given.into())
    }
    fn visit_u64<E>(self, given: u64) -> Result<Value, E> {
        Ok(given.into())
    }
    fn visit_f64<E>(self, given: f64) -> Result<Value, E> {
        Ok(given.into())
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_str<E>(self, given: &str) -> Result<Value, E> {
        Ok(given.into())
    }
    fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Value, S::Error> {
        let mut items = Vec::new();
        while let Some(AnyDistinct(item)) = list.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }
    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Value, M::Error> {
        Object.visit_map(map).map(Value::Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_comes_twice_is_refused_at_any_depth() {
        let read = |json: &str| serde_json::from_str::<Distinct>(json);
        let whole = r#"{"a":{"b":[1,-1,0.5,null,true,"x",{"b":2}]},"b":3}"#;
        assert_eq!(Value::Object(read(whole).unwrap().0).to_string(), whole);
        for bad in [r#"{"a": 1, "a": 1}"#, r#"{"a": {"b": 1, "b": 2}}"#, r#"{"a": [{"b": 1, "b": 2}]}"#] {
            assert!(read(bad).unwrap_err().to_string().contains("each name once"), "{bad}");
        }
    }
}
