//! What an agent asks to have signed, read and checked.

use alloy_primitives::{Address, B256, Bytes};
use domain::gas::MAX_INIT_CODE;
use domain::{AccessList, Accessed, Error, Result, SecretPath, Wei};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use store::chains::Chain;

use super::kinds::KindFields;
use crate::cx::Cx;
use crate::decode::NothingElse;
use crate::ops::agents::address;

/// Of calldata, in bytes: what nodes take in one transaction (go-ethereum's pool).
const MAX_DATA: usize = 128 * 1024;

#[derive(Deserialize, JsonSchema)]
pub struct SubmitTransactionRequest {
    /// 20-byte address; in mixed case with its EIP-55 checksum. Left out by an agent that may create contracts: data is the
    /// new contract's code then, with what its constructor takes.
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
    /// Accounts and storage slots that the transaction will touch (EIP-2930): at most 256 addresses and storage keys
    /// together. With gas_price it makes a transaction of type 1; with EIP-1559 fees, one of type 2 carries it.
    #[serde(default)]
    access_list: Option<Vec<AccessListEntry>>,
    #[serde(default)]
    simulate_first: Option<bool>,
    #[serde(flatten)]
    kind: KindFields,
    #[serde(flatten)]
    _nothing_else: NothingElse,
}

/// A transaction to try.
#[derive(Deserialize, JsonSchema)]
pub struct SimulateTransactionRequest {
    /// 20-byte address; in mixed case with its EIP-55 checksum. Left out: data is the code of a contract that is created.
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
    /// As much as it takes when left out.
    #[serde(default)]
    gas_limit: Option<u64>,
    #[serde(flatten)]
    nothing_else: NothingElse,
}

/// Read and checked as if it were submitted.
impl From<SimulateTransactionRequest> for SubmitTransactionRequest {
    fn from(request: SimulateTransactionRequest) -> Self {
        let SimulateTransactionRequest { to, value, chain, data, signing_key_path, gas_limit, nothing_else } =
            request;
        Self {
            to,
            value,
            chain,
            data,
            signing_key_path,
            nonce: None,
            gas_price: None,
            gas_limit,
            max_fee_per_gas: None,
            max_priority_fee_per_gas: None,
            access_list: None,
            simulate_first: None,
            kind: KindFields::default(),
            _nothing_else: nothing_else,
        }
    }
}

/// An account that a transaction will touch, as eth_sendTransaction has it.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccessListEntry {
    /// 20-byte address; in mixed case with its EIP-55 checksum.
    address: String,
    /// 32 bytes each, in hex with 0x in front.
    #[serde(rename = "storageKeys")]
    storage_keys: Vec<String>,
}

impl AccessListEntry {
    pub fn of(list: &AccessList) -> Vec<Self> {
        let entry = |account: &Accessed| Self {
            address: account.address.to_checksum(None),
            storage_keys: account.storage_keys.iter().map(B256::to_string).collect(),
        };
        list.accounts().iter().map(entry).collect()
    }
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
pub enum Amount {
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
    /// Enabled or not: a request that came before it was disabled is still found by its key.
    pub chain: Chain,
    /// `None`: it creates a contract.
    pub to: Option<Address>,
    pub value: Wei,
    pub data: Bytes,
    pub key_path: SecretPath,
    pub nonce: Option<u64>,
    pub gas_limit: Option<u64>,
    pub fees: WantedFees,
    pub access_list: AccessList,
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
        let chain = cx.gateway.chains.find(cx.store(), &name).await?.ok_or_else(unknown_chain)?;
        let to = self.to.map(|to| address("to", &to)).transpose()?;
        let value = Wei::parse_ether("value", &self.value)?;
        let data = calldata(self.data.as_deref())?;
        if to.is_none() {
            init_code(&data)?;
        }
        let path = self.signing_key_path.unwrap_or_else(|| format!("keys/{}-signer", chain.name));
        let key_path =
            SecretPath::parse(&path).map_err(|e| Error::invalid("signing_key_path", e.detail()))?;
        let access_list = access_list(self.access_list.unwrap_or_default())?;
        let least = domain::gas::least(to, &data, &access_list);
        if self.gas_limit.is_some_and(|gas| gas < least) {
            return Err(Error::invalid("gas_limit", format!("must be at least {least}")));
        }
        let fees = fees(self.gas_price, self.max_fee_per_gas, self.max_priority_fee_per_gas)?;
        let fees = self.kind.check(fees, !access_list.is_empty())?;
        let simulate_first = self.simulate_first.unwrap_or(false);
        let mut canonical = serde_json::json!([
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
        // Without a list the digest is what it was before there were any.
        if let Some(parts) = canonical.as_array_mut().filter(|_| !access_list.is_empty()) {
            parts.push(serde_json::json!(access_list));
        }
        let digest = Sha256::digest(canonical.to_string().as_bytes()).into();
        let (nonce, gas_limit) = (self.nonce, self.gas_limit);
        Ok(Wanted {
            chain,
            to,
            value,
            data,
            key_path,
            nonce,
            gas_limit,
            fees,
            access_list,
            simulate_first,
            digest,
        })
    }
}

/// A chain that is not known, or was disabled.
pub fn unknown_chain() -> Error {
    Error::invalid(
        "chain",
        "must be the name or id of a chain that GET /v1/chains lists; an operator may have disabled it",
    )
}

fn access_list(entries: Vec<AccessListEntry>) -> Result<AccessList> {
    let account = |(at, entry): (usize, AccessListEntry)| {
        let key = |(n, text): (usize, &String)| {
            let field = || format!("access_list[{at}].storageKeys[{n}]");
            let bad = || Error::invalid(&field(), "must be 32 bytes in hex with 0x in front");
            let digits = text.strip_prefix("0x").filter(|digits| digits.len() == 64);
            digits.and_then(|digits| digits.parse().ok()).ok_or_else(bad)
        };
        Ok(Accessed {
            address: address(&format!("access_list[{at}].address"), &entry.address)?,
            storage_keys: entry.storage_keys.iter().enumerate().map(key).collect::<Result<_>>()?,
        })
    };
    AccessList::new(entries.into_iter().enumerate().map(account).collect::<Result<_>>()?)
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

/// What creates a contract.
fn init_code(data: &[u8]) -> Result<()> {
    if data.is_empty() {
        let rule = "must be a 20-byte address; to create a contract, send its code as data";
        return Err(Error::invalid("to", rule));
    }
    if data.len() > MAX_INIT_CODE {
        let rule = format!("must have at most {MAX_INIT_CODE} bytes where it creates a contract (EIP-3860)");
        return Err(Error::invalid("data", rule));
    }
    Ok(())
}

pub fn fees(
    gas_price: Option<Amount>,
    max_fee: Option<Amount>,
    priority: Option<Amount>,
) -> Result<WantedFees> {
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
    // More than 18 ether a unit of gas: JSON numbers, which the digest of a request is made of, end there.
    let most = u64::try_from(wei.0)
        .map_err(|_| Error::invalid(field, format!("must be at most {} wei", u64::MAX)))?;
    Ok(Some(most.into()))
}
