//! Transactions: checked and attested at submission, signed once they may be.

use alloy_primitives::{Address, B256, Bytes, U256};
use domain::{AccessList, AgentId, IntentId, OrgId, SecretPath, Time, VaultId, Wei};
use serde::{Deserialize, Serialize};

use crate::approval::{Needed, Simulated};
use crate::attested::{Attested, Statement};
use crate::key::SigningKey;
use crate::record::Principal;
use crate::replace::Derived;
use crate::token::Caller;
use crate::wire::Blob;

/// What an agent asks to have signed. Fees are caps: the transaction that is signed may cost less, never more.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Transfer {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// `None`: it creates a contract, with `data` as the code that does so.
    pub to: Option<Address>,
    pub value: Wei,
    pub data: Bytes,
    pub gas_limit: u64,
    pub fees: Fees,
    /// The nonce whose transaction this one replaces; `None`: a fresh nonce.
    pub replaces: Option<u64>,
    /// With legacy fees, one that is not empty makes a transaction of type 1 (EIP-2930). Intents from before it
    /// was known have none.
    #[serde(default)]
    pub access_list: AccessList,
}

/// Wei a unit of gas.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Fees {
    Legacy {
        gas_price: u128,
    },
    /// EIP-1559: `max_priority_fee_per_gas` is at most `max_fee_per_gas`.
    Eip1559 {
        max_fee_per_gas: u128,
        max_priority_fee_per_gas: u128,
    },
}

impl Fees {
    /// The most that a unit of gas can cost.
    pub fn cap(&self) -> u128 {
        match *self {
            Self::Legacy { gas_price } => gas_price,
            Self::Eip1559 { max_fee_per_gas, .. } => max_fee_per_gas,
        }
    }

    /// Whether these may replace `old` at its nonce: both fees raised by an eighth, and by something. Nodes want a
    /// tenth, some more.
    pub fn raises(&self, old: &Self) -> bool {
        let parts = |fees: &Self| match *fees {
            Self::Legacy { gas_price } => [gas_price, gas_price],
            Self::Eip1559 { max_fee_per_gas, max_priority_fee_per_gas } => {
                [max_fee_per_gas, max_priority_fee_per_gas]
            }
        };
        parts(self)
            .into_iter()
            .zip(parts(old))
            .all(|(new, old)| new > old && U256::from(new) * U256::from(8) >= U256::from(old) * U256::from(9))
    }
}

/// Submits a transfer: the signer checks the token and every guardrail, and holds its value against the daily
/// limit until it is signed, released or expired.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Submit {
    pub by: Caller,
    pub id: IntentId,
    pub key: Attested<SigningKey>,
    /// Where the agent may use a key: the key must be the one of that place, so that swapped rows are refused.
    pub at: KeyAt,
    pub transfer: Transfer,
    /// How its simulation ended, on the gateway's word.
    pub simulated: Simulated,
}

/// The place of a signing key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeyAt {
    pub vault: VaultId,
    pub path: SecretPath,
    pub version: u64,
}

/// A transfer that the signer has accepted. From here on it stands in for the token.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Intent {
    pub id: IntentId,
    pub agent: AgentId,
    pub org: OrgId,
    /// The agent's epoch at submission.
    pub epoch: u64,
    pub vault: VaultId,
    pub key_path: SecretPath,
    pub from: Address,
    pub transfer: Transfer,
    /// The signer does not sign it later than that.
    pub expires_at: Time,
    /// `None`: it is signed without people.
    #[serde(default)]
    pub approval: Option<Needed>,
    /// From which other intent it was made; `None`: its agent submitted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub derived: Option<Derived>,
}

impl Statement for Intent {
    const DOMAIN: &'static str = "talon/intent/1";
}

/// Signs an accepted transfer with a nonce. Asked again with the same intent and nonce, the answer is the same
/// transaction, byte for byte.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sign {
    pub intent: Attested<Intent>,
    /// The agent's record now: it must be active, and its guardrails must still allow the transfer.
    pub agent: Attested<Principal>,
    pub key: Attested<SigningKey>,
    pub nonce: u64,
    /// Within the intent's caps, of the same kind.
    pub fees: Fees,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SignedTransaction {
    /// As it goes to a node (EIP-2718).
    pub raw: Blob,
    pub hash: B256,
    pub from: Address,
}

/// Gives up an accepted transfer that was not signed: its value no longer counts, and it can't be signed any more.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Release {
    pub intent: Attested<Intent>,
}

#[cfg(test)]
mod tests {
    use super::{Address, Fees, Transfer};

    /// An intent that was accepted before access lists were known is signed after an upgrade.
    #[test]
    fn a_transfer_from_before_access_lists_has_none() {
        let text = r#"{"chain_id":1,"to":"0x1111111111111111111111111111111111111111","value":"1","data":"0x",
            "gas_limit":21000,"fees":{"Legacy":{"gas_price":1}},"replaces":null}"#;
        assert!(serde_json::from_str::<Transfer>(text).unwrap().access_list.is_empty());
    }

    /// So is one from before contracts were created: whom it is to is written as it was.
    #[test]
    fn an_address_is_written_as_it_was_before_there_could_be_none() {
        let text = r#"{"chain_id":1,"to":"0x1111111111111111111111111111111111111111","value":"1","data":"0x","gas_limit":21000,"fees":{"Legacy":{"gas_price":1}},"replaces":null,"access_list":[]}"#;
        let old = serde_json::from_str::<Transfer>(text).unwrap();
        assert_eq!(old.to, Some(Address::repeat_byte(0x11)));
        assert_eq!(serde_json::to_string(&old).unwrap(), text);
        let creation = Transfer { to: None, ..old };
        let written = serde_json::to_string(&creation).unwrap();
        assert!(written.contains(r#""to":null"#), "{written}");
        assert_eq!(serde_json::from_str::<Transfer>(&written).unwrap(), creation);
    }

    #[test]
    fn replacements_raise_both_fees_by_an_eighth() {
        let fees = |max, tip| Fees::Eip1559 { max_fee_per_gas: max, max_priority_fee_per_gas: tip };
        let old = fees(800, 80);
        assert!(fees(900, 90).raises(&old));
        assert!(!fees(899, 90).raises(&old));
        assert!(!fees(900, 89).raises(&old));
        assert!(!fees(0, 0).raises(&fees(0, 0)));
        assert!(Fees::Legacy { gas_price: 900 }.raises(&old));
        assert!(!fees(u128::MAX, u128::MAX).raises(&fees(u128::MAX, u128::MAX)));
    }
}
