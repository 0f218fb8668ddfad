//! A transaction in words, made from what the signer signs and from nothing else.

use alloy_primitives::{Address, U256, keccak256};
use domain::Wei;
use signer_protocol::approval::{Cause, Needed};
use signer_protocol::intent::{Intent, Transfer};

use domain::approval::Risk;

/// `Pay 0.5 ETH to 0x… on base, with fees of at most 0.001 ETH.` Of a new contract: `Deploy a contract with 0 ETH: 900 bytes
/// of code with the Keccak-256 0x…; on base, …` `chain` and `currency` are the registry's names.
pub fn summary(intent: &Intent, chain: &str, currency: &str) -> String {
    let Transfer { to, value, data, replaces, .. } = &intent.transfer;
    let value = value.to_ether();
    let mut text = match (to, call(data)) {
        (None, _) => format!("Deploy a contract with {value} {currency}: {};", code(data)),
        (Some(to), None) => format!("Pay {value} {currency} to {to}"),
        (Some(to), Some(call)) => format!("Call {to} with {value} {currency}: {call};"),
    };
    text.push_str(&format!(" on {chain}, with fees of at most {} {currency}", most_fees(intent).to_ether()));
    if let Some(nonce) = replaces {
        text.push_str(&format!(", in place of the transaction with the nonce {nonce}"));
    }
    text.push('.');
    text
}

/// What it costs at most, beside its value.
pub fn most_fees(intent: &Intent) -> Wei {
    let transfer = &intent.transfer;
    Wei(U256::from(transfer.gas_limit).saturating_mul(U256::from(transfer.fees.cap())))
}

/// Where something is new or fails, more may be wrong than the amount.
pub fn risk(needed: &Needed) -> Risk {
    let is = |cause: &Cause| needed.causes.contains(cause);
    if is(&Cause::NewRecipient) || is(&Cause::Simulation) {
        Risk::High
    } else if is(&Cause::Above) || is(&Cause::ContractCall) {
        Risk::Medium
    } else {
        Risk::Low
    }
}

pub fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Always => "always",
        Cause::Above => "above_eth",
        Cause::NewRecipient => "new_recipient",
        Cause::ContractCall => "contract_call",
        Cause::Simulation => "simulation",
    }
}

/// What its bytes say: those of a call, or a new contract's code. `None`: there are none.
pub fn does(transfer: &Transfer) -> Option<String> {
    match transfer.to {
        Some(_) => call(&transfer.data),
        None => Some(code(&transfer.data)),
    }
}

/// Which code creates a contract: whoever builds the same source finds the same hash.
fn code(data: &[u8]) -> String {
    format!("{} bytes of code with the Keccak-256 {}", data.len(), keccak256(data))
}

/// What calldata says, of the commonest calls of tokens; of others, which function it is. `None`: there is none.
pub fn call(data: &[u8]) -> Option<String> {
    if data.is_empty() {
        return None;
    }
    Some(known(data).unwrap_or_else(|| match data.first_chunk::<4>() {
        Some(selector) => {
            format!("function 0x{} with {} bytes of arguments", hex::encode(selector), data.len() - 4)
        }
        None => format!("{} bytes that name no function", data.len()),
    }))
}

/// In the one canonical encoding; anything else is not put into words.
fn known(data: &[u8]) -> Option<String> {
    let (selector, arguments) = data.split_first_chunk::<4>()?;
    let (words, rest) = arguments.as_chunks::<32>();
    if !rest.is_empty() {
        return None;
    }
    Some(match (selector, words) {
        ([0xa9, 0x05, 0x9c, 0xbb], [to, amount]) => {
            format!("transfer of {} units to {}", number(amount), address(to)?)
        }
        ([0x23, 0xb8, 0x72, 0xdd], [from, to, amount]) => {
            format!("transfer of {} units from {} to {}", number(amount), address(from)?, address(to)?)
        }
        ([0x09, 0x5e, 0xa7, 0xb3], [spender, amount]) if number(amount) == U256::MAX => {
            format!("leave for {} to take any number of units", address(spender)?)
        }
        ([0x09, 0x5e, 0xa7, 0xb3], [spender, amount]) => {
            format!("leave for {} to take {} units", address(spender)?, number(amount))
        }
        ([0xa2, 0x2c, 0xb4, 0x65], [operator, on]) if number(on) == U256::ONE => {
            format!("leave for {} to take every item", address(operator)?)
        }
        _ => return None,
    })
}

fn number(word: &[u8; 32]) -> U256 {
    U256::from_be_bytes(*word)
}

fn address(word: &[u8; 32]) -> Option<Address> {
    let (padding, address) = word.split_at(12);
    padding.iter().all(|byte| *byte == 0).then(|| Address::from_slice(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TO: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";

    fn data(selector: &str, words: &[U256]) -> Vec<u8> {
        let words = words.iter().flat_map(U256::to_be_bytes::<32>);
        hex::decode(selector).unwrap().into_iter().chain(words).collect()
    }

    #[test]
    fn the_commonest_calls_are_put_into_words() {
        let to = U256::from_str_radix(&TO[2..], 16).unwrap();
        let of = |selector: &str, words: &[U256]| call(&data(selector, words)).unwrap();
        assert_eq!(of("a9059cbb", &[to, U256::from(7)]), format!("transfer of 7 units to {TO}"));
        assert_eq!(
            of("23b872dd", &[to, to, U256::from(7)]),
            format!("transfer of 7 units from {TO} to {TO}")
        );
        assert_eq!(of("095ea7b3", &[to, U256::from(7)]), format!("leave for {TO} to take 7 units"));
        assert!(of("095ea7b3", &[to, U256::MAX]).contains("any number"));
        assert!(of("a22cb465", &[to, U256::ONE]).contains("every item"));
        assert_eq!(call(&[]), None);
    }

    #[test]
    fn a_new_contracts_code_is_told_by_its_length_and_hash() {
        // The Keccak-256 of nothing; what looks like a transfer is code all the same.
        assert!(code(&[]).starts_with("0 bytes of code with the Keccak-256 0xc5d24601"));
        let looks = data("a9059cbb", &[U256::ONE, U256::ONE]);
        assert!(code(&looks).starts_with("68 bytes of code with the Keccak-256 0x"));
    }

    #[test]
    fn what_is_not_canonical_is_not_put_into_words() {
        let to = U256::from_str_radix(&TO[2..], 16).unwrap();
        let dirty = to | (U256::ONE << 200);
        for odd in [
            data("a9059cbb", &[dirty, U256::ONE]),
            data("a9059cbb", &[to, U256::ONE, U256::ONE]),
            data("a9059cbb", &[to]),
            data("12345678", &[to, U256::ONE]),
            [data("a9059cbb", &[to, U256::ONE]), vec![0]].concat(),
        ] {
            assert!(call(&odd).unwrap().starts_with("function 0x"), "{}", hex::encode(odd));
        }
        assert_eq!(call(&[1, 2]).unwrap(), "2 bytes that name no function");
    }
}
