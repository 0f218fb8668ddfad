//! From an answer to a tool's result: what REST would say, and for an error the sentence that says what to do next.

use api::Outbound;
use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::Value;

/// `fresh`: the argument that was made, and what was made for it.
pub fn result(out: Outbound, fresh: Option<(&'static str, String)>) -> CallToolResult {
    let body: Option<Value> = serde_json::from_slice(&out.body).ok();
    let failed = out.status.is_client_error() || out.status.is_server_error();
    let mut result = match body {
        None => CallToolResult::success(vec![ContentBlock::text("Done.")]),
        Some(body) if failed => error(&out, body),
        Some(body) => CallToolResult::structured(body),
    };
    if let Some((name, value)) = fresh {
        let text = format!("{name} was {value}; give the same one when you repeat this very call.");
        result.content.push(ContentBlock::text(text));
    }
    result
}

/// An error that was found before a request could be made.
pub fn refusal(error: &domain::Error) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(error.detail())])
}

fn error(out: &Outbound, body: Value) -> CallToolResult {
    let mut text = match (body["detail"].as_str(), body["error_message"].as_str()) {
        (Some(detail), _) => detail.to_owned(),
        // What the operation answers to a request that it understood and did not carry out.
        (None, Some(why)) => format!("Nothing was signed, since the chain says that it would fail: {why}"),
        (None, None) => format!("It failed with status {}.", out.status.as_u16()),
    };
    if out.status.is_server_error()
        && let Some(id) = out.headers.get("x-request-id").and_then(|id| id.to_str().ok())
    {
        text.push_str(&format!(" (request {id})"));
    }
    let is_problem = body["detail"].is_string();
    let mut result = CallToolResult::error(vec![ContentBlock::text(text)]);
    // A problem's members are for programs; the sentence is all that a model needs of them.
    result.structured_content = (!is_problem).then_some(body);
    result
}
