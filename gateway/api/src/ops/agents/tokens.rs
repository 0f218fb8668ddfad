//! Limits of tokens and allowed calls, as people write them and read them back.

use alloy_primitives::{Selector, U256};
use domain::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use signer_protocol::record::{AllowedCalls, TokenLimit, TokenStandard};

use super::guardrails::{address, at_most, chain_id};
use crate::cx::Cx;

/// A token that may move. Amounts are decimal integers of its smallest units, below 2^192; of an ERC-721, of items.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenLimitEntry {
    /// A chain's name or id.
    chain: String,
    /// The token's contract.
    token: String,
    /// erc20 when left out. What the token is must be said: the same call moves an amount of one and an item of another.
    #[serde(default)]
    standard: Standard,
    /// The most in one transaction, approvals included; no limit when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max: Option<String>,
    /// The most in any 24 hours, approvals included; no limit when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    daily: Option<String>,
}

#[derive(Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Standard {
    #[default]
    Erc20,
    Erc721,
    Erc1155,
}

/// Functions of a contract that may be called though they can't be decoded.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AllowedCallsEntry {
    /// A chain's name or id.
    chain: String,
    contract: String,
    /// The first four bytes of the calldata each, in hex with 0x in front.
    selectors: Vec<String>,
}

impl TokenLimitEntry {
    pub fn of(limit: &TokenLimit, name: impl Fn(&u64) -> String) -> Self {
        let units = |amount: Option<U256>| amount.map(|amount| amount.to_string());
        Self {
            chain: name(&limit.chain_id),
            token: limit.token.to_checksum(None),
            standard: match limit.standard {
                TokenStandard::Erc20 => Standard::Erc20,
                TokenStandard::Erc721 => Standard::Erc721,
                TokenStandard::Erc1155 => Standard::Erc1155,
            },
            max: units(limit.max),
            daily: units(limit.daily),
        }
    }
}

impl AllowedCallsEntry {
    pub fn of(allowed: &AllowedCalls, name: impl Fn(&u64) -> String) -> Self {
        Self {
            chain: name(&allowed.chain_id),
            contract: allowed.contract.to_checksum(None),
            selectors: allowed.selectors.iter().map(Selector::to_string).collect(),
        }
    }
}

/// Entries of a list; the signer has the same limits.
const MAX_TOKENS: usize = 100;
const MAX_CONTRACTS: usize = 100;
const MAX_SELECTORS: usize = 500;

pub async fn limits(cx: &Cx, given: Vec<TokenLimitEntry>) -> Result<Vec<TokenLimit>> {
    at_most("tx_tokens", &given, MAX_TOKENS)?;
    let mut limits = Vec::new();
    for (at, entry) in given.into_iter().enumerate() {
        let field = |name: &str| format!("tx_tokens[{at}].{name}");
        limits.push(TokenLimit {
            chain_id: chain_id(cx, &field("chain"), &entry.chain).await?,
            token: address(&field("token"), &entry.token)?,
            standard: match entry.standard {
                Standard::Erc20 => TokenStandard::Erc20,
                Standard::Erc721 => TokenStandard::Erc721,
                Standard::Erc1155 => TokenStandard::Erc1155,
            },
            max: entry.max.map(|text| units(&field("max"), &text)).transpose()?,
            daily: entry.daily.map(|text| units(&field("daily"), &text)).transpose()?,
        });
    }
    Ok(limits)
}

pub async fn calls(cx: &Cx, given: Vec<AllowedCallsEntry>) -> Result<Vec<AllowedCalls>> {
    at_most("tx_calls_allowlist", &given, MAX_CONTRACTS)?;
    let mut calls = Vec::new();
    for (at, entry) in given.into_iter().enumerate() {
        let field = |name: &str| format!("tx_calls_allowlist[{at}].{name}");
        at_most(&field("selectors"), &entry.selectors, MAX_SELECTORS)?;
        calls.push(AllowedCalls {
            chain_id: chain_id(cx, &field("chain"), &entry.chain).await?,
            contract: address(&field("contract"), &entry.contract)?,
            selectors: entry
                .selectors
                .iter()
                .map(|text| selector(&field("selectors"), text))
                .collect::<Result<_>>()?,
        });
    }
    Ok(calls)
}

fn selector(field: &str, text: &str) -> Result<Selector> {
    let bad = || Error::invalid(field, "must be four bytes each, in hex with 0x in front");
    let digits = text.strip_prefix("0x").filter(|digits| digits.len() == 8).ok_or_else(bad)?;
    digits.parse().map_err(|_| bad())
}

fn units(field: &str, text: &str) -> Result<U256> {
    let bad = || Error::invalid(field, "must be a decimal integer of the token's smallest units");
    if text.is_empty() || text.len() > 78 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    U256::from_str_radix(text, 10).map_err(|_| bad())
}
