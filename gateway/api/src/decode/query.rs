//! A query's fields, and no others: a filter that is not known here would be no filter at all.

use domain::{Error, Result};
use serde::de::value::Error as Wrong;
use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;

use super::{field, nul, rule};

pub fn query<T: DeserializeOwned>(text: &str) -> Result<T> {
    for (name, value) in pairs(text) {
        nul::refuse("query", &name)?;
        nul::refuse(&shown(&name), &value)?;
    }
    serde_path_to_error::deserialize(Known(text)).map_err(|error| {
        let path = error.path().to_string();
        Error::invalid(&field(&path, "query"), rule(&error.inner().to_string()))
    })
}

fn pairs(text: &str) -> form_urlencoded::Parse<'_> {
    form_urlencoded::parse(text.as_bytes())
}

/// What the sender calls it, cut.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(40).collect()
}

/// A form, whose names are looked at once the fields that there are have been told.
struct Known<'a>(&'a str);

impl<'de> Deserializer<'de> for Known<'de> {
    type Error = Wrong;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        if let Some((unknown, _)) = pairs(self.0).find(|(name, _)| !fields.contains(&name.as_ref())) {
            let there_are = fields.join(", ");
            return Err(Wrong::custom(format!(
                "{} must be left out: it is not known here; there are {there_are}",
                shown(&unknown)
            )));
        }
        serde_urlencoded::Deserializer::new(pairs(self.0)).deserialize_struct(name, fields, visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        serde_urlencoded::Deserializer::new(pairs(self.0)).deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Sample {
        #[serde(default)]
        limit: Option<u32>,
    }

    #[test]
    fn a_query_has_the_fields_that_are_known_and_no_others() {
        assert_eq!(query::<Sample>("limit=3").unwrap().limit, Some(3));
        assert_eq!(query::<Sample>("").unwrap().limit, None);
        for (bad, said) in [
            ("limit=3&actor=x", "actor must be left out: it is not known here; there are limit"),
            ("limit=3&limit=4", "duplicate"),
            ("limit=x", "whole number"),
            ("limit=%00", "NUL"),
            ("li%00mit=1", "NUL"),
        ] {
            let error = query::<Sample>(bad).unwrap_err();
            assert!(error.detail().contains(said), "{bad}: {error}");
        }
    }
}
