//! JSON-RPC to a node, over HTTP and within limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use alloy::rpc::json_rpc::{Id, Request, Response, ResponsePayload, RpcSend};
use reqwest::{Client, StatusCode};
use serde::de::DeserializeOwned;

use crate::address::NodeUrl;
use crate::error::{NodeError, clean};

/// Until a connection stands.
const CONNECT: Duration = Duration::from_secs(2);
/// From the first byte out to the last byte in.
const WHOLE: Duration = Duration::from_secs(10);
/// Shorter than the idle limit of common servers and proxies (60 s and more), so that a request does not meet a
/// connection which is just being closed.
const IDLE: Duration = Duration::from_secs(30);
/// A receipt can hold the logs of a whole block's gas: 36 million at 8 a byte (`LOG` data), twice that in hex.
const LONGEST_ANSWER: usize = 16 * 1024 * 1024;

/// The HTTP client of all nodes. No redirects: they would carry a request, and perhaps a key, elsewhere. No proxy
/// from the environment: which hosts are talked to is the configuration's to say.
pub fn client() -> Result<Client, reqwest::Error> {
    // Fails when a provider is there already: that one serves as well.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let builder = || {
        Client::builder()
            .connect_timeout(CONNECT)
            .timeout(WHOLE)
            .pool_idle_timeout(IDLE)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("talon/", env!("CARGO_PKG_VERSION")))
    };
    builder().build().or_else(|error| {
        // A machine without root certificates: plain HTTP nodes work, and every HTTPS one is refused as untrusted.
        tracing::warn!(%error, "no root certificates are found; nodes can't be reached by https");
        builder().tls_certs_only([]).build()
    })
}

/// The way to one node. Cheap to clone.
#[derive(Clone)]
pub struct Rpc {
    client: Client,
    url: NodeUrl,
    next_id: Arc<AtomicU64>,
}

impl Rpc {
    pub fn new(client: Client, url: NodeUrl) -> Self {
        Self { client, url, next_id: Arc::default() }
    }

    /// Takes what of the node's address may be a key out of a text.
    pub fn scrub(&self, text: &str) -> String {
        self.url.scrub(text)
    }

    /// Asks one thing.
    pub async fn ask<P, R>(&self, method: &'static str, params: P) -> Result<R, NodeError>
    where
        P: RpcSend,
        R: DeserializeOwned,
    {
        self.exchange(method, params).await.inspect_err(|error| {
            tracing::debug!(method, %error, "a node did not do what it was asked");
        })
    }

    async fn exchange<P: RpcSend, R: DeserializeOwned>(
        &self,
        method: &'static str,
        params: P,
    ) -> Result<R, NodeError> {
        let id = Id::Number(self.next_id.fetch_add(1, Ordering::Relaxed));
        let request = Request::new(method, id.clone(), params);
        let sent = self.client.post(self.url.expose().clone()).json(&request).send().await;
        let response = sent.map_err(|error| self.unreachable(error))?;
        let status = response.status();
        let body = self.read(response).await?;
        let answer: Response = match serde_json::from_slice(&body) {
            // Some nodes give a JSON-RPC error a status of its own.
            Ok(answer) => answer,
            Err(_) if status != StatusCode::OK => return Err(NodeError::Unreachable(refused(status))),
            Err(error) => return Err(self.malformed(&error)),
        };
        match answer.payload {
            ResponsePayload::Failure(error) => Err(NodeError::answered(&error, &self.url)),
            // A proxy that mixes up its clients would give us somebody else's nonce.
            ResponsePayload::Success(_) if answer.id != id => {
                Err(NodeError::Malformed("the answer to another request".to_owned()))
            }
            ResponsePayload::Success(result) => {
                serde_json::from_str(result.get()).map_err(|e| self.malformed(&e))
            }
        }
    }

    async fn read(&self, mut response: reqwest::Response) -> Result<Vec<u8>, NodeError> {
        let too_long = || NodeError::Malformed(format!("more than {} MiB", LONGEST_ANSWER >> 20));
        if response.content_length().unwrap_or_default() > LONGEST_ANSWER as u64 {
            return Err(too_long());
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(error))? {
            if body.len() + chunk.len() > LONGEST_ANSWER {
                return Err(too_long());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn malformed(&self, error: &serde_json::Error) -> NodeError {
        NodeError::Malformed(clean(&error.to_string(), &self.url))
    }

    fn unreachable(&self, error: reqwest::Error) -> NodeError {
        let error = error.without_url();
        if error.is_timeout() {
            return NodeError::Unreachable("it did not answer in time".to_owned());
        }
        // The innermost cause says most: "Connection refused", "certificate has expired".
        let mut cause: &dyn std::error::Error = &error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        NodeError::Unreachable(clean(&cause.to_string(), &self.url))
    }
}

fn refused(status: StatusCode) -> String {
    let code = status.as_u16();
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            format!("it refuses our credentials (HTTP {code})")
        }
        StatusCode::TOO_MANY_REQUESTS => format!("it limits our requests (HTTP {code})"),
        status if status.is_redirection() => {
            format!("it sends us elsewhere, which is not followed (HTTP {code})")
        }
        _ => format!("HTTP {code}"),
    }
}
