//! Transactions in the place of others: derived by the signer, stored like a submission, carried like any other.

use ::chains::{Node, Quote};
use domain::audit::Event;
use domain::setting::AUTO_BUMP_AFTER;
use domain::transaction::Status;
use domain::{Error, EventId, IntentId, OrMissing as _, PrincipalId, Result, Time, TxId, Wei};
use serde_json::{Map, Value};
use signer_protocol::Attested;
use signer_protocol::intent::{Fees, Intent, Release};
use signer_protocol::record::Guardrails;
use signer_protocol::replace::{Replace, Replacement};
use signer_protocol::token::Caller;
use store::nonces;
use store::replacements::{self, Gap};
use store::transactions::{self, Accepted, LEASE, Transaction};

use super::still;
use crate::gateway::Gateway;
use crate::refusal;

/// How often the fees of a transaction are raised without anybody's asking: 1.125 to the tenth is more than threefold.
const MOST_BUMPS: u64 = 10;

/// Has the signer derive an intent from that of `of`. Nothing is stored yet: whoever does not store it lets it go.
///
/// # Errors
/// The signer's refusal.
pub async fn derive(
    gateway: &Gateway,
    of: &Transaction,
    by: Option<Caller>,
    replacement: Replacement,
    fees: Fees,
) -> Result<(Transaction, Accepted)> {
    let before = transactions::accepted(&gateway.store, of.id).await?.or_missing("transaction")?;
    let agent = PrincipalId::Agent(of.agent);
    let record = gateway.known.principal(&gateway.store, agent, of.org).await?.or_missing("agent")?;
    // A cancel and a filler move nothing: they are not kept from a key that is out of use.
    if replacement == Replacement::SpeedUp {
        still::key(gateway, &before, &record).await?;
    }
    let request = Replace {
        by,
        id: IntentId::new(),
        original: before.intent,
        agent: record.record.clone(),
        replacement,
        fees,
    };
    let derived = gateway.signer.call(async |signer, cx| signer.replace(cx, request).await).await;
    if matches!(&derived, Err(refused) if refused.reason == signer_protocol::Reason::RolledBack) {
        gateway.known.forget_principal(agent).await;
    }
    let intent = derived.map_err(refusal::of_change)?;
    let transfer = intent.peek().map_err(Error::internal)?.transfer;
    let now = gateway.clock.now();
    let new = Transaction {
        id: TxId::new(),
        to: transfer.to,
        value: transfer.value,
        gas_limit: transfer.gas_limit,
        fees: transfer.fees,
        access_list: transfer.access_list,
        nonce: None,
        status: Status::Pending,
        error_message: None,
        signed_tx: None,
        hash: None,
        block_number: None,
        lease_until: now.plus(LEASE),
        created_at: now,
        signed_at: None,
        passed_at: None,
        replaces: Some(of.id),
        replaced_by: None,
        bumps: 0,
        confirmations: None,
        confirmed_at: None,
        ..of.clone()
    };
    Ok((new, Accepted { intent, key: before.key }))
}

/// Lets go of what the signer holds for an intent that was not stored; if that fails, it lets go by itself when the intent
/// expires.
pub async fn let_go(gateway: &Gateway, intent: Attested<Intent>) {
    let released = gateway.signer.call(async |signer, cx| signer.release(cx, Release { intent }).await).await;
    if let Err(error) = released {
        tracing::warn!(%error, "an intent was not released");
    }
}

/// An eighth more, and something more.
fn eighth_more(fee: u128) -> u128 {
    fee.saturating_add(fee.div_ceil(8).max(1))
}

/// The least fees that may take the place of these.
pub fn raised(old: &Fees) -> Fees {
    match *old {
        Fees::Legacy { gas_price } => Fees::Legacy { gas_price: eighth_more(gas_price) },
        Fees::Eip1559 { max_fee_per_gas, max_priority_fee_per_gas } => Fees::Eip1559 {
            max_fee_per_gas: eighth_more(max_fee_per_gas),
            max_priority_fee_per_gas: eighth_more(max_priority_fee_per_gas),
        },
    }
}

