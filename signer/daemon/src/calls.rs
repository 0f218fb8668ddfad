//! Which calls an agent's transaction may make, and which tokens they may move. Pure: the limits and the transfer.
//! `gateway/docs/guardrails.md` says the same for people.

use alloy_primitives::{Address, U256};
use domain::Wei;
use signer_protocol::intent::Transfer;
use signer_protocol::record::{Guardrails, TokenLimit, TokenStandard};

use crate::calldata::{Call, Does, MAX_CALLS, MAX_DEPTH, Move, What, calls};
use crate::refuse::{Result, guardrail};
use crate::tally::{Meter, Tally};

/// From here on an approval has no limit that means anything: 2^96 - 1 is what tokens with 96-bit amounts take for one.
const UNLIMITED: U256 = U256::from_limbs([u64::MAX, u32::MAX as u64, 0, 0]);

/// Every limit on what the calldata does. Answers with what it counts for: tokens that have a limit, and value that a
/// multicall hands on. An agent without a limit on value, recipients, tokens or calls may call anything.
pub fn check(limits: &Guardrails, transfer: &Transfer) -> Result<Tally> {
    let mut tally = Tally::default();
    let Some(to) = transfer.to else { return may_create(limits).map(|()| tally) };
    if !bounds_calls(limits) {
        return Ok(tally);
    }
    let rules = Rules { limits, chain: transfer.chain_id };
    let mut sent = U256::ZERO;
    for call in calls(to, &transfer.data) {
        rules.may_call(&call)?;
        sent = sent.saturating_add(call.value);
        tally.count(Meter::Recipient(call.contract), call.value);
        if let Does::Moves(moves) = &call.does {
            for one in moves {
                let amount = rules.may_move(&call, one)?;
                if rules.token(call.contract).is_some() {
                    tally.count(Meter::Token(rules.chain, call.contract), amount);
                }
            }
        }
    }
    if sent > transfer.value.0 {
        let (sent, has) = (Wei(sent).to_ether(), transfer.value.to_ether());
        return Err(refused(format!("the calls inside send {sent} ether, the transaction has {has}.")));
    }
    rules.at_once(&tally)?;
    Ok(tally)
}

/// A new contract is on no list. What its code does is not looked at: it runs as the new contract, and moves none of the
/// sender's tokens but those that the sender let it take before, which counted then.
fn may_create(limits: &Guardrails) -> Result<()> {
    if !limits.contract_creation {
        return Err(guardrail(
            "tx_contract_creation",
            "a contract was to be created, which a person must allow the agent; or have a factory's function allowed by \
             tx_calls_allowlist, and call that.",
        ));
    }
    if !limits.to_allowlist.is_empty() {
        return Err(guardrail("tx_to_allowlist", "a new contract is not among the allowed recipients."));
    }
    if !limits.calls.is_empty() {
        return Err(refused("the creation of a contract is not among the allowed calls.".to_owned()));
    }
    Ok(())
}

pub fn bounds_calls(limits: &Guardrails) -> bool {
    bounds_value(limits)
        || !limits.to_allowlist.is_empty()
        || !limits.tokens.is_empty()
        || !limits.calls.is_empty()
}

pub fn bounds_value(limits: &Guardrails) -> bool {
    limits.max_value.is_some() || limits.daily_limit.is_some() || limits.recipient_daily_limit.is_some()
}

fn refused(detail: String) -> signer_protocol::Refusal {
    guardrail("tx_calls_allowlist", detail)
}

struct Rules<'a> {
    limits: &'a Guardrails,
    chain: u64,
}

