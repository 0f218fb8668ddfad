//! The two who speak to Talon: a person over REST, an agent over MCP.

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::SecretText;
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

/// The revision of MCP that the agent speaks.
const PROTOCOL: &str = "2025-11-25";

pub fn client() -> Result<Client> {
    let _another_may_be_installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    // Everything is on this machine, whatever proxy the environment names.
    Ok(Client::builder().no_proxy().build()?)
}

pub struct Person {
    http: Client,
    url: String,
    token: String,
}

impl Person {
    pub async fn sign_up(url: &str) -> Result<Self> {
        let http = client()?;
        let password = password()?;
        let body = json!({"email": "ada@example.org", "password": password, "display_name": "Ada"});
        let answer = http.post(format!("{url}/v1/auth/signup")).json(&body).send().await?;
        let answer = body_of(answer).await?;
        let token = answer["access_token"].as_str().context("no token for the new account")?.to_owned();
        Ok(Self { http, url: url.to_owned(), token })
    }

    pub async fn post(&self, path: &str, body: Value) -> Result<Value> {
        self.ask(Method::POST, path, Some(body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Result<Value> {
        self.ask(Method::PUT, path, Some(body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Result<Value> {
        self.ask(Method::PATCH, path, Some(body)).await
    }

    pub async fn get(&self, path: &str) -> Result<Value> {
        self.ask(Method::GET, path, None).await
    }

    pub async fn delete(&self, path: &str) -> Result<Value> {
        self.ask(Method::DELETE, path, None).await
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let mut request = self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        body_of(request.send().await?).await
    }
}

/// One that the rules allow: of random ones some have a run of letters in them.
fn password() -> Result<String> {
    loop {
        let mut random = [0; 24];
        getrandom::fill(&mut random)?;
        let password = format!("Aa7-{}", URL_SAFE_NO_PAD.encode(random));
        if domain::password::check("password", &SecretText::from(password.clone())).is_ok() {
            return Ok(password);
        }
    }
}

/// The answer's body; a refusal is an error in its own words.
async fn body_of(answer: Response) -> Result<Value> {
    let status = answer.status();
    let text = answer.text().await?;
    let body: Value = if text.is_empty() { Value::Null } else { serde_json::from_str(&text)? };
    if !status.is_success() {
        bail!("{status}: {}", body["detail"].as_str().unwrap_or(&text));
    }
    Ok(body)
}

/// An agent that has nothing but its key.
pub struct Agent {
    http: Client,
    url: String,
    key: String,
}

impl Agent {
    pub async fn connect(url: &str, key: String) -> Result<Self> {
        let agent = Self { http: client()?, url: format!("{url}/mcp"), key };
        let hello = json!({"protocolVersion": PROTOCOL, "capabilities": {},
            "clientInfo": {"name": "talon-demo", "version": env!("CARGO_PKG_VERSION")}});
        agent.request("initialize", hello).await?;
        Ok(agent)
    }

    pub async fn tools(&self) -> Result<Vec<Value>> {
        let listed = self.request("tools/list", json!({})).await?;
        listed["tools"].as_array().cloned().context("no list of tools")
    }

    /// What a tool answers.
    pub async fn call(&self, tool: &str, arguments: Value) -> Result<Value> {
        let result = self.result(tool, arguments).await?;
        ensure!(result["isError"] != true, "{tool} was refused: {}", said(&result));
        Ok(result["structuredContent"].clone())
    }

    /// What a tool says that must refuse.
    pub async fn refused(&self, tool: &str, arguments: Value) -> Result<String> {
        let result = self.result(tool, arguments).await?;
        ensure!(result["isError"] == true, "{tool} should have been refused");
        Ok(said(&result))
    }

    async fn result(&self, tool: &str, arguments: Value) -> Result<Value> {
        self.request("tools/call", json!({"name": tool, "arguments": arguments})).await
    }

    async fn request(&self, method: &str, params: Value) -> Result<Value> {
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let request = self.http.post(&self.url).bearer_auth(&self.key).json(&message);
        let request = request
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", PROTOCOL);
        let answer = body_of(request.send().await?).await?;
        ensure!(answer["error"].is_null(), "{method}: {}", answer["error"]);
        Ok(answer["result"].clone())
    }
}

fn said(result: &Value) -> String {
    result["content"][0]["text"].as_str().unwrap_or_default().to_owned()
}
