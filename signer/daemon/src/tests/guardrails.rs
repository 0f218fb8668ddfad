//! What counts over a day beside native value: transactions, fees, recipients, tokens.

use std::sync::Arc;

use alloy_primitives::{Address, Bytes, U256, hex};
use alloy_sol_types::SolValue as _;
use futures::future::join_all;
use signer_protocol::intent::{Release, Transfer};
use signer_protocol::record::{AllowedCalls, Change, Guardrails, TokenLimit, TokenStandard};
use signer_protocol::{Reason, Refusal};

use super::intents::{Desk, GWEI, daily, fees, pay, with};
use super::{ether, guardrail, reason};

const COIN: Address = Address::repeat_byte(0x70);
const FRIEND: Address = Address::repeat_byte(0x35);

fn coins(daily: u64) -> Guardrails {
    let standard = TokenStandard::Erc20;
    let token =
        TokenLimit { chain_id: 8453, token: COIN, standard, max: None, daily: Some(U256::from(daily)) };
    Guardrails { tokens: vec![token], ..Default::default() }
}

fn send(amount: u64) -> Transfer {
    let args = (FRIEND, U256::from(amount)).abi_encode_params();
    let data: Bytes = [hex!("a9059cbb").as_slice(), &args].concat().into();
    Transfer { to: Some(COIN), data, gas_limit: 60_000, ..pay("0") }
}

fn replacing(nonce: u64, eighths: u32, transfer: Transfer) -> Transfer {
    let raised = |fee: u128| (0..eighths).fold(fee, |fee, _| fee + fee / 8 + 1);
    Transfer { replaces: Some(nonce), fees: fees(raised(30 * GWEI), raised(2 * GWEI)), ..transfer }
}

fn accepted<T>(answers: &[Result<T, Refusal>], name: &str) -> usize {
    for answer in answers {
        if let Err(refusal) = answer {
            assert_eq!(refusal.reason, guardrail(name), "{refusal}");
        }
    }
    answers.iter().filter(|answer| answer.is_ok()).count()
}

/// Every limit of a day, against 200 at once: as many fit as fit one after another.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_at_once_get_what_the_limits_leave() {
    // 60,000 gas at 30 gwei: 0.0018 ether each.
    for (limits, transfer, name, fit) in [
        (coins(149), send(10), "tx_tokens", 14),
        (Guardrails { daily_count: Some(17), ..Default::default() }, pay("0"), "tx_daily_count", 17),
        (
            Guardrails { daily_gas: Some(ether("0.0179")), ..Default::default() },
            send(1),
            "tx_daily_gas_eth",
            9,
        ),
        (
            Guardrails { recipient_daily_limit: Some(ether("1.29")), ..Default::default() },
            pay("0.1"),
            "tx_recipient_daily_limit_eth",
            12,
        ),
        (daily("0.59"), pay("0.1"), "tx_daily_limit_eth", 5),
    ] {
        let desk = Arc::new(Desk::new(limits).await);
        let tasks = (0..200).map(|_| {
            let (desk, transfer) = (desk.clone(), transfer.clone());
            tokio::spawn(async move { desk.submit(transfer).await })
        });
        let answers: Vec<_> = join_all(tasks).await.into_iter().map(|task| task.unwrap()).collect();
        assert_eq!(accepted(&answers, name), fit, "{name}");
        for (nonce, intent) in answers.into_iter().filter_map(Result::ok).enumerate() {
            desk.sign(&intent, nonce as u64).await.unwrap();
        }
        assert_eq!(reason(desk.submit(transfer.clone()).await), guardrail(name), "what is signed counts");
        let Desk { w, owner, agent, vault, key } = Arc::into_inner(desk).unwrap();
        let d = Desk { w: w.after_power_cut(), owner, agent, vault, key };
        assert_eq!(
            reason(d.submit(transfer).await),
            guardrail(name),
            "the disk counts otherwise than memory"
        );
    }
}

#[tokio::test]
async fn a_refusal_names_what_is_asked_and_left() {
    let d = Desk::new(coins(25)).await;
    d.submit(send(20)).await.unwrap();
    let refusal = d.submit(send(6)).await.unwrap_err();
    assert!(refusal.detail.contains("6 asked") && refusal.detail.contains("5 left of 25"), "{refusal}");
    // What is given up is free again.
    let held = d.submit(send(5)).await.unwrap();
    assert_eq!(reason(d.submit(send(1)).await), guardrail("tx_tokens"));
    d.w.signer.release(Release { intent: held }).await.unwrap();
    d.submit(send(5)).await.unwrap();
}

