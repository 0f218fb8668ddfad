//! A simulation in a sentence or two, of what concerns the sender.

use alloy_primitives::U256;
use domain::Wei;

use super::moves::{Allowance, Asset, Granted, Moved};
use super::{BalanceChange, Simulation, Source, Way};
use crate::node::Call;

/// Of each kind; the lists have the rest.
const TOLD: usize = 4;

/// `currency`: what the chain's own is called.
pub fn of(simulation: &Simulation, call: &Call, currency: &str) -> String {
    if let Some(failure) = &simulation.failure {
        return failure.sentence();
    }
    let own: Vec<&BalanceChange> =
        simulation.balance_changes.iter().filter(|change| change.account == call.from).collect();
    let granted: Vec<&Allowance> = simulation.allowances.iter().filter(|a| a.owner == call.from).collect();
    let mut said = Vec::new();
    said.extend(call.to.is_none().then(|| "It deploys a contract.".to_owned()));
    for (loses, verb) in [(true, "The sender loses"), (false, "The sender gets")] {
        let what: Vec<String> = own
            .iter()
            .filter(|c| (c.moved.lost > c.moved.gained) == loses)
            .map(|c| amount(simulation, c, currency))
            .collect();
        if !what.is_empty() {
            said.push(format!("{verb} {}.", listed(&what)));
        }
    }
    let granted: Vec<String> = granted.iter().map(|allowance| grant(simulation, allowance)).collect();
    said.extend((!granted.is_empty()).then(|| format!("The sender {}.", listed(&granted))));
    if said.is_empty() {
        said.push("It succeeds, and the sender neither loses nor gets anything that is known.".to_owned());
    }
    if simulation.by == Source::Node(Way::Call) && !call.data.is_empty() {
        said.push("The chain's node can't tell what tokens move or who may take them.".to_owned());
    }
    said.join(" ")
}

fn listed(what: &[String]) -> String {
    let first = what.iter().take(TOLD).cloned().collect::<Vec<_>>().join(", ");
    match what.len().saturating_sub(TOLD) {
        0 => first,
        more => format!("{first}, and {more} more"),
    }
}

/// How much more or less it is.
pub fn difference(moved: &Moved) -> U256 {
    moved.gained.max(moved.lost) - moved.gained.min(moved.lost)
}

fn amount(simulation: &Simulation, change: &BalanceChange, currency: &str) -> String {
    let much = difference(&change.moved);
    match change.asset {
        Asset::Ether => format!("{} {currency}", Wei(much).to_ether()),
        Asset::Erc20 { token } => fungible(simulation, token, much),
        Asset::Erc721 { token, id } => format!("{} number {id}", named(simulation, token)),
        Asset::Erc1155 { token, id } => format!("{much} of {} number {id}", named(simulation, token)),
    }
}

fn named(simulation: &Simulation, token: alloy_primitives::Address) -> String {
    match simulation.tokens.get(&token).and_then(|known| known.symbol.as_ref()) {
        Some(symbol) => format!("{symbol} ({token})"),
        None => token.to_string(),
    }
}

fn fungible(simulation: &Simulation, token: alloy_primitives::Address, much: U256) -> String {
    let decimals = simulation.tokens.get(&token).and_then(|known| known.decimals);
    match decimals {
        Some(places) => format!("{} {}", decimal(much, places), named(simulation, token)),
        None => format!("{much} of the smallest unit of {}", named(simulation, token)),
    }
}

fn grant(simulation: &Simulation, allowance: &Allowance) -> String {
    let Allowance { token, spender, granted, .. } = allowance;
    let whose = named(simulation, *token);
    match granted {
        Granted::Amount(none) if none.is_zero() => format!("lets {spender} take no {whose} any more"),
        // Half of all numbers: nobody counts down from there.
        Granted::Amount(much) if much.bit(255) => format!("lets {spender} take any amount of {whose}"),
        Granted::Amount(much) => format!("lets {spender} take {}", fungible(simulation, *token, *much)),
        Granted::One(id) if spender.is_zero() => format!("lets nobody take {whose} number {id} any more"),
        Granted::One(id) => format!("lets {spender} take {whose} number {id}"),
        Granted::All(true) => format!("lets {spender} take every {whose}"),
        Granted::All(false) => format!("lets {spender} take no {whose} any more"),
    }
}

/// A number of smallest units as a decimal: 1500000 with 6 places is 1.5.
pub fn decimal(much: U256, places: u8) -> String {
    let places = usize::from(places);
    let digits = format!("{:0>width$}", much.to_string(), width = places + 1);
    let (whole, part) = digits.split_at(digits.len() - places);
    match part.trim_end_matches('0') {
        "" => whole.to_owned(),
        part => format!("{whole}.{part}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smallest_units_become_decimals_exactly() {
        for (much, places, said) in [
            (1_500_000_u64, 6, "1.5"),
            (1, 18, "0.000000000000000001"),
            (0, 6, "0"),
            (7, 0, "7"),
            (10, 1, "1"),
        ] {
            assert_eq!(decimal(U256::from(much), places), said);
        }
        assert!(decimal(U256::MAX, 77).starts_with("1.15792"));
    }
}
