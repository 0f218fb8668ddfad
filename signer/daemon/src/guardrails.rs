//! What an agent's transactions may be. Pure: the limits, the transfer, what was spent.

use alloy_primitives::U256;
use domain::{AccessList, Wei};
use signer_protocol::intent::{Fees, Transfer};
use signer_protocol::record::Guardrails;

use crate::refuse::{Result, guardrail, invalid};

/// Bytes of calldata, at most: what nodes take in a transaction's pool (128 KiB) with room for the rest.
const MAX_DATA: usize = 120 * 1024;

/// Bytes of an access list's entry: a storage key with its length, or an address with those of its account.
const ENTRY: usize = 33;

/// EIP-2294: `v` of a legacy signature is twice the chain id and 35 or 36.
const MAX_CHAIN_ID: u64 = u64::MAX / 2 - 36;

/// More than any chain's supply, and small enough that sums of it don't overflow.
const MAX_VALUE: U256 = U256::from_limbs([0, 0, 1, 0]);

/// Whether the transfer makes sense at all.
pub fn well_formed(transfer: &Transfer) -> Result<()> {
    if !(1..=MAX_CHAIN_ID).contains(&transfer.chain_id) {
        return Err(invalid(format!("chain_id: must be from 1 to {MAX_CHAIN_ID} (EIP-2294).")));
    }
    if transfer.value.0 >= MAX_VALUE {
        return Err(invalid("value: is more than any chain's supply."));
    }
    // A node would refuse it, and its nonce would stay taken.
    let least = domain::gas::least(&transfer.data, &transfer.access_list);
    if transfer.gas_limit < least {
        return Err(invalid(format!("gas_limit: this transaction takes no less than {least}.")));
    }
    if transfer.data.len() > MAX_DATA {
        return Err(invalid(format!("data: must have at most {MAX_DATA} bytes.")));
    }
    let entries = transfer.access_list.entries();
    if entries > AccessList::MAX_ENTRIES {
        let most = AccessList::MAX_ENTRIES;
        return Err(invalid(format!("access_list: must have at most {most} addresses and storage keys.")));
    }
    if transfer.data.len() + entries * ENTRY > MAX_DATA {
        return Err(invalid(format!("access_list: must have at most {MAX_DATA} bytes together with data.")));
    }
    well_formed_fees(&transfer.fees)
}

pub fn well_formed_fees(fees: &Fees) -> Result<()> {
    match *fees {
        Fees::Eip1559 { max_fee_per_gas, max_priority_fee_per_gas }
            if max_priority_fee_per_gas > max_fee_per_gas =>
        {
            Err(invalid("max_priority_fee_per_gas: must be at most max_fee_per_gas (EIP-1559)."))
        }
        _ => Ok(()),
    }
}

/// Every limit that looks at the one transaction alone. `signer_max_fee` counts where the agent has no `max_fee`.
pub fn check(limits: &Guardrails, transfer: &Transfer, signer_max_fee: Wei) -> Result<()> {
    let chains = &limits.allowed_chains;
    if !chains.is_empty() && !chains.contains(&transfer.chain_id) {
        let allowed = chains.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        return Err(guardrail(
            "tx_allowed_chains",
            format!("chain {} was asked for; allowed: {allowed}.", transfer.chain_id),
        ));
    }
    let listed = limits.to_allowlist.contains(&transfer.to);
    if !limits.to_allowlist.is_empty() && !listed {
        return Err(guardrail(
            "tx_to_allowlist",
            format!("{} is not among the allowed recipients.", transfer.to),
        ));
    }
    // A call can move what the native value does not show; until calldata is decoded, only a recipient that a
    // person has named is trusted with it.
    let limited = limits.max_value.is_some() || limits.daily_limit.is_some();
    if !transfer.data.is_empty() && limited && !listed {
        return Err(guardrail(
            "tx_to_allowlist",
            format!(
                "calldata to {} is refused while a value limit is set, unless it is listed.",
                transfer.to
            ),
        ));
    }
    if let Some(most) = limits.max_value
        && transfer.value > most
    {
        return Err(guardrail(
            "tx_max_value_eth",
            format!("{} ether asked, at most {} a transaction.", transfer.value.to_ether(), most.to_ether()),
        ));
    }
    check_fee(limits, transfer, signer_max_fee)
}

