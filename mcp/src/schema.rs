//! The operations' schemas, as tools show them: nothing but what a model or a client reads.

use api::Entry;
use api::tool::{Argument, Default, Tool};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// What a tool takes, and what it answers.
pub struct ToolSchemas {
    pub input: Map<String, Value>,
    pub output: Option<Map<String, Value>>,
}

/// From the same shapes as the OpenAPI document.
pub fn of(entry: &Entry, tool: &Tool) -> ToolSchemas {
    let mut schemas = SchemaSettings::draft2020_12()
        .with(|s| {
            s.inline_subschemas = true;
            s.meta_schema = None;
        })
        .into_generator();
    let shapes = entry.shapes(&mut schemas);
    let output = shapes.output.filter(|_| tool.shows_output).map(|schema| output(schema.to_value()));
    let fields = shapes.input.map(|schema| schema.to_value()).unwrap_or_default();
    ToolSchemas { input: input(entry, tool, &fields), output }
}

fn input(entry: &Entry, tool: &Tool, fields: &Value) -> Map<String, Value> {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for argument in tool.arguments {
        properties.insert(argument.name.to_owned(), property(argument, &fields["properties"][argument.name]));
        let needed = argument.required
            || entry.placeholders.contains(&argument.name)
            || fields["required"].as_array().is_some_and(|all| all.iter().any(|f| f == argument.name));
        if needed && argument.default.is_none() {
            required.push(argument.name);
        }
    }
    let mut schema = Map::from_iter([("type".to_owned(), json!("object"))]);
    schema.insert("properties".to_owned(), properties.into());
    if !required.is_empty() {
        schema.insert("required".to_owned(), required.into());
    }
    schema.insert("additionalProperties".to_owned(), false.into());
    schema
}

/// One argument: the field's schema, or text for what is no field.
fn property(argument: &Argument, field: &Value) -> Value {
    let mut property = match field {
        Value::Object(_) => bare(field.clone()),
        _ => json!({ "type": "string" }),
    };
    let Some(members) = property.as_object_mut() else { return property };
    if let Some(about) = argument.about {
        members.insert("description".to_owned(), about.into());
    }
    members.remove("default");
    match argument.default {
        None | Some(Default::Fresh) => {}
        Some(default) => {
            members.insert("default".to_owned(), value(default));
        }
    }
    property
}

/// A default, as it is sent.
pub fn value(default: Default) -> Value {
    match default {
        Default::Text(text) => text.into(),
        Default::Texts(texts) => texts.into(),
        Default::Flag(flag) => flag.into(),
        Default::Number(number) => number.into(),
        Default::Fresh => Value::Null,
    }
}

/// An answer's schema, without the texts: a client checks answers against it, and a model reads names.
fn output(schema: Value) -> Map<String, Value> {
    fn strip(schema: &mut Value) {
        let Some(members) = schema.as_object_mut() else { return };
        for text in ["description", "title", "default", "examples"] {
            members.remove(text);
        }
        for schema in members.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
            strip(schema.1);
        }
        if let Some(items) = members.get_mut("items") {
            strip(items);
        }
    }
    let mut schema = bare(schema);
    strip(&mut schema);
    match schema {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// Without what JSON Schema does not know (integer widths), without titles, and without the null that says the same as
/// leaving a field out. Where text or a number is taken, text is told.
fn bare(mut schema: Value) -> Value {
    let Some(members) = schema.as_object_mut() else { return schema };
    members.remove("title");
    if members.get("format").and_then(Value::as_str).is_some_and(|f| f.contains("int")) {
        members.remove("format");
    }
    if let Some(Value::Array(types)) = members.get_mut("type") {
        types.retain(|t| t != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            members.insert("type".to_owned(), only);
        }
    }
    for key in ["anyOf", "oneOf"] {
        let Some(Value::Array(choices)) = members.get(key) else { continue };
        let choices: Vec<Value> =
            choices.iter().filter(|c| c["type"] != "null").map(|c| bare(c.clone())).collect();
        let Some(Value::Object(chosen)) = one_of(&choices) else { continue };
        members.remove(key);
        for (name, value) in chosen {
            members.entry(name).or_insert(value);
        }
    }
    for schema in members.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
        *schema.1 = bare(schema.1.take());
    }
    if let Some(items) = members.get_mut("items") {
        *items = bare(items.take());
    }
    schema
}

/// The one schema that stands for these choices, if there is one.
fn one_of(choices: &[Value]) -> Option<Value> {
    let words = choices.iter().map(words).collect::<Option<Vec<_>>>();
    if let Some(words) = words {
        return Some(json!({ "type": "string", "enum": words.concat() }));
    }
    let any_text = choices.iter().find(|choice| choice["type"] == "string" && words_of(choice).is_empty());
    any_text.or(if let [only] = choices { Some(only) } else { None }).cloned()
}

/// The words that a schema allows, if it allows nothing else.
fn words(schema: &Value) -> Option<Vec<Value>> {
    Some(words_of(schema)).filter(|words| !words.is_empty())
}

fn words_of(schema: &Value) -> Vec<Value> {
    let listed = schema["enum"].as_array().cloned().unwrap_or_default();
    listed.into_iter().chain(schema.get("const").cloned()).filter(Value::is_string).collect()
}
