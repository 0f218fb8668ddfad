//! Replacements and fillers: whoever asks decides on fees, and on nothing else.

use alloy_consensus::{Transaction as _, TxEnvelope};
use alloy_eips::eip2718::Decodable2718 as _;
use domain::{IntentId, Role};
use signer_protocol::attested::Attested;
use signer_protocol::intent::{Fees, Intent, Release, SignedTransaction, Transfer};
use signer_protocol::people::SuspendAgents;
use signer_protocol::record::{Change, Guardrails};
use signer_protocol::replace::{Replace, Replacement};
use signer_protocol::{Reason, Refusal};

use super::intents::{Desk, GWEI, daily, fees, pay, with};
use super::{Actor, edited, ether, guardrail, reason, settings};

const RAISED: Fees = Fees::Eip1559 { max_fee_per_gas: 34 * GWEI, max_priority_fee_per_gas: 3 * GWEI };
const MORE: Fees = Fees::Eip1559 { max_fee_per_gas: 40 * GWEI, max_priority_fee_per_gas: 4 * GWEI };

impl Desk {
    fn replacing(
        &self,
        by: Option<&Actor>,
        original: &Attested<Intent>,
        replacement: Replacement,
    ) -> Replace {
        Replace {
            by: by.map(Actor::caller),
            id: IntentId::new(),
            original: original.clone(),
            agent: self.agent.record.clone(),
            replacement,
            fees: RAISED,
        }
    }

    async fn replace(
        &self,
        by: Option<&Actor>,
        original: &Attested<Intent>,
        replacement: Replacement,
        fees: Fees,
    ) -> Result<Attested<Intent>, Refusal> {
        self.w.signer.replace(Replace { fees, ..self.replacing(by, original, replacement) }).await
    }

    /// Accepted and signed.
    async fn sent(&self, transfer: Transfer, nonce: u64) -> (Attested<Intent>, SignedTransaction) {
        let intent = self.submit(transfer).await.unwrap();
        let signed = self.sign(&intent, nonce).await.unwrap();
        (intent, signed)
    }

    async fn suspend(&self, suspended: bool) {
        let by = self.owner.caller();
        self.w.signer.suspend_agents(SuspendAgents { by, suspended }).await.unwrap();
    }
}

fn decoded(signed: &SignedTransaction) -> TxEnvelope {
    TxEnvelope::decode_2718_exact(&signed.raw.0).unwrap()
}

#[tokio::test]
async fn a_transaction_is_sped_up_as_it_was_and_counts_once() {
    let mut d = Desk::new(daily("1")).await;
    let call = Transfer { data: vec![1, 2, 3, 4].into(), gas_limit: 60_000, ..pay("0") };
    let d2 = Desk::new(Guardrails::default()).await;
    let (intent, first) = d2.sent(call, 7).await;
    let faster = d2.replace(Some(&d2.agent), &intent, Replacement::SpeedUp, RAISED).await.unwrap();
    let (old, new) = (decoded(&first), decoded(&d2.sign(&faster, 7).await.unwrap()));
    let parts = |tx: &TxEnvelope| {
        (tx.to(), tx.value(), tx.input().clone(), tx.gas_limit(), tx.nonce(), tx.chain_id())
    };
    assert_eq!(parts(&old), parts(&new));
    assert_eq!((new.max_fee_per_gas(), new.max_priority_fee_per_gas()), (34 * GWEI, Some(3 * GWEI)));

    // All of the limit is used, and stays so: one of the two is mined.
    let (intent, _) = d.sent(pay("1"), 3).await;
    let faster = d.replace(Some(&d.agent), &intent, Replacement::SpeedUp, RAISED).await.unwrap();
    let again = d.sign(&faster, 3).await.unwrap();
    assert_eq!(d.spent().await, "1");
    d.w = d.w.restarted();
    assert_eq!(d.sign(&faster, 3).await.unwrap().raw, again.raw, "asked again, the answer is the same");
    // And once more, from the replacement.
    let fastest = d.replace(Some(&d.agent), &faster, Replacement::SpeedUp, MORE).await.unwrap();
    d.sign(&fastest, 3).await.unwrap();
    assert_eq!(d.spent().await, "1");
    assert_eq!(reason(d.sign(&fastest, 4).await), Reason::Conflict);
}

