//! What an agent's transactions may be. Pure: the limits, the transfer, what was spent.

use alloy_primitives::{Address, U256};
use domain::gas::MAX_INIT_CODE;
use domain::{AccessList, Wei};
use signer_protocol::Refusal;
use signer_protocol::intent::{Fees, Transfer};
use signer_protocol::record::{Guardrails, TokenLimit};

use crate::calls;
use crate::refuse::{Result, guardrail, invalid};
use crate::tally::{Meter, Tally};

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
    if transfer.to.is_none() {
        well_formed_code(&transfer.data)?;
    }
    // A node would refuse it, and its nonce would stay taken.
    let least = domain::gas::least(transfer.to, &transfer.data, &transfer.access_list);
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

/// Of a new contract.
fn well_formed_code(code: &[u8]) -> Result<()> {
    if code.is_empty() {
        return Err(invalid("to: may be left out only where data is the code that creates a contract."));
    }
    if code.len() > MAX_INIT_CODE {
        return Err(invalid(format!(
            "data: code that creates a contract has at most {MAX_INIT_CODE} bytes (EIP-3860)."
        )));
    }
    Ok(())
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
/// Answers with what the transaction counts for over a day, signed with `fees`.
pub fn check(limits: &Guardrails, transfer: &Transfer, fees: &Fees, signer_max_fee: Wei) -> Result<Tally> {
    let chains = &limits.allowed_chains;
    if !chains.is_empty() && !chains.contains(&transfer.chain_id) {
        let allowed = chains.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        return Err(guardrail(
            "tx_allowed_chains",
            format!("chain {} was asked for; allowed: {allowed}.", transfer.chain_id),
        ));
    }
    let mut tally = calls::check(limits, transfer)?;
    if let Some(most) = limits.max_value
        && transfer.value > most
    {
        return Err(guardrail(
            "tx_max_value_eth",
            format!("{} ether asked, at most {} a transaction.", transfer.value.to_ether(), most.to_ether()),
        ));
    }
    check_fee(limits, transfer, signer_max_fee)?;
    tally.add(&Tally::native(transfer.value.0));
    // All new contracts count as one recipient: each has an address of its own, and its code may hand on what it gets.
    tally.count(Meter::Recipient(transfer.to.unwrap_or(Address::ZERO)), transfer.value.0);
    tally.count(Meter::Fees, fee(transfer, fees).0);
    Ok(tally)
}

/// The limits on a transaction that moves nothing, in the place of another: what it may cost.
pub fn check_idle(
    limits: &Guardrails,
    transfer: &Transfer,
    fees: &Fees,
    signer_max_fee: Wei,
) -> Result<Tally> {
    check_fee(limits, transfer, signer_max_fee)?;
    let mut tally = Tally::native(U256::ZERO);
    tally.count(Meter::Fees, fee(transfer, fees).0);
    Ok(tally)
}

/// The most that it can cost.
fn fee(transfer: &Transfer, fees: &Fees) -> Wei {
    // 64 and 128 bits: the product fits.
    Wei(U256::from(transfer.gas_limit) * U256::from(fees.cap()))
}

fn check_fee(limits: &Guardrails, transfer: &Transfer, signer_max_fee: Wei) -> Result<()> {
    let most = limits.max_fee.unwrap_or(signer_max_fee);
    let fee = fee(transfer, &transfer.fees);
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

/// An agent's limits over any 24 hours.
#[derive(Clone, Default, Debug)]
pub struct Daily {
    value: Option<Wei>,
    count: Option<u32>,
    fees: Option<Wei>,
    recipient: Option<Wei>,
    tokens: Vec<(Meter, U256)>,
}

impl From<&Guardrails> for Daily {
    fn from(limits: &Guardrails) -> Self {
        let token = |one: &TokenLimit| Some((Meter::Token(one.chain_id, one.token), one.daily?));
        Self {
            value: limits.daily_limit,
            count: limits.daily_count,
            fees: limits.daily_gas,
            recipient: limits.recipient_daily_limit,
            tokens: limits.tokens.iter().filter_map(token).collect(),
        }
    }
}

impl Daily {
    /// Of what is said not to move anything: how much or how often an agent may pay does not keep it from taking a payment
    /// back.
    pub fn of_fees(limits: &Guardrails) -> Self {
        Self { fees: limits.daily_gas, ..Self::default() }
    }

    /// `counted` is what counts already, `asked` what would be added.
    pub fn check(&self, asked: &Tally, counted: impl Fn(Meter) -> U256) -> Result<()> {
        for (meter, amount) in asked.iter() {
            let Some(limit) = self.limit(meter) else { continue };
            let spent = counted(meter);
            // Nothing asked adds nothing, even where the limit was lowered below what is spent.
            if amount.is_zero() || amount.checked_add(spent).is_some_and(|total| total <= limit) {
                continue;
            }
            return Err(over(meter, amount, limit.saturating_sub(spent), limit));
        }
        Ok(())
    }

    fn limit(&self, meter: Meter) -> Option<U256> {
        match meter {
            Meter::Value => self.value.map(|wei| wei.0),
            Meter::Count => self.count.map(U256::from),
            Meter::Fees => self.fees.map(|wei| wei.0),
            Meter::Recipient(_) => self.recipient.map(|wei| wei.0),
            Meter::Token(..) => self.tokens.iter().find(|(of, _)| *of == meter).map(|(_, limit)| *limit),
        }
    }
}

fn over(meter: Meter, asked: U256, left: U256, limit: U256) -> Refusal {
    let ether = || {
        let [asked, left, limit] = [asked, left, limit].map(|amount| Wei(amount).to_ether());
        (asked, left, limit)
    };
    let (name, detail) = match meter {
        Meter::Value => {
            let (asked, left, limit) = ether();
            ("tx_daily_limit_eth", format!("{asked} ether asked, {left} left of {limit} in 24 hours."))
        }
        Meter::Count => {
            ("tx_daily_count", format!("{asked} transaction asked, {left} left of {limit} in 24 hours."))
        }
        Meter::Fees => {
            let (asked, left, limit) = ether();
            (
                "tx_daily_gas_eth",
                format!("fees of up to {asked} ether asked, {left} left of {limit} in 24 hours."),
            )
        }
        Meter::Recipient(to) => {
            let (asked, left, limit) = ether();
            (
                "tx_recipient_daily_limit_eth",
                format!("{asked} ether to {to} asked, {left} left of {limit} in 24 hours."),
            )
        }
        Meter::Token(chain, token) => (
            "tx_tokens",
            format!("{asked} asked of {token} on chain {chain}, {left} left of {limit} in 24 hours."),
        ),
    };
    guardrail(name, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{Address, Bytes};
    use signer_protocol::Reason;
    use signer_protocol::record::TokenStandard;

    const LISTED: Address = Address::repeat_byte(1);
    const OTHER: Address = Address::repeat_byte(2);
    const GWEI: u128 = 1_000_000_000;

    fn ether(text: &str) -> Wei {
        Wei::parse_ether("value", text).unwrap()
    }

    fn transfer() -> Transfer {
        Transfer {
            chain_id: 1,
            to: Some(LISTED),
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
        match check(limits, transfer, &transfer.fees, ether("1")) {
            Ok(_) => None,
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
        assert_eq!(
            refused(&listed, &Transfer { to: Some(OTHER), ..transfer() }).unwrap().0,
            "tx_to_allowlist"
        );

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
    fn the_daily_limits_are_exact() {
        let token = Meter::Token(1, LISTED);
        let limit = TokenLimit {
            chain_id: 1,
            token: LISTED,
            standard: TokenStandard::Erc20,
            max: None,
            daily: Some(U256::from(10)),
        };
        let limits = Guardrails {
            daily_limit: Some(ether("14")),
            daily_count: Some(5),
            daily_gas: Some(ether("0.1")),
            recipient_daily_limit: Some(ether("3")),
            tokens: vec![limit],
            ..Default::default()
        };
        let daily = Daily::from(&limits);
        let check = |meter, asked: U256, spent: U256| {
            let mut tally = Tally::default();
            tally.count(meter, asked);
            daily.check(&tally, |of| if of == meter { spent } else { U256::MAX })
        };
        for (meter, name, limit, one, left) in [
            (Meter::Value, "tx_daily_limit_eth", ether("14").0, U256::ONE, "0.000000000000000001 left of 14"),
            (Meter::Fees, "tx_daily_gas_eth", ether("0.1").0, U256::ONE, "0.000000000000000001 left of 0.1"),
            (Meter::Recipient(OTHER), "tx_recipient_daily_limit_eth", ether("3").0, U256::ONE, "left of 3"),
            (Meter::Count, "tx_daily_count", U256::from(5), U256::ONE, "2 transaction asked, 1 left of 5"),
            (
                token,
                "tx_tokens",
                U256::from(10),
                U256::ONE,
                "2 asked of 0x0101010101010101010101010101010101010101 on chain 1, 1 left of 10",
            ),
        ] {
            assert!(check(meter, one, limit - one).is_ok(), "{name}");
            let refusal = check(meter, one + one, limit - one).unwrap_err();
            assert_eq!(refusal.reason, Reason::Guardrail(name.to_owned()));
            assert!(refusal.detail.contains(left), "{refusal}");
            assert!(check(meter, one, U256::MAX).is_err(), "an overflow passed");
            assert!(check(meter, U256::MAX, U256::ZERO).is_err(), "{name}: too much passed");
            assert!(check(meter, U256::ZERO, U256::MAX).is_ok(), "nothing asked adds nothing");
        }
        assert!(Daily::default().check(&Tally::native(U256::MAX), |_| U256::MAX).is_ok());
        assert!(check(Meter::Token(2, LISTED), U256::MAX, U256::MAX).is_ok(), "another chain's token");
    }

    #[test]
    fn what_a_transaction_counts_for() {
        let tally = check(&Guardrails::default(), &transfer(), &transfer().fees, ether("1")).unwrap();
        let counted: Vec<_> = tally.iter().collect();
        let fee = U256::from(21_000 * 30 * GWEI);
        let value = ether("1").0;
        assert_eq!(
            counted,
            [
                (Meter::Value, value),
                (Meter::Count, U256::ONE),
                (Meter::Fees, fee),
                (Meter::Recipient(LISTED), value)
            ]
        );
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