/// What the chain asks for now, and no less than `least`; of the kind of `least`.
pub fn quoted(least: &Fees, quote: Option<&Quote>) -> Fees {
    match (*least, quote.copied()) {
        (least, None) => least,
        (Fees::Legacy { gas_price }, Some(Quote::Legacy { gas_price: now })) => {
            Fees::Legacy { gas_price: gas_price.max(now) }
        }
        // A legacy transaction pays all that it offers: not the room that a cap leaves.
        (Fees::Legacy { gas_price }, Some(Quote::Eip1559 { base_fee, max_priority_fee_per_gas, .. })) => {
            Fees::Legacy { gas_price: gas_price.max(base_fee.saturating_add(max_priority_fee_per_gas)) }
        }
        (least @ Fees::Eip1559 { .. }, Some(Quote::Legacy { .. })) => least,
        (
            Fees::Eip1559 { max_fee_per_gas, max_priority_fee_per_gas },
            Some(Quote::Eip1559 { max_fee_per_gas: cap, max_priority_fee_per_gas: tip, .. }),
        ) => {
            let tip = max_priority_fee_per_gas.max(tip);
            Fees::Eip1559 {
                max_fee_per_gas: max_fee_per_gas.max(cap).max(tip),
                max_priority_fee_per_gas: tip,
            }
        }
    }
}

/// Within what the agent may pay for so much gas, or `None` where even the least is above that.
fn within(limits: &Guardrails, gas_limit: u64, least: &Fees, wanted: Fees) -> Option<Fees> {
    let Some(Wei(most)) = limits.max_fee else { return Some(wanted) };
    let most = u128::try_from(most / alloy_primitives::U256::from(gas_limit.max(1))).unwrap_or(u128::MAX);
    if least.cap() > most {
        return None;
    }
    Some(match wanted {
        Fees::Legacy { gas_price } => Fees::Legacy { gas_price: gas_price.min(most) },
        Fees::Eip1559 { max_fee_per_gas, max_priority_fee_per_gas } => {
            let cap = max_fee_per_gas.min(most);
            Fees::Eip1559 {
                max_fee_per_gas: cap,
                max_priority_fee_per_gas: max_priority_fee_per_gas.min(cap),
            }
        }
    })
}

/// Raises the fees of the transaction that its sender's others wait behind, if it has waited for long and a person has said
/// that the gateway may. The new one is carried on by whoever looks at pending ones. `mined`: the nonce after those in blocks.
///
/// What keeps it from doing so keeps nothing else from going on: it is for the log.
pub async fn bump(gateway: &Gateway, tx: &Transaction, node: &Node, mined: u64) {
    if let Err(error) = bumped(gateway, tx, node, mined).await {
        tracing::info!(%error, transaction = %tx.id, "the fees could not be raised");
    }
}

async fn bumped(gateway: &Gateway, tx: &Transaction, node: &Node, mined: u64) -> Result<()> {
    let after = gateway.installation.number(&gateway.store, &AUTO_BUMP_AFTER).await?;
    let since = tx.signed_at.map(|at| at.plus(std::time::Duration::from_secs(after)));
    let waits = after > 0 && since.is_some_and(|due| due <= gateway.clock.now());
    if !waits || tx.replaced_by.is_some() || tx.bumps >= MOST_BUMPS || tx.nonce != Some(mined) {
        return Ok(());
    }
    let agent = PrincipalId::Agent(tx.agent);
    let record = gateway.known.principal(&gateway.store, agent, tx.org).await?.or_missing("agent")?;
    if !record.principal.guardrails.auto_bump {
        return Ok(());
    }
    let least = raised(&tx.fees);
    let wanted = quoted(&least, node.quote().await.ok().as_ref());
    let Some(fees) = within(&record.principal.guardrails, tx.gas_limit, &least, wanted) else {
        return Ok(());
    };
    let (new, accepted) = derive(gateway, tx, None, Replacement::SpeedUp, fees).await?;
    let new = Transaction { bumps: tx.bumps + 1, lease_until: new.created_at, ..new };
    let mut db = gateway.store.begin().await?;
    if !replacements::insert(&mut db, tx, mined, &new, &accepted).await? {
        let_go(gateway, accepted.intent).await;
        return Ok(());
    }
    db.record(event(&new, "transaction.auto_bump", new.created_at));
    db.commit().await?;
    Ok(())
}

/// Fills the nonces that were given up, and that others wait behind.
pub async fn fill_gaps(gateway: &Gateway) -> Result<()> {
    let gaps = replacements::gaps(&gateway.store, gateway.clock.now()).await?;
    // At once: a node that hangs holds up no other chain.
    let filled = futures::future::join_all(gaps.iter().map(|gap| fill(gateway, gap))).await;
    let left: Vec<&Gap> = gaps
        .iter()
        .zip(filled)
        .filter_map(|(gap, filled)| {
            let error = filled.err()?;
            tracing::warn!(%error, nonce = gap.nonce, "a gap could not be filled yet");
            Some(gap)
        })
        .collect();
    if left.is_empty() {
        return Ok(());
    }
    // One that can't be filled holds up none.
    let mut db = gateway.store.begin().await?;
    for gap in left {
        nonces::put_off(&mut db, gap.account, gap.nonce, gateway.clock.now()).await?;
    }
    db.commit().await
}