#[tokio::test]
async fn a_cancel_moves_nothing_and_passes_lists_and_limits() {
    let friend = pay("1").to.unwrap();
    let limits = Guardrails {
        to_allowlist: vec![friend],
        allowed_chains: vec![8453],
        daily_count: Some(1),
        ..daily("1")
    };
    let mut d = Desk::new(limits.clone()).await;
    let (intent, _) = d.sent(Transfer { gas_limit: 30_000, ..pay("1") }, 7).await;
    d.change(Change::Update(with(Guardrails {
        allowed_chains: vec![1],
        daily_limit: Some(ether("0.5")),
        ..limits
    })))
    .await;
    let cancel = d.replace(Some(&d.agent), &intent, Replacement::Cancel, RAISED).await.unwrap();
    let tx = decoded(&d.sign(&cancel, 7).await.unwrap());
    let own = d.key.peek().unwrap().address;
    assert_eq!((tx.to(), tx.nonce(), tx.gas_limit()), (Some(own), 7, 21_000));
    assert!(
        tx.value().is_zero() && tx.input().is_empty() && tx.access_list().is_none_or(|list| list.is_empty())
    );
    // What was sped up instead would have to be allowed as it is now.
    assert_eq!(
        reason(d.replace(Some(&d.agent), &intent, Replacement::SpeedUp, MORE).await),
        guardrail("tx_allowed_chains")
    );
    // A cancel is sped up as a cancel.
    let faster = d.replace(Some(&d.agent), &cancel, Replacement::SpeedUp, MORE).await.unwrap();
    assert_eq!(decoded(&d.sign(&faster, 7).await.unwrap()).to(), Some(own));
}

#[tokio::test]
async fn fees_are_raised_enough_of_the_same_kind_and_within_the_caps() {
    // 21,000 at 40 gwei is 0.00084; at 34, 0.000714; at 30, 0.00063.
    let limits = Guardrails {
        max_fee: Some(ether("0.00082")),
        daily_gas: Some(ether("0.0014")),
        ..Default::default()
    };
    let d = Desk::new(limits).await;
    let (intent, _) = d.sent(pay("1"), 7).await;
    let ask = async |replacement, fees| reason(d.replace(Some(&d.agent), &intent, replacement, fees).await);
    for replacement in [Replacement::SpeedUp, Replacement::Cancel] {
        for low in [
            fees(30 * GWEI, 2 * GWEI),
            fees(33 * GWEI, 3 * GWEI),
            fees(40 * GWEI, 2 * GWEI),
            fees(20 * GWEI, 10 * GWEI),
        ] {
            assert_eq!(ask(replacement, low).await, Reason::Conflict);
        }
        assert_eq!(ask(replacement, Fees::Legacy { gas_price: 40 * GWEI }).await, Reason::Invalid);
        assert_eq!(ask(replacement, fees(40 * GWEI, 41 * GWEI)).await, Reason::Invalid);
        assert_eq!(ask(replacement, MORE).await, guardrail("tx_max_fee_eth"));
    }
    // The difference alone counts: 0.00077 is left, and 0.000084 are taken of it.
    let faster = d.replace(Some(&d.agent), &intent, Replacement::SpeedUp, RAISED).await.unwrap();
    d.sign(&faster, 7).await.unwrap();
    let other = d.submit(pay("1")).await.unwrap();
    d.sign(&other, 8).await.unwrap();
    assert_eq!(
        reason(d.replace(Some(&d.agent), &faster, Replacement::Cancel, fees(38_250_000_000, 4 * GWEI)).await),
        guardrail("tx_daily_gas_eth")
    );
    // Signed with more than it was accepted with: refused like any other.
    let d = Desk::new(Guardrails::default()).await;
    let (intent, _) = d.sent(pay("1"), 7).await;
    let faster = d.replace(Some(&d.agent), &intent, Replacement::SpeedUp, RAISED).await.unwrap();
    let dear = signer_protocol::intent::Sign { fees: MORE, ..d.signing(&faster, 7) };
    assert_eq!(reason(d.w.signer.sign(dear).await), guardrail("tx_max_fee_eth"));
    let huge = fees(u128::MAX, GWEI * 3);
    assert_eq!(
        reason(d.replace(Some(&d.agent), &intent, Replacement::SpeedUp, huge).await),
        guardrail("tx_max_fee_eth")
    );
}

