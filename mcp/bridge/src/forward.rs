//! One message to the gateway, and its answer back.

use std::sync::OnceLock;
use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response, StatusCode, Url, header};
use serde_json::Value;

use crate::answer::{self, unreachable};
use crate::credential::Credential;
use crate::line::Line;
use crate::message::{self, Message};
use crate::options::Options;
use crate::{BridgeError, say};

const CONNECT: Duration = Duration::from_secs(10);
/// The gateway answers within 30 seconds, whatever it does.
const WHOLE: Duration = Duration::from_secs(45);

pub struct Gateway {
    client: Client,
    base: Url,
    mcp: Url,
    vault: Option<String>,
    credential: Credential,
    /// What `initialize` agreed on, for clients that say it only once.
    version: OnceLock<String>,
}

impl Gateway {
    pub fn new(options: &Options) -> Result<Self, BridgeError> {
        let base = options.base_url()?;
        let mcp = base.join("mcp").map_err(|error| BridgeError::Settings(error.to_string()))?;
        let vault = options.vault_id.clone().map(|id| id.trim().to_owned()).filter(|id| !id.is_empty());
        let (client, credential) = (client(&base)?, options.credential()?);
        Ok(Self { client, mcp, vault, credential, version: OnceLock::new(), base })
    }

    pub fn address(&self) -> &Url {
        &self.mcp
    }

    /// The line to answer with, if the message has an answer.
    pub async fn forward(&self, line: Line) -> Option<String> {
        let line = match line {
            Line::Text(line) => line,
            Line::NotText => return Some(message::unreadable()),
            Line::TooLong => return Some(message::too_long()),
        };
        let Some(message) = Message::read(&line) else { return Some(message::unreadable()) };
        match self.ask(&message, &line).await {
            Ok(answer) => answer,
            Err(why) => {
                say(&why);
                message.failed(&why)
            }
        }
    }

    async fn ask(&self, message: &Message, line: &str) -> Result<Option<String>, String> {
        let bearer = self.credential.bearer(&self.client, &self.base).await?;
        let answer = self.send(message, line, &bearer).await?;
        // The token may have been revoked, or the gateway's clock be ahead: a key gets one more try.
        let answer = if answer.status() == StatusCode::UNAUTHORIZED && self.credential.refused(&bearer).await
        {
            let bearer = self.credential.bearer(&self.client, &self.base).await?;
            self.send(message, line, &bearer).await?
        } else {
            answer
        };
        self.read(message, answer).await
    }

    async fn send(&self, message: &Message, line: &str, bearer: &str) -> Result<Response, String> {
        let request = self.headers(message, self.client.post(self.mcp.clone())).bearer_auth(bearer);
        request.body(line.to_owned()).send().await.map_err(|error| unreachable(&self.base, &error))
    }

    fn headers(&self, message: &Message, mut request: RequestBuilder) -> RequestBuilder {
        request = request
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, text/event-stream");
        let agreed = self.version.get().filter(|_| !message.is("initialize"));
        let pairs = [
            ("mcp-protocol-version", message.version.as_ref().or(agreed)),
            ("mcp-method", message.method.as_ref()),
            ("mcp-name", message.name.as_ref()),
            ("x-vault-id", self.vault.as_ref()),
        ];
        for (name, value) in pairs {
            // What no header can hold is left out: the gateway says what is missing.
            if let Some(value) = value.and_then(|value| header::HeaderValue::from_str(value).ok()) {
                request = request.header(name, value);
            }
        }
        request
    }

    async fn read(&self, message: &Message, answer: Response) -> Result<Option<String>, String> {
        let (status, json) = (answer.status(), is_json(&answer));
        let body = answer::body(&self.base, answer).await?;
        if message.id.is_none() && status.is_success() {
            return Ok(None);
        }
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        if json && answer["jsonrpc"] == "2.0" {
            if let Some(version) =
                answer["result"]["protocolVersion"].as_str().filter(|_| message.is("initialize"))
            {
                let _agreed_before = self.version.set(version.to_owned());
            }
            // One line, whatever the gateway's JSON looks like.
            return Ok(Some(answer.to_string()));
        }
        Err(match answer["detail"].as_str() {
            Some(detail) => format!("The gateway refuses ({status}): {detail}"),
            None => format!("{} is no MCP endpoint ({status}). Check ONECLAW_BASE_URL.", self.mcp),
        })
    }
}

fn is_json(answer: &Response) -> bool {
    let kind = answer.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("application/json"))
}

/// No redirects: they would carry the credential elsewhere. Nor does plain HTTP, which is for this machine alone, go
/// through the proxy of the environment, which would see it in the clear; within TLS it sees nothing.
fn client(base: &Url) -> Result<Client, reqwest::Error> {
    let _another_may_be_installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let builder = || {
        let builder = Client::builder()
            .connect_timeout(CONNECT)
            .timeout(WHOLE)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("talon-mcp/", env!("CARGO_PKG_VERSION")));
        if base.scheme() == "http" { builder.no_proxy() } else { builder }
    };
    // A machine without root certificates: loopback works, and https is refused as untrusted.
    builder().build().or_else(|_| builder().tls_certs_only([]).build())
}
