//! Guardrails as people write them, and as the signer enforces them.

use alloy_primitives::Address;
use domain::{Error, Result, Wei};
use signer_protocol::record::Guardrails;

use super::approval::ApprovalPolicyEntry;
use super::tokens::{self, AllowedCallsEntry, TokenLimitEntry};
use crate::cx::Cx;
use crate::decode::Patch;

/// At registration over none, in a patch over what there is: null and an empty list mean no limit.
pub struct GuardrailPatches {
    pub allowed_chains: Patch<Vec<String>>,
    pub to_allowlist: Patch<Vec<String>>,
    pub max_value: Patch<String>,
    pub daily_limit: Patch<String>,
    pub max_fee: Patch<String>,
    pub daily_count: Patch<u32>,
    pub recipient_daily_limit: Patch<String>,
    pub daily_gas: Patch<String>,
    pub tokens: Patch<Vec<TokenLimitEntry>>,
    pub calls: Patch<Vec<AllowedCallsEntry>>,
    pub unlimited_approvals: Patch<bool>,
    pub approval: Patch<ApprovalPolicyEntry>,
    pub auto_bump: Patch<bool>,
    pub contract_creation: Patch<bool>,
}

impl GuardrailPatches {
    pub async fn apply(self, cx: &Cx, now: Guardrails) -> Result<Guardrails> {
        Ok(Guardrails {
            allowed_chains: match self.allowed_chains {
                Patch::Keep => now.allowed_chains,
                other => chain_ids(cx, &other.over(None).unwrap_or_default()).await?,
            },
            to_allowlist: match self.to_allowlist {
                Patch::Keep => now.to_allowlist,
                other => addresses(&other.over(None).unwrap_or_default())?,
            },
            max_value: limit("tx_max_value_eth", self.max_value, now.max_value)?,
            daily_limit: limit("tx_daily_limit_eth", self.daily_limit, now.daily_limit)?,
            max_fee: limit("tx_max_fee_eth", self.max_fee, now.max_fee)?,
            daily_count: self.daily_count.over(now.daily_count),
            recipient_daily_limit: limit(
                "tx_recipient_daily_limit_eth",
                self.recipient_daily_limit,
                now.recipient_daily_limit,
            )?,
            daily_gas: limit("tx_daily_gas_eth", self.daily_gas, now.daily_gas)?,
            tokens: match self.tokens {
                Patch::Keep => now.tokens,
                other => tokens::limits(cx, other.over(None).unwrap_or_default()).await?,
            },
            calls: match self.calls {
                Patch::Keep => now.calls,
                other => tokens::calls(cx, other.over(None).unwrap_or_default()).await?,
            },
            unlimited_approvals: self
                .unlimited_approvals
                .over(Some(now.unlimited_approvals))
                .unwrap_or_default(),
            approval: self.approval.try_map(ApprovalPolicyEntry::check)?.over(now.approval),
            auto_bump: self.auto_bump.over(Some(now.auto_bump)).unwrap_or_default(),
            contract_creation: self.contract_creation.over(Some(now.contract_creation)).unwrap_or_default(),
        })
    }
}

fn limit(field: &str, patch: Patch<String>, now: Option<Wei>) -> Result<Option<Wei>> {
    Ok(patch.try_map(|text| Wei::parse_ether(field, &text))?.over(now))
}

/// Entries of a list: what is longer is not even looked up. The signer has limits of its own.
const MAX_CHAINS: usize = 100;
const MAX_ADDRESSES: usize = 1000;

/// # Errors
/// `Invalid`, if there are more.
pub fn at_most<T>(field: &str, given: &[T], most: usize) -> Result<()> {
    if given.len() > most {
        return Err(Error::invalid(field, format!("must have at most {most} entries")));
    }
    Ok(())
}

async fn chain_ids(cx: &Cx, given: &[String]) -> Result<Vec<u64>> {
    at_most("tx_allowed_chains", given, MAX_CHAINS)?;
    let mut ids = Vec::new();
    for text in given {
        let id = chain_id(cx, "tx_allowed_chains", text).await?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

pub async fn chain_id(cx: &Cx, field: &str, text: &str) -> Result<u64> {
    let chain =
        cx.gateway.chains.find(cx.store(), text).await?.ok_or_else(|| {
            Error::invalid(field, "must be names or ids of chains that GET /v1/chains lists")
        })?;
    Ok(chain.chain_id)
}

fn addresses(given: &[String]) -> Result<Vec<Address>> {
    at_most("tx_to_allowlist", given, MAX_ADDRESSES)?;
    given.iter().map(|text| address("tx_to_allowlist", text)).collect()
}

/// A 20-byte address; in mixed case it must be its EIP-55 form.
pub fn address(field: &str, text: &str) -> Result<Address> {
    let bad = || Error::invalid(field, "must be a 20-byte address in hex with 0x in front");
    let digits = text.strip_prefix("0x").filter(|d| d.len() == 40).ok_or_else(bad)?;
    let address: Address = text.parse().map_err(|_| bad())?;
    let mixed =
        digits.bytes().any(|b| b.is_ascii_lowercase()) && digits.bytes().any(|b| b.is_ascii_uppercase());
    if mixed && address.to_checksum(None) != text {
        return Err(Error::invalid(field, "has a wrong checksum (EIP-55); check the address"));
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_mixed_case_are_checked() {
        for good in [
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed",
            "0x5AAEB6053F3E94C9B9A09F33669435E7EF1BEAED",
        ] {
            assert!(address("to", good).is_ok(), "{good}");
        }
        for bad in [
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD",
            "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeA",
            "0xzzAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            "",
        ] {
            assert!(address("to", bad).unwrap_err().detail().starts_with("to:"), "{bad}");
        }
    }
}
