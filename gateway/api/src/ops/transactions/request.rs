//! What an agent asks to have signed, read and checked.

use alloy_primitives::{Address, Bytes};
use domain::{Error, Result, SecretPath, Wei};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use store::chains::Chain;

use crate::cx::Cx;
use crate::decode::NothingElse;
use crate::ops::agents::address;

/// Of calldata, in bytes: what nodes take in one transaction (go-ethereum's pool).
const MAX_DATA: usize = 128 * 1024;

#[derive(Deserialize, JsonSchema)]
pub struct SubmitTransactionRequest {
    /// 20-byte address; in mixed case with its EIP-55 checksum.
    #[serde(default)]
    to: Option<String>,
    /// Decimal ether, such as "0.5".
    value: String,
    /// A chain's name or id.
    chain: ChainName,
    /// Calldata in hex.
    #[serde(default)]
    data: Option<String>,
    /// keys/{chain}-signer when left out.
    #[serde(default)]
    signing_key_path: Option<String>,
    #[serde(default)]
    nonce: Option<u64>,
    /// Wei, for a legacy transaction.
    #[serde(default)]
    gas_price: Option<Amount>,
    #[serde(default)]
    gas_limit: Option<u64>,
    #[serde(default)]
    max_fee_per_gas: Option<Amount>,
    #[serde(default)]
    max_priority_fee_per_gas: Option<Amount>,
    #[serde(default)]
    simulate_first: Option<bool>,
    #[serde(flatten)]
    _nothing_else: NothingElse,
}

/// A name, or a chain id as a number or as text.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum ChainName {
    Name(String),
    Id(u64),
}

/// Wei as decimal text; a number is taken too.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum Amount {
    Text(String),
    Number(u64),
}

/// Fees as far as the agent says.
#[derive(Clone, Copy, Serialize)]
pub enum WantedFees {
    Legacy { gas_price: u128 },
    Eip1559 { max_fee_per_gas: Option<u128>, max_priority_fee_per_gas: Option<u128> },
    Any,
}

/// A checked request.
pub struct Wanted {
    pub chain: Chain,
    pub to: Address,
    pub value: Wei,
    pub data: Bytes,
    pub key_path: SecretPath,
    pub nonce: Option<u64>,
    pub gas_limit: Option<u64>,
    pub fees: WantedFees,
    pub simulate_first: bool,
    /// SHA-256 over the request in a canonical form: the same for the same request, however it is written.
    pub digest: [u8; 32],
}

impl SubmitTransactionRequest {
    pub async fn check(self, cx: &Cx) -> Result<Wanted> {
        let name = match self.chain {
            ChainName::Name(name) => name,
            ChainName::Id(id) => id.to_string(),
        };
        let chain = cx.gateway.chains.find(cx.store(), &name).await?.filter(|c| c.is_enabled);
        let chain = chain.ok_or_else(unknown_chain)?;
        let to = self.to.filter(|to| !to.is_empty()).ok_or_else(|| {
            Error::invalid("to", "must be a 20-byte address; creating contracts is not allowed")
        })?;
        let to = address("to", &to)?;
        let value = Wei::parse_ether("value", &self.value)?;
        let data = calldata(self.data.as_deref())?;
        let path = self.signing_key_path.unwrap_or_else(|| format!("keys/{}-signer", chain.name));
        let key_path =
            SecretPath::parse(&path).map_err(|e| Error::invalid("signing_key_path", e.detail()))?;
        if self.gas_limit.is_some_and(|gas| gas < 21_000) {
            return Err(Error::invalid("gas_limit", "must be at least 21000"));
        }
        let fees = fees(self.gas_price, self.max_fee_per_gas, self.max_priority_fee_per_gas)?;
        let simulate_first = self.simulate_first.unwrap_or(false);
        let canonical = serde_json::json!([
            chain.chain_id,
            to,
            value,
            data,
            key_path,
            self.nonce,
            self.gas_limit,
            fees,
            simulate_first
        ]);
        let digest = Sha256::digest(canonical.to_string().as_bytes()).into();
        let (nonce, gas_limit) = (self.nonce, self.gas_limit);
        Ok(Wanted { chain, to, value, data, key_path, nonce, gas_limit, fees, simulate_first, digest })
    }
}

/// A chain that is not known, or was disabled.
pub fn unknown_chain() -> Error {
    Error::invalid(
        "chain",
        "must be the name or id of a chain that GET /v1/chains lists; an operator may have disabled it",
    )
}

fn calldata(text: Option<&str>) -> Result<Bytes> {
    let text = text.unwrap_or_default();
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let data = hex::decode(digits).map_err(|_| Error::invalid("data", "must be hex with 0x in front"))?;
    if data.len() > MAX_DATA {
        return Err(Error::invalid("data", "must have at most 128 KiB"));
    }
    Ok(data.into())
}

fn fees(gas_price: Option<Amount>, max_fee: Option<Amount>, priority: Option<Amount>) -> Result<WantedFees> {
    let gas_price = wei("gas_price", gas_price)?;
    let max_fee_per_gas = wei("max_fee_per_gas", max_fee)?;
    let max_priority_fee_per_gas = wei("max_priority_fee_per_gas", priority)?;
    match (gas_price, max_fee_per_gas, max_priority_fee_per_gas) {
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) => Err(Error::invalid(
            "gas_price",
            "must be left out when max_fee_per_gas or max_priority_fee_per_gas is given",
        )),
        (Some(gas_price), None, None) => Ok(WantedFees::Legacy { gas_price }),
        (None, None, None) => Ok(WantedFees::Any),
        (None, Some(fee), Some(tip)) if tip > fee => {
            Err(Error::invalid("max_priority_fee_per_gas", "must be at most max_fee_per_gas"))
        }
        _ => Ok(WantedFees::Eip1559 { max_fee_per_gas, max_priority_fee_per_gas }),
    }
}

fn wei(field: &str, amount: Option<Amount>) -> Result<Option<u128>> {
    let text = match amount {
        None => return Ok(None),
        Some(Amount::Number(number)) => number.to_string(),
        Some(Amount::Text(text)) => text,
    };
    let wei = Wei::parse_wei(field, &text)?;
    u128::try_from(wei.0).map(Some).map_err(|_| Error::invalid(field, "is too large"))
}