impl Rules<'_> {
    fn may_call(&self, call: &Call) -> Result<()> {
        let contract = call.contract;
        let function =
            || call.selector.map_or_else(|| "calldata".to_owned(), |s| format!("calldata for function {s}"));
        let (allowed, token) = (self.allows(call), self.token(contract).is_some());
        if call.does == Does::Malformed {
            return Err(refused(format!(
                "{} of {contract} was asked for, but is not encoded as its signature says, or holds more than \
                 {MAX_CALLS} calls or {MAX_DEPTH} levels of them.",
                function()
            )));
        }
        if call.does == Does::Opaque && !allowed {
            return Err(refused(format!(
                "{} of {contract} on chain {} was asked for: it can't be decoded, and is not among the allowed \
                 calls; 0 left.",
                function(),
                self.chain
            )));
        }
        let calls = call.does != Does::Nothing;
        if calls && !self.limits.calls.is_empty() && !allowed && !token {
            return Err(refused(format!(
                "{} of {contract} on chain {} is not among the allowed calls.",
                function(),
                self.chain
            )));
        }
        let reached = self.names(contract) || (calls && (allowed || token));
        if !self.limits.to_allowlist.is_empty() && !reached {
            return Err(not_listed(contract));
        }
        Ok(())
    }

    /// What it counts for, if the token has a limit.
    fn may_move(&self, call: &Call, one: &Move) -> Result<U256> {
        let contract = call.contract;
        if !self.limits.to_allowlist.is_empty() && !self.names(one.to) {
            return Err(not_listed(one.to));
        }
        let token = self.token(contract);
        if token.is_none() && !self.limits.tokens.is_empty() {
            let asked = spelled(one.what);
            return Err(guardrail(
                "tx_tokens",
                format!("{asked} asked of {contract} on chain {}, which is not listed: 0 left.", self.chain),
            ));
        }
        // What no limit counts could be worth more than all that is limited: only a person's word lets it pass.
        if token.is_none() && bounds_value(self.limits) && !self.names(contract) && !self.allows(call) {
            return Err(guardrail(
                "tx_to_allowlist",
                format!(
                    "calldata to {contract} moves tokens ({} asked): refused while a value limit is set, unless \
                     the contract is listed, or is among tx_tokens.",
                    spelled(one.what)
                ),
            ));
        }
        if token.is_some_and(|token| !is_of(token.standard, one.what)) {
            return Err(guardrail(
                "tx_tokens",
                format!(
                    "a call of another standard was asked of {contract} ({} asked), whose calls are counted as \
                     those of the standard that it is listed with.",
                    spelled(one.what)
                ),
            ));
        }
        let standard = token.map_or(TokenStandard::Erc20, |token| token.standard);
        let unlimited = match one.what {
            What::Everything => true,
            What::Approval(amount) => standard != TokenStandard::Erc721 && amount >= UNLIMITED,
            What::Transfer(_) | What::Items(_) => false,
        };
        if unlimited && !self.limits.unlimited_approvals {
            return Err(guardrail(
                "tx_unlimited_approvals",
                format!(
                    "an approval of {} of {contract} to {} asked; approve less than {UNLIMITED}.",
                    spelled(one.what),
                    one.to
                ),
            ));
        }
        Ok(counted(standard, one.what))
    }

    /// The limits of one transaction.
    fn at_once(&self, tally: &Tally) -> Result<()> {
        for TokenLimit { chain_id, token, max, .. } in &self.limits.tokens {
            let asked = tally.get(Meter::Token(*chain_id, *token));
            if let Some(max) = max.filter(|max| asked > *max) {
                return Err(guardrail(
                    "tx_tokens",
                    format!("{asked} asked of {token} on chain {chain_id}, at most {max} a transaction."),
                ));
            }
        }
        Ok(())
    }

    fn token(&self, contract: Address) -> Option<&TokenLimit> {
        self.limits.tokens.iter().find(|one| (one.chain_id, one.token) == (self.chain, contract))
    }

    fn names(&self, address: Address) -> bool {
        self.limits.to_allowlist.contains(&address)
    }

    fn allows(&self, call: &Call) -> bool {
        call.selector.is_some_and(|selector| {
            self.limits.calls.iter().any(|one| {
                (one.chain_id, one.contract) == (self.chain, call.contract)
                    && one.selectors.contains(&selector)
            })
        })
    }
}

fn not_listed(address: Address) -> signer_protocol::Refusal {
    guardrail("tx_to_allowlist", format!("{address} is not among the allowed recipients."))
}

/// Whether it is counted right. A contract may answer to more than one standard, and an item of one may be worth any
/// amount of another. `transferFrom` and `approve` are the same bytes in two of them.
fn is_of(standard: TokenStandard, what: What) -> bool {
    match (standard, what) {
        (_, What::Everything) => true,
        (TokenStandard::Erc20, what) => !matches!(what, What::Items(_)),
        (TokenStandard::Erc721, What::Items(items)) => items == U256::ONE,
        (TokenStandard::Erc721, _) => true,
        (TokenStandard::Erc1155, what) => matches!(what, What::Items(_)),
    }
}

fn counted(standard: TokenStandard, what: What) -> U256 {
    match (standard, what) {
        (_, What::Everything) => U256::MAX,
        (TokenStandard::Erc721, What::Transfer(_) | What::Approval(_)) => U256::ONE,
        (_, What::Transfer(amount) | What::Approval(amount) | What::Items(amount)) => amount,
    }
}

fn spelled(what: What) -> String {
    match what {
        What::Everything => "everything".to_owned(),
        What::Transfer(amount) | What::Approval(amount) | What::Items(amount) => amount.to_string(),
    }
}

#[cfg(test)]
mod tests;
