//! A request in the making, and its answer.

use std::collections::HashMap;

use reqwest::{Method, RequestBuilder};
use serde_json::Value;

/// A request; await it by [`Call::reply`] or, more often, [`Call::expect`].
pub struct Call {
    method: Method,
    path: String,
    request: RequestBuilder,
}

pub struct Reply {
    pub status: u16,
    pub body: Value,
    pub text: String,
    pub headers: HashMap<String, String>,
    asked: String,
}

impl Call {
    pub fn new(http: &reqwest::Client, base: &str, method: Method, path: &str, token: Option<&str>) -> Self {
        let mut request = http.request(method.clone(), format!("{base}{path}"));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        Self { method, path: path.to_owned(), request }
    }

    pub fn json(mut self, body: &Value) -> Self {
        self.request = self.request.json(body);
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value.as_bytes());
        self
    }

    pub fn body(mut self, body: impl Into<reqwest::Body>) -> Self {
        self.request = self.request.body(body);
        self
    }

    /// The answer, or `None` if nobody answered.
    pub async fn try_reply(self) -> Option<Reply> {
        let response = self.request.send().await.ok()?;
        let status = response.status().as_u16();
        let headers = response.headers().iter();
        let headers =
            headers.map(|(k, v)| (k.to_string(), v.to_str().unwrap_or_default().to_owned())).collect();
        let text = response.text().await.ok()?;
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Some(Reply { status, body, text, headers, asked: format!("{} {}", self.method, self.path) })
    }

    pub async fn reply(self) -> Reply {
        let asked = format!("{} {}", self.method, self.path);
        self.try_reply().await.unwrap_or_else(|| panic!("{asked}: no answer"))
    }

    /// The body, if the status is this and the body holds the fragment. An error must be a whole problem body.
    pub async fn expect(self, status: u16, fragment: &str) -> Value {
        self.reply().await.expect(status, fragment)
    }
}

impl Reply {
    pub fn expect(self, status: u16, fragment: &str) -> Value {
        let Self { status: got, body, text, headers, asked } = self;
        assert!(
            got == status && text.contains(fragment),
            "{asked}: expected {status} with {fragment:?}, got {got}:\n{text}"
        );
        if status >= 400 {
            let kind = headers.get("content-type").map(String::as_str);
            assert_eq!(kind, Some("application/problem+json"), "{asked}: {text}");
            for field in ["type", "title", "detail"] {
                assert!(body[field].is_string(), "{asked}: no {field} in {text}");
            }
            assert_eq!(body["status"], status, "{asked}: {text}");
        }
        assert!(headers.contains_key("x-request-id"), "{asked}: no x-request-id");
        body
    }
}
