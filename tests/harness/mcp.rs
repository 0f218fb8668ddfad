//! MCP as it goes over the wire: one POST a message, no client's library in between.

use reqwest::Method;
use serde_json::{Value, json};

use crate::actors::Agent;
use crate::replies::Call;

/// What a tool answered.
pub struct ToolReply {
    /// The whole result.
    pub result: Value,
    asked: String,
}

impl Agent<'_> {
    /// One message to `/mcp`, as clients of 2025-11-25 send it.
    pub fn mcp(&self, method: &str, params: &Value) -> Call {
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        self.call(Method::POST, "/mcp")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2025-11-25")
            .json(&message)
    }

    /// Calls a tool in the vault that the client names, if it names one.
    pub async fn tool_in(&self, vault: Option<&str>, name: &str, arguments: &Value) -> ToolReply {
        let mut call = self.mcp("tools/call", &json!({"name": name, "arguments": arguments}));
        if let Some(vault) = vault {
            call = call.header("x-vault-id", vault);
        }
        let body = call.expect(200, "result").await;
        ToolReply { result: body["result"].clone(), asked: format!("{name} {arguments}") }
    }

    pub async fn tool(&self, name: &str, arguments: &Value) -> ToolReply {
        self.tool_in(None, name, arguments).await
    }

    /// The names of the tools that this agent is shown.
    pub async fn tools(&self) -> Vec<String> {
        let body = self.mcp("tools/list", &json!({})).expect(200, "tools").await;
        let tools = body["result"]["tools"].as_array().unwrap().iter();
        tools.map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }
}

impl ToolReply {
    /// The structured content of a success, in which the fragment is found; the text beside it says the same.
    pub fn expect(self, fragment: &str) -> Value {
        let Self { result, asked } = self;
        let content = &result["structuredContent"];
        let same =
            result["content"][0]["text"].as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
        assert_ne!(result["isError"], true, "{asked}: {result}");
        assert_eq!(same.as_ref(), Some(content), "{asked}: {result}");
        assert!(content.to_string().contains(fragment), "{asked}: {fragment:?} is not in {result}");
        content.clone()
    }

    /// The sentence of a refusal.
    pub fn refused(self, fragment: &str) -> String {
        let Self { result, asked } = self;
        let text = result["content"][0]["text"].as_str().unwrap_or_default();
        assert_eq!(result["isError"], true, "{asked}: {result}");
        assert!(text.contains(fragment), "{asked}: {fragment:?} is not in {result}");
        text.to_owned()
    }
}
