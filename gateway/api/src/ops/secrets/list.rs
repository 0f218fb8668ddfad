//! What is in a vault.

use domain::access::{self, Permit, Readable};
use domain::{Error, Result, SecretPath, Time, VaultId};
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::secrets::Version;
use store::secrets::list::{self, Part};

use super::SecretMetadataResponse;
use crate::access::{Granted, OnVault};
use crate::cx::Cx;
use crate::decode;
use crate::operation::{Operation, Reply, Route};
use crate::ops::OfVault;
use crate::tool::{Effect, Tool, arg};

/// Entries on one page.
const PAGES: std::ops::RangeInclusive<usize> = 1..=1000;
/// Rows that are looked at together, at least: who may read little of a vault waits for few look-ups.
const CHUNK: usize = 500;

#[derive(Deserialize, JsonSchema)]
pub struct ListSecretsQuery {
    /// Only paths that begin with it.
    #[serde(default)]
    prefix: Option<String>,
    /// Secrets on a page, 1 to 1,000; left out: all of them on one.
    #[serde(default)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    #[serde(default)]
    cursor: Option<String>,
    /// Those that were deleted and can be restored, instead of those that are there.
    #[serde(default)]
    deleted: bool,
}

#[derive(Serialize, JsonSchema)]
pub struct SecretListResponse {
    secrets: Vec<SecretMetadataResponse>,
    /// There are more: ask for them with it as `cursor`.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// What is in a vault, without values.
pub struct ListSecrets;

impl Operation for ListSecrets {
    const ROUTE: Route = Route::new(
        "listSecrets",
        Method::GET,
        "/v1/vaults/{vault_id}/secrets",
        200,
        "What is in a vault, as far as you may read it: paths, types and versions, never a value.",
    )
    .tool(
        Tool::new(
            "list_secrets",
            Effect::Reads,
            "Lists the secrets that you may read: path, type, version and expiry, never a value. Use it first, to find a \
             path. An empty list means that no policy gives you a path there: ask an owner or admin for one.",
        )
        .takes(&[arg("prefix")]),
    );
    type Path = OfVault;
    type Params = decode::From<ListSecretsQuery>;
    type Output = SecretListResponse;
    type Access = OnVault<access::ListSecrets>;

    async fn run(
        cx: &Cx,
        granted: Granted<Permit<access::ListSecrets, VaultId>>,
        _: OfVault,
        decode::From(query): Self::Params,
    ) -> Result<Reply<SecretListResponse>> {
        let policies = cx.policies().await?;
        let readable = access::readable(&cx.subject()?, &granted.vault.facts(), &policies);
        let wanted = Wanted {
            limit: page_size(query.limit)?,
            prefix: query.prefix.unwrap_or_default(),
            after: query.cursor.as_deref().map(cursor).transpose()?,
            deleted_after: query.deleted.then(|| cx.gateway.restorable_since(cx.now())),
        };
        let (seen, more) = page(cx, &granted.may, &readable, wanted).await?;
        Ok(Reply::of(SecretListResponse {
            next_cursor: seen.last().filter(|_| more).map(|version| version.path.to_string()),
            secrets: seen.iter().map(SecretMetadataResponse::from).collect(),
        }))
    }
}

struct Wanted {
    limit: Option<usize>,
    prefix: String,
    after: Option<SecretPath>,
    deleted_after: Option<Time>,
}

/// A page of what may be read, full if there is enough, and whether there is more.
async fn page(
    cx: &Cx,
    may: &Permit<access::ListSecrets, VaultId>,
    readable: &Readable,
    wanted: Wanted,
) -> Result<(Vec<Version>, bool)> {
    let mut seen: Vec<Version> = Vec::new();
    // No path begins so.
    if !wanted.prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-/".contains(&byte)) {
        return Ok((seen, false));
    }
    let limit = wanted.limit.unwrap_or(usize::MAX);
    let chunk = limit.saturating_add(1).max(CHUNK);
    let mut after = wanted.after;
    loop {
        let part = Part {
            prefix: &wanted.prefix,
            after: after.as_ref(),
            deleted_after: wanted.deleted_after,
            limit: chunk,
        };
        let found = list::list(cx.store(), may, part).await?;
        let last = found.len() < chunk;
        after = found.last().map(|version| version.path.clone());
        for version in found.into_iter().filter(|version| readable.covers(&version.path)) {
            if seen.len() == limit {
                return Ok((seen, true));
            }
            seen.push(version);
        }
        if last {
            return Ok((seen, false));
        }
    }
}

/// # Errors
/// `Invalid`, naming `limit`.
pub(super) fn page_size(limit: Option<usize>) -> Result<Option<usize>> {
    match limit {
        Some(limit) if !PAGES.contains(&limit) => Err(Error::invalid("limit", "must be 1 to 1000")),
        limit => Ok(limit),
    }
}

fn cursor(text: &str) -> Result<SecretPath> {
    SecretPath::parse(text)
        .map_err(|_| Error::invalid("cursor", "must be the next_cursor of the page before"))
}
