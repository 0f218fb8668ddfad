//! Whether a change of a record loosens what holds its agent, or raises its person. Pure, and careful: what is not plainly as tight as before is
//! looser. A person's passkey confirms what is.

use domain::{PathGlob, Role, VaultId, Wei};
use signer_protocol::approval::ApprovalPolicy;
use signer_protocol::record::{AllowedCalls, Guardrails, Principal, TokenLimit};

use crate::calls::{bounds_calls, bounds_value};
use crate::ledger::rank;

/// Whether the agent may do anything as `new` that it may not as `old`. `max_fee`: the signer's own cap, which counts where
/// the agent has none.
pub fn loosens(old: &Principal, new: &Principal, max_fee: Wei) -> bool {
    // With intents on it submits, with intents off it reads keys: neither is less than the other.
    old.intents != new.intents
        || (!old.active && new.active)
        || later(old.expires_at, new.expires_at)
        || new.token_ttl_seconds > old.token_ttl_seconds
        || widens::<PathGlob>(&old.scopes, &new.scopes)
        || widens::<VaultId>(&old.vault_ids, &new.vault_ids)
        || frees(&old.guardrails, &new.guardrails, max_fee)
}

/// Whether a person may do more in `new` than in `old`.
pub fn raises(old: Option<Role>, new: Role) -> bool {
    rank(Some(new)) > rank(old)
}

/// Whether some transfer passes `new` that does not pass `old`.
pub fn frees(old: &Guardrails, new: &Guardrails, max_fee: Wei) -> bool {
    // Each by name: whoever adds a limit says here what loosens it.
    let Guardrails {
        allowed_chains,
        to_allowlist,
        max_value,
        daily_limit,
        max_fee: new_max_fee,
        daily_count,
        recipient_daily_limit,
        daily_gas,
        tokens,
        calls,
        unlimited_approvals,
        approval,
        auto_bump,
        contract_creation,
    } = new;
    // Where nothing bounds what is called, lists can only bound it.
    let bounded = bounds_calls(old);
    // A listed contract's tokens move past a value limit that does not count them.
    let named = bounds_value(old) && old.tokens.is_empty() && adds(&old.to_allowlist, to_allowlist);
    widens(&old.allowed_chains, allowed_chains)
        || widens(&old.to_allowlist, to_allowlist)
        || named
        || later(old.max_value, *max_value)
        || later(old.daily_limit, *daily_limit)
        || new_max_fee.unwrap_or(max_fee) > old.max_fee.unwrap_or(max_fee)
        || later(old.daily_count, *daily_count)
        || later(old.recipient_daily_limit, *recipient_daily_limit)
        || later(old.daily_gas, *daily_gas)
        || (!old.tokens.is_empty() && tokens.is_empty())
        || tokens.iter().any(|token| moves_more(&old.tokens, token, bounded))
        || (!old.calls.is_empty() && calls.is_empty())
        || (bounded && calls.iter().any(|one| calls_more(&old.calls, one)))
        || (!old.unlimited_approvals && *unlimited_approvals)
        || (!old.auto_bump && *auto_bump)
        || (!old.contract_creation && *contract_creation)
        || old.approval.as_ref().is_some_and(|old| asks_less(old, approval.as_ref()))
}

/// A limit that rises, or ends.
fn later<T: PartialOrd>(old: Option<T>, new: Option<T>) -> bool {
    match (old, new) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(old), Some(new)) => new > old,
    }
}

/// Of a list that bounds, unless it is empty.
fn widens<T: PartialEq>(old: &[T], new: &[T]) -> bool {
    !old.is_empty() && (new.is_empty() || adds(old, new))
}

fn adds<T: PartialEq>(old: &[T], new: &[T]) -> bool {
    new.iter().any(|one| !old.contains(one))
}

fn moves_more(old: &[TokenLimit], new: &TokenLimit, bounded: bool) -> bool {
    match old.iter().find(|old| (old.chain_id, old.token) == (new.chain_id, new.token)) {
        Some(old) => old.standard != new.standard || later(old.max, new.max) || later(old.daily, new.daily),
        None => bounded,
    }
}

fn calls_more(old: &[AllowedCalls], new: &AllowedCalls) -> bool {
    let allowed = |selector| {
        old.iter().any(|one| {
            (one.chain_id, one.contract) == (new.chain_id, new.contract) && one.selectors.contains(selector)
        })
    };
    !new.selectors.iter().all(allowed)
}

fn asks_less(old: &ApprovalPolicy, new: Option<&ApprovalPolicy>) -> bool {
    let Some(new) = new else { return true };
    let ApprovalPolicy {
        always,
        above,
        new_recipient,
        contract_call,
        simulation,
        approvals,
        wait_seconds,
        passkey,
    } = new;
    let seldomer = !always
        && (old.always
            || later(old.above, *above)
            || (old.new_recipient && !new_recipient)
            || (old.contract_call && !contract_call)
            || (old.simulation && !simulation));
    seldomer || *approvals < old.approvals || *wait_seconds > old.wait_seconds || (old.passkey && !passkey)
}

#[cfg(test)]
mod tests;
