//! From bytes to values. Every error names the field; none repeats what was sent.

mod distinct;
mod nul;
mod query;

pub use distinct::Distinct;
pub use nul::refuse as no_nul;

use std::fmt;
use std::marker::PhantomData;

use domain::{
    AgentId, ApiKeyId, ApprovalId, CmekJobId, Error, InvitationId, IpRuleId, Kind, PolicyId, Result,
    SecretId, SecretPath, ShareId, TxId, UserId, VaultId, WebhookId,
};
use http::{HeaderMap, Method, header};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use store::chains::ChainRef;

use crate::pipeline::Inbound;

/// JSON nested deeper than that is refused (serde_json's own limit).
pub const MAX_DEPTH: usize = 128;

/// What can stand in a path's placeholders.
pub trait FromPath: Sized {
    /// The placeholders' names, in order.
    const NAMES: &'static [&'static str];

    /// # Errors
    /// `Invalid`, naming the placeholder.
    fn from_path(segment: &dyn Fn(&str) -> Result<String>) -> Result<Self>;
}

impl FromPath for () {
    const NAMES: &'static [&'static str] = &[];
    fn from_path(_: &dyn Fn(&str) -> Result<String>) -> Result<Self> {
        Ok(())
    }
}

/// One placeholder's value.
pub trait Segment: Sized {
    fn parse(name: &str, text: &str) -> Result<Self>;
}

macro_rules! segments {
    ($($id:ty),+) => {$(
        impl Segment for $id {
            fn parse(name: &str, text: &str) -> Result<Self> {
                text.parse().map_err(|_| Error::invalid(name, "must be a UUID"))
            }
        }
    )+};
}
segments!(
    VaultId,
    AgentId,
    ApiKeyId,
    ApprovalId,
    CmekJobId,
    InvitationId,
    IpRuleId,
    PolicyId,
    SecretId,
    ShareId,
    TxId,
    UserId,
    WebhookId
);

impl Segment for SecretPath {
    fn parse(_: &str, text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

/// An operator names a chain by its row or by its chain id.
impl Segment for ChainRef {
    fn parse(name: &str, text: &str) -> Result<Self> {
        let rule = "must be a chain's UUID or its chain id";
        match text.parse() {
            Ok(number) => Ok(Self::Number(number)),
            Err(_) => text.parse().map(Self::Id).map_err(|_| Error::invalid(name, rule)),
        }
    }
}

/// A version's number.
impl Segment for u64 {
    fn parse(name: &str, text: &str) -> Result<Self> {
        let number = text.parse().ok().filter(|number| (1..=i64::MAX as u64).contains(number));
        number.ok_or_else(|| Error::invalid(name, "must be a number, 1 or more"))
    }
}

impl Segment for String {
    fn parse(_: &str, text: &str) -> Result<Self> {
        Ok(text.to_owned())
    }
}

/// Declares what a path holds: `path_of! { OfVault { vault_id: VaultId } }`.
macro_rules! path_of {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),+ $(,)? })+) => {$(
        $(#[$doc])*
        pub struct $name { $(pub $field: $type),+ }

        impl $crate::decode::FromPath for $name {
            const NAMES: &'static [&'static str] = &[$(stringify!($field)),+];
            fn from_path(segment: &dyn Fn(&str) -> domain::Result<String>) -> domain::Result<Self> {
                Ok(Self { $($field: $crate::decode::Segment::parse(stringify!($field), &segment(stringify!($field))?)?),+ })
            }
        }
    )+};
}
pub(crate) use path_of;

/// A body's or a query's fields.
pub trait Params: Sized + Send {
    /// Whether the body may be left out.
    const OPTIONAL: bool = false;
    fn read(request: &Inbound, method: &Method) -> Result<Self>;
    /// The shape for the OpenAPI document; `None` when there is none to send.
    fn schema(schemas: &mut SchemaGenerator) -> Option<Schema>;
}

impl Params for () {
    fn read(_: &Inbound, _: &Method) -> Result<Self> {
        Ok(())
    }
    fn schema(_: &mut SchemaGenerator) -> Option<Schema> {
        None
    }
}

/// Fields `T`, from the body as JSON, or from the query on GET and DELETE.
pub struct From<T>(pub T);

impl<T: crate::operation::Fields> Params for From<T> {
    fn read(request: &Inbound, method: &Method) -> Result<Self> {
        if *method == Method::GET {
            query::query(request.query.as_deref().unwrap_or_default()).map(Self)
        } else {
            content_type(&request.headers)?;
            body(&request.body).map(Self)
        }
    }
    fn schema(schemas: &mut SchemaGenerator) -> Option<Schema> {
        Some(schemas.subschema_for::<T>())
    }
}