#[tokio::test]
async fn only_what_was_signed_last_at_its_nonce_is_replaced() {
    let d = Desk::new(Guardrails { auto_bump: true, ..Default::default() }).await;
    let unsigned = d.submit(pay("1")).await.unwrap();
    for replacement in [Replacement::SpeedUp, Replacement::Cancel] {
        assert_eq!(reason(d.replace(Some(&d.agent), &unsigned, replacement, RAISED).await), Reason::Conflict);
    }
    let (intent, _) = d.sent(pay("1"), 7).await;
    // An edited one, with another recipient or value, is nobody's.
    for (from, to) in
        [("\"value\":\"1000000000000000000\"", "\"value\":\"9000000000000000000\""), ("0x3535", "0x3636")]
    {
        let forged = edited(&intent, from, to);
        assert_eq!(
            reason(d.replace(Some(&d.agent), &forged, Replacement::SpeedUp, RAISED).await),
            Reason::Tampered
        );
    }
    // Of two that were asked for at once, one is signed.
    let cancel = d.replace(Some(&d.agent), &intent, Replacement::Cancel, RAISED).await.unwrap();
    let faster = d.replace(None, &intent, Replacement::SpeedUp, MORE).await.unwrap();
    d.sign(&cancel, 7).await.unwrap();
    assert_eq!(reason(d.sign(&faster, 7).await), Reason::Conflict, "what was cancelled stays so");
    // Nor does whoever holds the gateway bring it back afterwards.
    assert_eq!(
        reason(d.replace(None, &intent, Replacement::SpeedUp, fees(60 * GWEI, 6 * GWEI)).await),
        Reason::Conflict
    );
    d.replace(None, &cancel, Replacement::SpeedUp, MORE).await.unwrap();
}

#[tokio::test]
async fn who_asks_for_a_replacement() {
    let mut d = Desk::new(Guardrails::default()).await;
    let (intent, _) = d.sent(pay("1"), 7).await;
    let (admin, member) = (d.w.person(&d.owner, Role::Admin).await, d.w.person(&d.owner, Role::Member).await);
    let other = d.w.agent(&d.owner, with(Guardrails::default())).await;
    let plain = d.w.agent(&d.owner, settings()).await;
    let stranger = d.w.owner().await;
    for by in [Some(&other), Some(&plain), Some(&member), Some(&stranger), None] {
        for replacement in [Replacement::SpeedUp, Replacement::Cancel] {
            assert_eq!(reason(d.replace(by, &intent, replacement, RAISED).await), Reason::Forbidden);
        }
    }
    // The record must be the intent's agent's.
    let swapped =
        Replace { agent: other.record.clone(), ..d.replacing(Some(&d.owner), &intent, Replacement::Cancel) };
    assert_eq!(reason(d.w.signer.replace(swapped).await), Reason::Tampered);
    d.replace(Some(&admin), &intent, Replacement::SpeedUp, RAISED).await.unwrap();
    d.replace(Some(&d.owner), &intent, Replacement::Cancel, RAISED).await.unwrap();
    // By itself the gateway speeds up, where a person has said so, and cancels nothing.
    d.change(Change::Update(with(Guardrails { auto_bump: true, ..Default::default() }))).await;
    assert_eq!(reason(d.replace(None, &intent, Replacement::Cancel, RAISED).await), Reason::Forbidden);
    let faster = d.replace(None, &intent, Replacement::SpeedUp, RAISED).await.unwrap();
    d.sign(&faster, 7).await.unwrap();
}

