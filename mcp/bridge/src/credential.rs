//! Who the bridge is to the gateway: a key that it exchanges for tokens, or a token that it was given.

use std::time::{Duration, Instant};

use reqwest::{Client, Url};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::answer::{self, unreachable};

/// A token is renewed that long before it ends.
const MARGIN: Duration = Duration::from_secs(60);
/// The longest life that is believed, in seconds: no token of the gateway's lives longer, and an absurd number would be
/// past the end of time.
const LONGEST: u64 = 24 * 60 * 60;

/// No `Debug`: it would print what must not be printed.
pub enum Credential {
    Token(String),
    Key { agent: Option<String>, key: String, token: Mutex<Option<Token>> },
}

pub struct Token {
    text: String,
    renew_at: Instant,
}

impl Credential {
    pub fn token(text: String) -> Self {
        Self::Token(text)
    }

    pub fn key(agent: Option<String>, key: String) -> Self {
        Self::Key { agent, key, token: Mutex::new(None) }
    }

    /// A token that is good for a while.
    ///
    /// # Errors
    /// The sentence for the client.
    pub async fn bearer(&self, client: &Client, base: &Url) -> Result<String, String> {
        let (agent, key, token) = match self {
            Self::Token(text) => return Ok(text.clone()),
            Self::Key { agent, key, token } => (agent, key, token),
        };
        // Held while it is renewed: the others wait for the one new token.
        let mut token = token.lock().await;
        if let Some(token) = token.as_ref().filter(|token| Instant::now() < token.renew_at) {
            return Ok(token.text.clone());
        }
        let new = exchange(client, base, agent.as_deref(), key).await?;
        Ok(token.insert(new).text.clone())
    }

    /// Forgets a token that the gateway refused. Whether there is another one to be had.
    pub async fn refused(&self, bearer: &str) -> bool {
        let Self::Key { token, .. } = self else { return false };
        let mut token = token.lock().await;
        if token.as_ref().is_some_and(|token| token.text == bearer) {
            *token = None;
        }
        true
    }
}

async fn exchange(client: &Client, base: &Url, agent: Option<&str>, key: &str) -> Result<Token, String> {
    let url = base.join("v1/auth/agent-token").map_err(|e| e.to_string())?;
    let mut body = json!({ "api_key": key });
    if let Some(agent) = agent {
        body["agent_id"] = agent.into();
    }
    let asked = Instant::now();
    let answer = client.post(url).json(&body).send().await.map_err(|error| unreachable(base, &error))?;
    let status = answer.status();
    let body: Value = serde_json::from_slice(&answer::body(base, answer).await?).unwrap_or_default();
    match (body["access_token"].as_str(), body["expires_in"].as_u64()) {
        (Some(text), Some(seconds)) if status.is_success() => {
            // One that lives less than the margin is renewed at half its life.
            let life = Duration::from_secs(seconds.min(LONGEST));
            let renew_at = asked + life.checked_sub(MARGIN).unwrap_or(life / 2);
            Ok(Token { text: text.to_owned(), renew_at })
        }
        _ => Err(format!(
            "The gateway does not take the agent's key ({status}): {} Check ONECLAW_AGENT_ID and ONECLAW_AGENT_API_KEY.",
            body["detail"].as_str().unwrap_or("it did not say why.")
        )),
    }
}