/// Fields `T` from a body that may be left out altogether.
pub struct Maybe<T>(pub T);

impl<T: crate::operation::Fields + Default> Params for Maybe<T> {
    const OPTIONAL: bool = true;
    fn read(request: &Inbound, method: &Method) -> Result<Self> {
        if request.body.is_empty() {
            return Ok(Self(T::default()));
        }
        From::read(request, method).map(|From(fields)| Self(fields))
    }
    fn schema(schemas: &mut SchemaGenerator) -> Option<Schema> {
        From::<T>::schema(schemas)
    }
}

/// No fields, where ignoring one would do more than was meant: as [`NothingElse`].
pub struct Nothing;

#[derive(Deserialize, JsonSchema, Default)]
struct NoFields {
    #[serde(flatten)]
    _nothing_else: NothingElse,
}

impl Params for Nothing {
    const OPTIONAL: bool = true;
    fn read(request: &Inbound, method: &Method) -> Result<Self> {
        Maybe::<NoFields>::read(request, method).map(|_| Self)
    }
    fn schema(_: &mut SchemaGenerator) -> Option<Schema> {
        None
    }
}

fn content_type(headers: &HeaderMap) -> Result<()> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") || essence.to_ascii_lowercase().ends_with("+json") {
        Ok(())
    } else {
        Err(Error::new(
            Kind::UnsupportedMediaType,
            "Send the body as JSON, with Content-Type: application/json.",
        ))
    }
}

fn body<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let text = std::str::from_utf8(bytes).map_err(|e| {
        Error::new(Kind::Invalid, format!("The body is not UTF-8 at byte {}.", e.valid_up_to()))
    })?;
    // serde would take a list for the fields in their order.
    if text.trim_start().starts_with('[') {
        return Err(Error::invalid("body", "must be an object"));
    }
    nul::refuse_in_json(text)?;
    let mut json = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        // What serde_json says of a null, a number or a list where one of some texts is wanted, as of broken JSON.
        if error.inner().to_string().starts_with("expected value")
            && serde_json::from_str::<IgnoredAny>(text).is_ok()
        {
            return Error::invalid(&field(&path, "body"), "must be one of the texts that are known here");
        }
        explain(&path, error.inner())
    })?;
    json.end().map_err(|e| explain(".", &e))?;
    Ok(value)
}

fn explain(path: &str, error: &serde_json::Error) -> Error {
    let place = format!("line {}, column {}", error.line(), error.column());
    match error.classify() {
        serde_json::error::Category::Data => {
            let field = field(path, "body");
            match error.line() {
                0 => Error::invalid(&field, rule(&error.to_string())),
                _ => Error::invalid(&field, format!("{} ({place})", rule(&error.to_string()))),
            }
        }
        _ if error.to_string().starts_with("recursion limit") => Error::new(
            Kind::Invalid,
            format!("The body is nested deeper than {MAX_DEPTH} levels at {place}."),
        ),
        _ => {
            let field = field(path, "body");
            Error::new(Kind::Invalid, format!("{field}: the body is not valid JSON at {place}."))
        }
    }
}

/// The path to a field, cut: part of it may come from the sender.
fn field(path: &str, whole: &str) -> String {
    match path {
        "." | "" | "?" => whole.to_owned(),
        path => path.chars().filter(|c| !c.is_control()).take(80).collect(),
    }
}

/// What was expected, out of serde's message; never what was found.
fn rule(message: &str) -> String {
    let message = message.rsplit_once(" at line ").map_or(message, |(text, _)| text);
    if let Some((_, expected)) = message.split_once(", expected ") {
        return format!("must be {}", in_words(expected));
    }
    if message.starts_with("missing field")
        || message.starts_with("duplicate field")
        || message.contains("must ")
    {
        return message.to_owned();
    }
    // What uuid says, and the standard library of a query's numbers and switches.
    let known = [
        ("UUID", "must be a UUID"),
        ("digit", "must be a whole number, 0 or more"),
        ("integer", "must be a whole number, 0 or more"),
        ("number too", "must be a number that is not so far out"),
        ("`true`", "must be true or false"),
    ];
    let found = known.iter().find(|(part, _)| message.contains(part));
    found.map_or("has a value that is not allowed here", |(_, rule)| rule).to_owned()
}

/// What Rust calls it, as people do.
fn in_words(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a map" | "map" => "an object",
        "a sequence" => "a list",
        "a string" => "text",
        "a boolean" => "true or false",
        "unit" => "left out",
        of if of.starts_with("struct ") => "an object",
        other => other,
    }
}

/// A three-way patch: left out, null, or a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Patch<T> {
    #[default]
    Keep,
    Clear,
    Set(T),
}