async fn fill(gateway: &Gateway, gap: &Gap) -> Result<()> {
    let of = transactions::by_id(&gateway.store, gap.given_up_by).await?.or_missing("transaction")?;
    let quote = super::node(gateway, &of).await?.quote().await?;
    let replacement = Replacement::Fill { nonce: gap.nonce };
    let least = match of.fees {
        Fees::Legacy { .. } => Fees::Legacy { gas_price: 0 },
        Fees::Eip1559 { .. } => Fees::Eip1559 { max_fee_per_gas: 0, max_priority_fee_per_gas: 0 },
    };
    let (new, accepted) = derive(gateway, &of, None, replacement, quoted(&least, Some(&quote))).await?;
    let new = Transaction { lease_until: new.created_at, ..new };
    let mut db = gateway.store.begin().await?;
    if !replacements::fill(&mut db, gap, &of, &new, &accepted).await? {
        let_go(gateway, accepted.intent).await;
        return Ok(());
    }
    db.record(event(&new, "transaction.fill_gap", new.created_at));
    db.commit().await?;
    Ok(())
}

/// Of the gateway's own doing.
pub(super) fn event(new: &Transaction, action: &'static str, at: Time) -> Event {
    let mut details = Map::new();
    details.insert("agent_id".to_owned(), new.agent.to_string().into());
    details.insert("chain_id".to_owned(), new.chain_id.into());
    details.insert("of".to_owned(), new.replaces.map_or(Value::Null, |id| id.to_string().into()));
    Event {
        id: EventId::new(),
        org: new.org,
        action,
        actor: None,
        resource: ("transaction", new.id.to_string()),
        details,
        address: None,
        at,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_fees() -> impl Strategy<Value = Fees> {
        prop_oneof![
            any::<u128>().prop_map(|fee| Fees::Legacy { gas_price: fee }),
            (any::<u128>(), any::<u128>()).prop_map(|(a, b)| Fees::Eip1559 {
                max_fee_per_gas: a.max(b),
                max_priority_fee_per_gas: a.min(b)
            }),
        ]
    }

    fn any_quote() -> impl Strategy<Value = Quote> {
        prop_oneof![
            any::<u128>().prop_map(|gas_price| Quote::Legacy { gas_price }),
            (any::<u128>(), any::<u128>(), any::<u128>()).prop_map(|(base_fee, cap, tip)| Quote::Eip1559 {
                base_fee,
                max_fee_per_gas: cap.max(tip),
                max_priority_fee_per_gas: tip
            }),
        ]
    }

    fn is_sound(fees: &Fees) -> bool {
        match *fees {
            Fees::Legacy { .. } => true,
            Fees::Eip1559 { max_fee_per_gas, max_priority_fee_per_gas } => {
                max_priority_fee_per_gas <= max_fee_per_gas
            }
        }
    }

    proptest! {
        /// Whatever the node says: a replacement raises its fees, keeps their kind, and stays under the agent's cap.
        #[test]
        fn raised_fees_replace_and_stay_within_the_cap(old in any_fees(), quote in any_quote(), gas in 21_000u64..30_000_000, most: u128) {
            let least = raised(&old);
            let wanted = quoted(&least, Some(&quote));
            prop_assert!(is_sound(&wanted));
            prop_assert_eq!(std::mem::discriminant(&old), std::mem::discriminant(&wanted));
            let exhausted = match old { Fees::Legacy { gas_price } => gas_price, Fees::Eip1559 { max_fee_per_gas, .. } => max_fee_per_gas } > u128::MAX / 2;
            prop_assert!(exhausted || wanted.raises(&old));
            let limits = Guardrails { max_fee: Some(Wei(alloy_primitives::U256::from(most))), ..Default::default() };
            if let Some(fees) = within(&limits, gas, &least, wanted) {
                prop_assert!(is_sound(&fees));
                prop_assert!(alloy_primitives::U256::from(gas) * alloy_primitives::U256::from(fees.cap()) <= alloy_primitives::U256::from(most));
                prop_assert!(exhausted || fees.raises(&old));
            }
        }
    }
}
