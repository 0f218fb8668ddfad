//! NUL (U+0000), which no name, address, filter or code has, and which PostgreSQL keeps in no text. It is refused where
//! texts come in, so that nothing behind has to know.

use std::fmt;

use domain::{Error, Result};
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

const RULE: &str = "must hold no NUL (U+0000)";
/// A secret's value may hold anything: it is sealed as bytes.
const ANYTHING: &str = "value";

pub fn refuse(field: &str, text: &str) -> Result<()> {
    if text.contains('\0') { Err(Error::invalid(field, RULE)) } else { Ok(()) }
}

/// In JSON, NUL is always written so; whether it is one (and no backslash in front of `u0000`) the look through it tells, which
/// copies no text.
pub fn refuse_in_json(text: &str) -> Result<()> {
    if !text.contains("\\u0000") {
        return Ok(());
    }
    let mut json = serde_json::Deserializer::from_str(text);
    match serde_path_to_error::deserialize::<_, Body>(&mut json) {
        Err(error) if error.inner().to_string().starts_with(RULE) => {
            Err(Error::invalid(&super::field(&error.path().to_string(), "body"), RULE))
        }
        // What else is wrong with it, whoever reads it for its fields says.
        _ => Ok(()),
    }
}

struct Body;

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Body;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Body, M::Error> {
        while let Some(key) = map.next_key::<String>()? {
            text::<M::Error>(&key)?;
            if key == ANYTHING {
                map.next_value::<IgnoredAny>()?;
            } else {
                map.next_value::<Clean>()?;
            }
        }
        Ok(Body)
    }
}

/// Whatever it is, without NUL in it.
struct Clean;

impl<'de> Deserialize<'de> for Clean {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Whatever)
    }
}

struct Whatever;

impl<'de> Visitor<'de> for Whatever {
    type Value = Clean;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E>(self, _: bool) -> Result<Clean, E> {
        Ok(Clean)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Clean, E> {
        Ok(Clean)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Clean, E> {
        Ok(Clean)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Clean, E> {
        Ok(Clean)
    }
    fn visit_unit<E>(self) -> Result<Clean, E> {
        Ok(Clean)
    }
    fn visit_str<E: serde::de::Error>(self, given: &str) -> Result<Clean, E> {
        text(given).map(|()| Clean)
    }
    fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Clean, S::Error> {
        while list.next_element::<Clean>()?.is_some() {}
        Ok(Clean)
    }
    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Clean, M::Error> {
        while let Some(key) = map.next_key::<String>()? {
            text::<M::Error>(&key)?;
            map.next_value::<Clean>()?;
        }
        Ok(Clean)
    }
}

fn text<E: serde::de::Error>(given: &str) -> Result<(), E> {
    if given.contains('\0') { Err(E::custom(RULE)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nul_is_found_wherever_it_is_but_in_a_value() {
        for (bad, field) in [
            (r#"{"name": "a\u0000b"}"#, "name"),
            (r#"{"a": {"b": [1, true, null, 0.5, -1, "x\u0000"]}}"#, "a.b[5]"),
            (r#"{"a": {"b\u0000": 1}}"#, "a"),
            (r#"{"metadata": {"value": "\u0000"}}"#, "metadata.value"),
        ] {
            let error = refuse_in_json(bad).unwrap_err();
            assert!(error.detail().starts_with(field) && error.detail().ends_with(RULE), "{bad}: {error}");
        }
        for good in [r#"{"value": "\u0000"}"#, r#"{"name": "\\u0000"}"#, r#"{"name": "\u00000", "#, "null"] {
            let found = refuse_in_json(good);
            assert_eq!(found.is_err(), good.contains(r#"\u00000"#), "{good}");
        }
        assert!(refuse("user_code", "\0").is_err() && refuse("user_code", "0").is_ok());
    }
}
