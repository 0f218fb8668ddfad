//! What the bridge reads of a message, and the errors that it makes itself.

use serde_json::{Value, json};

/// From this version on, a request says by itself which version it speaks; before, `initialize` agrees on one.
const VERSION_IN_META: &str = "io.modelcontextprotocol/protocolVersion";

/// JSON-RPC's code for a failure that is not the client's.
const INTERNAL_ERROR: i32 = -32603;
const PARSE_ERROR: i32 = -32700;
const INVALID_REQUEST: i32 = -32600;

/// A message of the client's, as far as its way to the gateway depends on it.
pub struct Message {
    /// `None`: a notification, which is not answered.
    pub id: Option<Value>,
    /// `None`: an answer to a question that the gateway never asks.
    pub method: Option<String>,
    /// What the headers name beside the method (SEP-2243).
    pub name: Option<String>,
    pub version: Option<String>,
}

impl Message {
    pub fn read(line: &str) -> Option<Self> {
        let message: Value = serde_json::from_str(line).ok()?;
        let members = message.as_object()?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let (method, params) = (members.get("method").and_then(text), &message["params"]);
        let name = match method.as_deref() {
            Some("tools/call" | "prompts/get") => text(&params["name"]),
            Some("resources/read" | "resources/subscribe" | "resources/unsubscribe") => text(&params["uri"]),
            _ => None,
        };
        let version = text(&params["_meta"][VERSION_IN_META]);
        let id = members.get("id").filter(|id| !id.is_null()).cloned();
        Some(Self { id, method, name, version })
    }

    pub fn is(&self, method: &str) -> bool {
        self.method.as_deref() == Some(method)
    }

    /// The answer to a message that the gateway could not be asked, or did not answer as MCP does. A notification
    /// has none.
    pub fn failed(&self, why: &str) -> Option<String> {
        self.id.clone().map(|id| error(id, INTERNAL_ERROR, why))
    }
}

/// The answer to a line that is no message.
pub fn unreadable() -> String {
    error(Value::Null, PARSE_ERROR, "The line is not a JSON-RPC message.")
}

/// The answer to a line that was not read to its end, and so has no id.
pub fn too_long() -> String {
    error(Value::Null, INVALID_REQUEST, "The line is longer than 1.5 MiB, and the gateway takes no more.")
}

fn error(id: Value, code: i32, message: &str) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_follow_from_the_message() {
        let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami","arguments":{"uri":"x"},
            "_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
        let call = Message::read(call).unwrap();
        assert_eq!((call.name.as_deref(), call.version.as_deref()), (Some("whoami"), Some("2026-07-28")));
        let read =
            r#"{"jsonrpc":"2.0","id":"a","method":"resources/read","params":{"uri":"vault://secrets"}}"#;
        let read = Message::read(read).unwrap();
        assert_eq!((read.name.as_deref(), read.version), (Some("vault://secrets"), None));
        let list =
            Message::read(r#"{"jsonrpc":"2.0","id":2,"method":"tools/list","params":{"name":"x"}}"#).unwrap();
        assert!(list.is("tools/list") && list.name.is_none());
    }

    #[test]
    fn only_requests_are_answered() {
        let request = Message::read(r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#).unwrap();
        let answer: Value = serde_json::from_str(&request.failed("no").unwrap()).unwrap();
        assert_eq!((&answer["id"], &answer["error"]["message"]), (&json!(7), &json!("no")));
        let notification =
            Message::read(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).unwrap();
        assert!(notification.failed("no").is_none());
        assert!(Message::read("[1]").is_none() && Message::read("hello").is_none());
        assert!(unreadable().contains("-32700"));
    }
}
