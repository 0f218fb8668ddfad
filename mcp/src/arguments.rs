//! From a tool's arguments to a request: placeholders, query or body, headers.

use api::Inbound;
use api::tool::{Argument, Default};
use bytes::Bytes;
use domain::{Error, Kind, RequestId, Result};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use serde_json::{Map, Value};

use crate::door::Visit;
use crate::schema;
use crate::tools::Listed;

/// Says which request a repetition repeats. Over MCP it is an argument: set by a client for every call alike, it
/// would make one transaction of two.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A request, and what was made for it because the model left it out.
pub struct Made {
    pub request: Inbound,
    pub fresh: Option<(&'static str, String)>,
}

/// # Errors
/// `Invalid`, naming the argument and never what it holds.
pub fn request(
    listed: &Listed,
    mut given: Map<String, Value>,
    headers: &HeaderMap,
    visit: &Visit,
) -> Result<Made> {
    // Many models write null for what they leave out.
    given.retain(|_, value| !value.is_null());
    let mut headers = headers.clone();
    headers.remove(IDEMPOTENCY_KEY);
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let (mut path, mut fields, mut fresh) = (Vec::new(), Map::new(), None);
    for argument in listed.tool.arguments {
        let name = argument.name;
        let value = given.remove(name).or_else(|| {
            argument.default.map(|default| match default {
                Default::Fresh => {
                    let made = RequestId::new().to_string();
                    fresh = Some((name, made.clone()));
                    made.into()
                }
                default => schema::value(default),
            })
        });
        if listed.entry.placeholders.contains(&name) {
            path.push((name.to_owned(), placeholder(argument, value)?));
        } else if let Some(value) = value {
            match argument.header {
                Some(header) => {
                    headers.insert(HeaderName::from_static(header), header_value(name, &value)?);
                }
                None => {
                    fields.insert(name.to_owned(), value);
                }
            }
        }
    }
    if let Some(unknown) = given.keys().next() {
        return Err(no_such(listed, unknown));
    }
    let reads = listed.entry.route.method == Method::GET;
    let query = if reads && !fields.is_empty() { Some(query(&fields)?) } else { None };
    let body = if reads { Bytes::new() } else { Bytes::from(Value::Object(fields).to_string()) };
    let request =
        Inbound { path, query, headers, body, peer: visit.peer, peer_certificate: None, counted: true };
    Ok(Made { request, fresh })
}

fn placeholder(argument: &Argument, value: Option<Value>) -> Result<String> {
    match value {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(Error::invalid(argument.name, "must be a string")),
        None => Err(Error::invalid(argument.name, "is missing")),
    }
}

fn header_value(name: &str, value: &Value) -> Result<HeaderValue> {
    let text = value.as_str().ok_or_else(|| Error::invalid(name, "must be a string"))?;
    HeaderValue::from_str(text).map_err(|_| Error::invalid(name, "must be printable ASCII"))
}

fn query(fields: &Map<String, Value>) -> Result<String> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in fields {
        match value {
            Value::String(text) => query.append_pair(name, text),
            Value::Number(_) | Value::Bool(_) => query.append_pair(name, &value.to_string()),
            _ => return Err(Error::invalid(name, "must be a string, a number, true or false")),
        };
    }
    Ok(query.finish())
}

fn no_such(listed: &Listed, unknown: &str) -> Error {
    let unknown: String = unknown.chars().filter(|c| !c.is_control()).take(40).collect();
    let known: Vec<&str> = listed.tool.arguments.iter().map(|argument| argument.name).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Error::new(Kind::Invalid, format!("{unknown} is no argument of {}; it takes: {known}.", listed.tool.name))
}