impl<T> Patch<T> {
    /// What is in force afterwards; `None`: cleared.
    pub fn over(self, now: Option<T>) -> Option<T> {
        match self {
            Self::Keep => now,
            Self::Clear => None,
            Self::Set(value) => Some(value),
        }
    }

    pub fn try_map<U>(self, map: impl FnOnce(T) -> Result<U>) -> Result<Patch<U>> {
        Ok(match self {
            Self::Keep => Patch::Keep,
            Self::Clear => Patch::Clear,
            Self::Set(value) => Patch::Set(map(value)?),
        })
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::<T>::deserialize(deserializer)?.map_or(Self::Clear, Self::Set))
    }
}

impl<T: JsonSchema> JsonSchema for Patch<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        Option::<T>::schema_name()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(schemas: &mut SchemaGenerator) -> Schema {
        Option::<T>::json_schema(schemas)
    }
}

/// Fields that are not known here. Where ignoring one could loosen something, a value in it is an error; null,
/// false, zero and empty say nothing and are taken, but where false is all that such a field is there to say.
#[derive(Clone, Debug, Default)]
pub struct NothingElse;

impl<'de> Deserialize<'de> for NothingElse {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Rest(PhantomData<IgnoredAny>);
        impl<'de> Visitor<'de> for Rest {
            type Value = NothingElse;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<NothingElse, M::Error> {
                while let Some((key, value)) = map.next_entry::<String, Value>()? {
                    if says_something(&key, &value) {
                        let key: String = key.chars().filter(|c| !c.is_control()).take(40).collect();
                        return Err(serde::de::Error::custom(format!(
                            "{key} must be left out: it is not known here"
                        )));
                    }
                }
                Ok(NothingElse)
            }
        }
        deserializer.deserialize_map(Rest(PhantomData))
    }
}

/// Whoever makes something that is to be off must not get it switched on.
const SWITCHES: [&str; 4] = ["is_active", "active", "enabled", "is_enabled"];

fn says_something(key: &str, value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(false) => SWITCHES.contains(&key),
        Value::Bool(true) => true,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

impl JsonSchema for NothingElse {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "NothingElse".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "object" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Sample {
        #[serde(rename = "count")]
        _count: u32,
        #[serde(rename = "kind", default)]
        _kind: Option<domain::SecretType>,
        #[serde(rename = "at", default)]
        _at: Option<domain::Time>,
        #[serde(flatten)]
        _else: NothingElse,
    }

    #[test]
    fn errors_name_the_field_and_never_the_value() {
        for (json, expected) in [
            (r#"{"count": "hunter2"}"#, "count"),
            (r#"{"count": 1, "kind": "hunter2"}"#, "one of"),
            (r#"{"count": 1, "at": "hunter2"}"#, "RFC 3339"),
            (r#"{"kind": "note"}"#, "missing field `count`"),
            (r#"{"count": 1, "hunt": "hunter2"}"#, "hunt must be left out"),
            (r#"{"count": 1, "is_active": false}"#, "is_active must be left out"),
            (r#"{"count": "hunter2"}"#, "must be a whole number, 0 or more"),
            (r#"{"count": 1, "kind": [1]}"#, "kind: must be one of the texts"),
            (r#"{"count": 1, "kind": "hunter2\u0000"}"#, "kind: must hold no NUL"),
            (r#"{"count": 1, hunter2"#, "line 1, column"),
            (r#"{"count": 1} hunter2"#, "line 1, column"),
        ] {
            let error = body::<Sample>(json.as_bytes()).unwrap_err();
            assert!(error.detail().contains(expected), "{json}: {error}");
            assert!(!error.to_string().contains("hunter2"), "{json}: {error}");
        }
        assert!(
            body::<Sample>(br#"{"count": 1, "shroud_enabled": false, "x": null, "y": [], "z": ""}"#).is_ok()
        );
        assert!(body::<Sample>(b"{\"count\": \xff}").unwrap_err().detail().contains("UTF-8"));
        let deep = format!(r#"{{"count": 1, "x": {}1{}}}"#, "[".repeat(500), "]".repeat(500));
        assert!(body::<Sample>(deep.as_bytes()).unwrap_err().detail().contains("nested"));
    }

    #[test]
    fn patches_tell_null_from_absent() {
        #[derive(Deserialize)]
        struct P {
            #[serde(default)]
            x: Patch<u32>,
        }
        let x = |json: &str| body::<P>(json.as_bytes()).unwrap().x;
        assert_eq!(
            (x("{}"), x(r#"{"x":null}"#), x(r#"{"x":5}"#)),
            (Patch::Keep, Patch::Clear, Patch::Set(5))
        );
    }
}
