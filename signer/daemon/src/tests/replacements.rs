//! Nonces: each is one agent's, and counts once, at the largest value signed with it.

use signer_protocol::Reason;
use signer_protocol::intent::{Fees, Sign, Transfer};
use signer_protocol::record::{Change, Guardrails};

use super::intents::{Desk, GWEI, daily, fees, pay, with};
use super::{guardrail, reason};

fn replace(nonce: u64, value: &str, fees: Fees) -> Transfer {
    Transfer { replaces: Some(nonce), fees, ..pay(value) }
}

/// As [`pay`] has them, and an eighth more.
const RAISED: (u128, u128) = (33_750_000_000, 2_250_000_000);

#[tokio::test]
async fn a_nonce_is_used_once() {
    let d = Desk::new(Guardrails::default()).await;
    let (first, second) = (d.submit(pay("1")).await.unwrap(), d.submit(pay("1")).await.unwrap());
    d.sign(&first, 7).await.unwrap();
    assert_eq!(reason(d.sign(&second, 7).await), Reason::NonceUsed);
    d.sign(&second, 8).await.unwrap();
    // Another chain has nonces of its own.
    let elsewhere = d.submit(Transfer { chain_id: 1, ..pay("1") }).await.unwrap();
    d.sign(&elsewhere, 7).await.unwrap();
}

#[tokio::test]
async fn a_race_for_a_nonce_has_one_winner() {
    let d = Desk::new(Guardrails::default()).await;
    let mut intents = Vec::new();
    for _ in 0..20 {
        intents.push(d.submit(pay("1")).await.unwrap());
    }
    let answers = futures::future::join_all(intents.iter().map(|intent| d.sign(intent, 3))).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    assert!(answers.into_iter().filter_map(Result::err).all(|no| no.reason == Reason::NonceUsed));
}

#[tokio::test]
async fn a_replacement_raises_fees_and_counts_once_at_the_larger_value() {
    let mut d = Desk::new(daily("5")).await;
    let first = d.submit(pay("3")).await.unwrap();
    let original = d.sign(&first, 7).await.unwrap();

    let low = d.submit(replace(7, "3", fees(33 * GWEI, 3 * GWEI))).await.unwrap();
    assert_eq!(d.spent().await, "3", "the same value at the same nonce adds nothing");
    assert_eq!(reason(d.sign(&low, 7).await), Reason::Conflict);
    assert_eq!(reason(d.sign(&low, 8).await), Reason::Invalid, "a nonce that it does not replace");

    let higher = d.submit(replace(7, "4", fees(RAISED.0, RAISED.1))).await.unwrap();
    assert_eq!(d.spent().await, "4");
    let replaced = d.sign(&higher, 7).await.unwrap();
    assert_ne!(replaced.hash, original.hash);
    assert_eq!(d.spent().await, "4");

    // A cancel: it counts as the most that may still be mined at that nonce.
    let cancel = d.submit(replace(7, "0", fees(40 * GWEI, 3 * GWEI))).await.unwrap();
    d.sign(&cancel, 7).await.unwrap();
    assert_eq!(d.spent().await, "4");
    assert_eq!(
        reason(d.submit(replace(7, "5.1", fees(80 * GWEI, 8 * GWEI))).await),
        guardrail("tx_daily_limit_eth")
    );
    d.w = d.w.restarted();
    assert_eq!(d.spent().await, "4", "the disk counts otherwise than memory");
    // Each intent keeps the bytes that it was signed with.
    assert_eq!(d.sign(&first, 7).await.unwrap().raw, original.raw);
}

#[tokio::test]
async fn nobody_replaces_another_agents_transaction() {
    let d = Desk::new(Guardrails::default()).await;
    let intent = d.submit(pay("1")).await.unwrap();
    d.sign(&intent, 7).await.unwrap();
    let other = d.w.agent(&d.owner, with(Guardrails::default())).await;
    let taken = d.submit_as(&other, replace(7, "0", fees(90 * GWEI, 9 * GWEI))).await;
    assert_eq!(reason(taken), Reason::Conflict);
    // Nor one that is signed between submission and signature.
    let early = d.submit_as(&other, replace(8, "0", fees(90 * GWEI, 9 * GWEI))).await.unwrap();
    d.sign(&d.submit(pay("1")).await.unwrap(), 8).await.unwrap();
    let late = Sign { agent: other.record.clone(), ..d.signing(&early, 8) };
    assert_eq!(reason(d.w.signer.sign(late).await), Reason::NonceUsed);
}

#[tokio::test]
async fn what_is_spent_leaves_the_window_after_a_day() {
    let mut d = Desk::new(daily("1")).await;
    let intent = d.submit(pay("1")).await.unwrap();
    d.sign(&intent, 0).await.unwrap();
    d.w.wait(24 * 3600 - 5);
    d.agent = d.w.actor(d.agent.record.clone(), d.agent.credential.clone()).await;
    assert_eq!(reason(d.submit(pay("0.1")).await), guardrail("tx_daily_limit_eth"));
    d.w.wait(6);
    d.submit(pay("1")).await.unwrap();
}

#[tokio::test]
async fn replacing_what_has_left_the_window_counts_all_of_it_anew() {
    let mut d = Desk::new(daily("3")).await;
    let intent = d.submit(pay("3")).await.unwrap();
    d.sign(&intent, 7).await.unwrap();
    d.w.wait(25 * 3600);
    d.agent = d.w.actor(d.agent.record.clone(), d.agent.credential.clone()).await;
    let cancel = d.submit(replace(7, "0", fees(90 * GWEI, 9 * GWEI))).await.unwrap();
    assert_eq!(d.spent().await, "3", "the transaction of 3 can still be mined");
    assert_eq!(reason(d.submit(pay("0.1")).await), guardrail("tx_daily_limit_eth"));
    d.sign(&cancel, 7).await.unwrap();
    assert_eq!(d.spent().await, "3");
}

/// The value that a replacement builds on leaves the window while it waits, and something else takes the room.
#[tokio::test]
async fn a_replacement_is_counted_again_when_it_is_signed() {
    let mut d = Desk::new(daily("3")).await;
    let intent = d.submit(pay("3")).await.unwrap();
    d.sign(&intent, 7).await.unwrap();
    d.w.wait(24 * 3600 - 60);
    d.agent = d.w.actor(d.agent.record.clone(), d.agent.credential.clone()).await;
    let replacement = d.submit(replace(7, "3", fees(90 * GWEI, 9 * GWEI))).await.unwrap();
    d.w.wait(120);
    let other = d.submit(pay("3")).await.unwrap();
    d.sign(&other, 8).await.unwrap();
    assert_eq!(reason(d.sign(&replacement, 7).await), guardrail("tx_daily_limit_eth"));
    assert_eq!(d.spent().await, "3");
}

#[tokio::test]
async fn lowering_the_limit_leaves_what_still_fits() {
    let mut d = Desk::new(daily("10")).await;
    let mut intents = Vec::new();
    for _ in 0..10 {
        intents.push(d.submit(pay("1")).await.unwrap());
    }
    d.change(Change::Update(with(daily("4")))).await;
    let mut signed = 0;
    for (nonce, intent) in intents.iter().enumerate() {
        match d.sign(intent, nonce as u64).await {
            Ok(_) => signed += 1,
            Err(no) => assert_eq!(no.reason, guardrail("tx_daily_limit_eth")),
        }
    }
    assert_eq!(signed, 4);
}