#[tokio::test]
async fn of_a_stopped_agent_a_person_cancels_and_nobody_speeds_up() {
    let mut d = Desk::new(Guardrails { auto_bump: true, ..Default::default() }).await;
    let (intent, _) = d.sent(pay("1"), 7).await;
    let (waiting, _) = d.sent(pay("1"), 8).await;
    d.suspend(true).await;
    for by in [Some(&d.owner), Some(&d.agent), None] {
        assert_eq!(reason(d.replace(by, &waiting, Replacement::SpeedUp, RAISED).await), Reason::Forbidden);
    }
    let cancel = d.replace(Some(&d.owner), &waiting, Replacement::Cancel, RAISED).await.unwrap();
    d.sign(&cancel, 8).await.unwrap();
    d.suspend(false).await;

    let faster = d.replace(Some(&d.owner), &intent, Replacement::SpeedUp, RAISED).await.unwrap();
    d.change(Change::Deactivate).await;
    assert_eq!(reason(d.sign(&faster, 7).await), Reason::Forbidden);
    for by in [Some(&d.owner), None] {
        assert_eq!(reason(d.replace(by, &intent, Replacement::SpeedUp, RAISED).await), Reason::Forbidden);
    }
    assert_eq!(
        reason(d.replace(Some(&d.agent), &intent, Replacement::Cancel, RAISED).await),
        Reason::Unauthenticated
    );
    let cancel = d.replace(Some(&d.owner), &intent, Replacement::Cancel, RAISED).await.unwrap();
    d.sign(&cancel, 7).await.unwrap();
}

#[tokio::test]
async fn a_filler_is_signed_only_below_what_waits_and_once_for_each_intent() {
    let mut d = Desk::new(Guardrails { daily_gas: Some(ether("0.002")), ..Default::default() }).await;
    let given_up = d.submit(pay("1")).await.unwrap();
    let fill = |nonce| Replacement::Fill { nonce };
    assert_eq!(
        reason(d.replace(None, &given_up, fill(7), RAISED).await),
        Reason::Conflict,
        "nothing waits above"
    );
    let (above, _) = d.sent(pay("1"), 8).await;
    assert_eq!(reason(d.replace(None, &given_up, fill(8), RAISED).await), Reason::NonceUsed);
    assert_eq!(reason(d.replace(None, &given_up, fill(9), RAISED).await), Reason::Conflict);
    assert_eq!(reason(d.replace(None, &above, fill(7), RAISED).await), Reason::Conflict, "it was signed");
    // It was refused, since its agent was stopped; those who share the key still wait.
    d.w.signer.release(Release { intent: given_up.clone() }).await.unwrap();
    d.change(Change::Deactivate).await;
    assert_eq!(
        reason(d.replace(None, &given_up, fill(7), fees(70 * GWEI, GWEI)).await),
        guardrail("tx_daily_gas_eth")
    );
    let filler = d.replace(None, &given_up, fill(7), RAISED).await.unwrap();
    assert_eq!(reason(d.sign(&filler, 6).await), Reason::Invalid);
    d.suspend(true).await;
    assert_eq!(reason(d.sign(&filler, 7).await), Reason::Forbidden);
    d.suspend(false).await;
    let tx = decoded(&d.sign(&filler, 7).await.unwrap());
    assert!(tx.value().is_zero() && tx.to() == Some(d.key.peek().unwrap().address) && tx.nonce() == 7);
    // The intent has had its signature: neither it nor another filler gets one.
    assert_eq!(reason(d.replace(None, &given_up, fill(6), RAISED).await), Reason::Conflict);
    assert_eq!(reason(d.sign(&given_up, 6).await), Reason::Forbidden);
}

/// A filler ends the hold of the intent that it is made from: it does not count twice, and only one of them is signed.
#[tokio::test]
async fn a_filler_takes_over_what_its_intent_holds() {
    let d = Desk::new(daily("2")).await;
    let waiting = d.submit(pay("1")).await.unwrap();
    d.sent(pay("1"), 8).await;
    let filler = d.replace(None, &waiting, Replacement::Fill { nonce: 7 }, RAISED).await.unwrap();
    assert_eq!(d.spent().await, "1");
    assert_eq!(reason(d.sign(&waiting, 7).await), Reason::Conflict);
    d.sign(&filler, 7).await.unwrap();
}
