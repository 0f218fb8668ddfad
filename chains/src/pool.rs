//! Nodes by address, made once and kept.

use domain::{Error, Result};
use moka::sync::Cache;
use reqwest::Client;

use crate::address::NodeUrl;
use crate::node::Node;
use crate::rpc::client;

/// More than any registry has chains; old addresses fall out.
const KEPT: u64 = 1_000;

/// All the nodes that are used, over one HTTP client. Cheap to clone.
#[derive(Clone)]
pub struct Nodes {
    client: std::result::Result<Client, String>,
    kept: Cache<String, Node>,
}

impl Nodes {
    #[expect(
        clippy::new_without_default,
        reason = "it opens a connection pool; that should be seen where it is made"
    )]
    pub fn new() -> Self {
        Self { client: client().map_err(|error| error.to_string()), kept: Cache::new(KEPT) }
    }

    /// The node at an `http:` or `https:` address. Nothing is sent yet.
    ///
    /// # Errors
    /// `Invalid`, naming `rpc_url`, if it is no such address. The error doesn't repeat it.
    pub fn at(&self, rpc_url: &str) -> Result<Node> {
        if let Some(node) = self.kept.get(rpc_url) {
            return Ok(node);
        }
        let url = NodeUrl::parse(rpc_url)?;
        let client =
            self.client.as_ref().map_err(|error| Error::internal(error).because("no HTTP client"))?;
        Ok(self.kept.get_with_by_ref(rpc_url, || Node::new(client.clone(), url)))
    }
}

impl std::fmt::Debug for Nodes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Nodes({})", self.kept.entry_count())
    }
}