fn check_fee(limits: &Guardrails, transfer: &Transfer, signer_max_fee: Wei) -> Result<()> {
    let most = limits.max_fee.unwrap_or(signer_max_fee);
    // 64 and 128 bits: the product fits.
    let fee = Wei(U256::from(transfer.gas_limit) * U256::from(transfer.fees.cap()));
    if fee <= most {
        return Ok(());
    }
    let whose = if limits.max_fee.is_some() { "" } else { " (the signer's own cap)" };
    Err(guardrail(
        "tx_max_fee_eth",
        format!(
            "fees of up to {} ether asked, at most {} a transaction{whose}.",
            fee.to_ether(),
            most.to_ether()
        ),
    ))
}

/// The rolling limit: `spent` is what counts already, `asked` what would be added.
pub fn check_daily(limit: Option<Wei>, asked: Wei, spent: Wei) -> Result<()> {
    let Some(limit) = limit else { return Ok(()) };
    let fits = asked.0.checked_add(spent.0).is_some_and(|total| total <= limit.0);
    // Nothing asked adds nothing, even where the limit was lowered below what is spent.
    if fits || asked == Wei::ZERO {
        return Ok(());
    }
    Err(guardrail(
        "tx_daily_limit_eth",
        format!(
            "{} ether asked, {} left of {} in 24 hours.",
            asked.to_ether(),
            limit.saturating_sub(spent).to_ether(),
            limit.to_ether()
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{Address, Bytes};
    use signer_protocol::Reason;

    const LISTED: Address = Address::repeat_byte(1);
    const OTHER: Address = Address::repeat_byte(2);
    const GWEI: u128 = 1_000_000_000;

    fn ether(text: &str) -> Wei {
        Wei::parse_ether("value", text).unwrap()
    }

    fn transfer() -> Transfer {
        Transfer {
            chain_id: 1,
            to: LISTED,
            value: ether("1"),
            data: Bytes::new(),
            gas_limit: 21_000,
            fees: Fees::Eip1559 { max_fee_per_gas: 30 * GWEI, max_priority_fee_per_gas: GWEI },
            replaces: None,
            access_list: AccessList::default(),
        }
    }

    /// One account, with so many keys.
    fn listed(keys: usize) -> AccessList {
        let key = "0x0000000000000000000000000000000000000000000000000000000000000001";
        serde_json::from_value(serde_json::json!([{"address": LISTED, "storageKeys": vec![key; keys]}]))
            .unwrap()
    }

    fn refused(limits: &Guardrails, transfer: &Transfer) -> Option<(String, String)> {
        match check(limits, transfer, ether("1")) {
            Ok(()) => None,
            Err(refusal) => match refusal.reason {
                Reason::Guardrail(name) => Some((name, refusal.detail)),
                other => panic!("{other:?}"),
            },
        }
    }

    #[test]
    fn each_limit_refuses_by_name_and_amount() {
        let open = Guardrails::default();
        assert_eq!(refused(&open, &transfer()), None);

        let chains = Guardrails { allowed_chains: vec![10, 8453], ..open.clone() };
        let (name, detail) = refused(&chains, &transfer()).unwrap();
        assert_eq!(name, "tx_allowed_chains");
        assert!(detail.contains("chain 1 ") && detail.contains("10, 8453"), "{detail}");
        assert_eq!(refused(&chains, &Transfer { chain_id: 10, ..transfer() }), None);

        let listed = Guardrails { to_allowlist: vec![LISTED], ..open.clone() };
        assert_eq!(refused(&listed, &transfer()), None);
        assert_eq!(refused(&listed, &Transfer { to: OTHER, ..transfer() }).unwrap().0, "tx_to_allowlist");

        let most = Guardrails { max_value: Some(ether("0.999999999999999999")), ..open.clone() };
        let (name, detail) = refused(&most, &transfer()).unwrap();
        assert_eq!(name, "tx_max_value_eth");
        assert!(detail.contains("1 ether asked") && detail.contains("0.999999999999999999"), "{detail}");
        assert_eq!(refused(&Guardrails { max_value: Some(ether("1")), ..open.clone() }, &transfer()), None);

        let fee = Guardrails { max_fee: Some(ether("0.0006")), ..open.clone() };
        let (name, detail) = refused(&fee, &transfer()).unwrap();
        assert_eq!(name, "tx_max_fee_eth");
        assert!(detail.contains("0.00063 ether") && detail.contains("0.0006 "), "{detail}");
        assert_eq!(refused(&Guardrails { max_fee: Some(ether("0.00063")), ..open }, &transfer()), None);
    }

    #[test]
    fn fees_have_the_signers_cap_where_the_agent_has_none() {
        let dear =
            Transfer { fees: Fees::Legacy { gas_price: u128::MAX }, gas_limit: u64::MAX, ..transfer() };
        let (name, detail) = refused(&Guardrails::default(), &dear).unwrap();
        assert_eq!(name, "tx_max_fee_eth");
        assert!(detail.contains("the signer's own cap"), "{detail}");
    }

    #[test]
    fn calldata_under_a_value_limit_goes_to_listed_recipients_alone() {
        let call = Transfer { data: Bytes::from_static(&[1]), ..transfer() };
        assert_eq!(refused(&Guardrails::default(), &call), None);
        for limited in [
            Guardrails { max_value: Some(ether("5")), ..Default::default() },
            Guardrails { daily_limit: Some(ether("5")), ..Default::default() },
        ] {
            assert_eq!(refused(&limited, &call).unwrap().0, "tx_to_allowlist");
            assert_eq!(refused(&Guardrails { to_allowlist: vec![LISTED], ..limited }, &call), None);
        }
    }

    #[test]
    fn the_daily_limit_is_exact() {
        let limit = Some(ether("14"));
        assert!(check_daily(limit, ether("1"), ether("13")).is_ok());
        let refusal = check_daily(limit, ether("1"), ether("13.000000000000000001")).unwrap_err();
        assert!(refusal.detail.contains("0.999999999999999999 left of 14"), "{refusal}");
        assert!(check_daily(limit, Wei(U256::MAX), ether("1")).is_err(), "an overflow passed");
        assert!(check_daily(None, Wei(U256::MAX), ether("1")).is_ok());
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(well_formed(&transfer()).is_ok());
        let upside_down = Fees::Eip1559 { max_fee_per_gas: 1, max_priority_fee_per_gas: 2 };
        for good in [
            Transfer { access_list: listed(0), gas_limit: 23_400, ..transfer() },
            Transfer { access_list: listed(255), gas_limit: 21_000 + 2_400 + 255 * 1_900, ..transfer() },
        ] {
            assert!(well_formed(&good).is_ok());
        }
        for bad in [
            Transfer { chain_id: 0, ..transfer() },
            Transfer { chain_id: MAX_CHAIN_ID + 1, ..transfer() },
            Transfer { value: Wei(MAX_VALUE), ..transfer() },
            Transfer { gas_limit: 20_999, ..transfer() },
            Transfer { data: vec![0; MAX_DATA + 1].into(), ..transfer() },
            // Its gas is not paid for; too many entries, which are not counted where they are read; too much in all.
            Transfer { access_list: listed(0), gas_limit: 23_399, ..transfer() },
            Transfer { access_list: listed(256), gas_limit: 10_000_000, ..transfer() },
            Transfer {
                access_list: listed(255),
                gas_limit: 10_000_000,
                data: vec![0; MAX_DATA - 256 * ENTRY + 1].into(),
                ..transfer()
            },
            Transfer { fees: upside_down, ..transfer() },
        ] {
            assert_eq!(well_formed(&bad).unwrap_err().reason, Reason::Invalid);
        }
    }
}