/// Of the transactions of one nonce one is mined: each meter counts the most that it may be.
#[tokio::test]
async fn a_replacement_counts_once_in_every_meter() {
    let mut d = Desk::new(Guardrails {
        daily_count: Some(2),
        recipient_daily_limit: Some(ether("2")),
        daily_limit: Some(ether("3")),
        ..coins(10)
    })
    .await;
    let first = d.submit(send(8)).await.unwrap();
    d.sign(&first, 7).await.unwrap();
    assert_eq!(reason(d.submit(replacing(7, 1, send(11))).await), guardrail("tx_tokens"));
    let second = d.submit(replacing(7, 1, send(10))).await.unwrap();
    d.sign(&second, 7).await.unwrap();
    // Instead of tokens, value: the tokens may still be what is mined.
    let third = d.submit(replacing(7, 2, pay("1.5"))).await.unwrap();
    d.sign(&third, 7).await.unwrap();
    d.w = d.w.restarted();
    assert_eq!(reason(d.submit(send(1)).await), guardrail("tx_tokens"));
    assert_eq!(reason(d.submit(pay("0.6")).await), guardrail("tx_recipient_daily_limit_eth"));
    // It was one transaction, and this is the second.
    let fourth = d.submit(pay("0.5")).await.unwrap();
    d.sign(&fourth, 8).await.unwrap();
    assert_eq!(reason(d.submit(pay("0")).await), guardrail("tx_daily_count"));
    d.submit(replacing(8, 1, pay("0.5"))).await.unwrap();
    assert_eq!(d.spent().await, "2");
}

#[tokio::test]
async fn all_meters_leave_the_window_after_a_day() {
    let mut d = Desk::new(Guardrails { daily_count: Some(1), ..coins(10) }).await;
    d.sign(&d.submit(send(10)).await.unwrap(), 0).await.unwrap();
    d.w.wait(24 * 3600 - 5);
    d.agent = d.w.actor(d.agent.record.clone(), d.agent.credential.clone()).await;
    assert_eq!(reason(d.submit(send(1)).await), guardrail("tx_daily_count"));
    d.w.wait(6);
    d.submit(send(10)).await.unwrap();
}

/// The limits are asked again when the transaction is signed.
#[tokio::test]
async fn tightened_limits_of_tokens_and_calls_count_for_what_waits() {
    for (tighter, name) in [
        (coins(4), "tx_tokens"),
        (Guardrails { tokens: Vec::new(), ..daily("1") }, "tx_to_allowlist"),
        (Guardrails { to_allowlist: vec![COIN], ..coins(10) }, "tx_to_allowlist"),
        (Guardrails { daily_count: Some(0), ..coins(10) }, "tx_daily_count"),
    ] {
        let mut d = Desk::new(coins(10)).await;
        let intent = d.submit(send(5)).await.unwrap();
        d.change(Change::Update(with(tighter))).await;
        assert_eq!(reason(d.sign(&intent, 0).await), guardrail(name));
    }
}

/// Fees count at their caps when submitted, and as they are signed from then on.
#[tokio::test]
async fn fees_that_are_not_signed_are_left() {
    let d = Desk::new(Guardrails { daily_gas: Some(ether("0.0027")), ..Default::default() }).await;
    let intent = d.submit(send(1)).await.unwrap();
    let refusal = d.submit(send(1)).await.unwrap_err();
    assert_eq!(refusal.reason, guardrail("tx_daily_gas_eth"));
    assert!(refusal.detail.contains("0.0018 ether asked, 0.0009 left of 0.0027"), "{refusal}");
    let mut sign = d.signing(&intent, 0);
    sign.fees = fees(15 * GWEI, GWEI);
    d.w.signer.sign(sign).await.unwrap();
    d.submit(send(1)).await.unwrap();
}

#[tokio::test]
async fn lists_that_say_two_things_or_too_much_are_refused() {
    let w = super::World::new();
    let owner = w.owner().await;
    let token = coins(1).tokens[0].clone();
    let call = AllowedCalls { chain_id: 1, contract: COIN, selectors: vec![hex!("a9059cbb").into()] };
    let twice = Guardrails { tokens: vec![token.clone(), token.clone()], ..Default::default() };
    let vast = TokenLimit { max: Some(U256::ONE << 192), ..token.clone() };
    let numbered = |n: u64| TokenLimit { chain_id: n + 1, ..token.clone() };
    for (limits, field) in [
        (twice, "once"),
        (Guardrails { tokens: vec![vast], ..Default::default() }, "2^192"),
        (Guardrails { tokens: (0..101).map(numbered).collect(), ..Default::default() }, "at most 100"),
        (Guardrails { calls: vec![call.clone(); 101], ..Default::default() }, "at most 100"),
        (
            Guardrails {
                calls: vec![AllowedCalls { selectors: vec![call.selectors[0]; 501], ..call.clone() }],
                ..Default::default()
            },
            "500 selectors",
        ),
        (
            Guardrails { calls: vec![AllowedCalls { selectors: Vec::new(), ..call }], ..Default::default() },
            "name the selectors",
        ),
    ] {
        let agent = w.agent(&owner, with(Guardrails::default())).await;
        let refusal = w.change(&owner, &agent, Change::Update(with(limits))).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::Invalid);
        assert!(refusal.detail.contains(field), "{refusal}");
    }
}
