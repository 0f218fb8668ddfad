//! Contracts are created by an agent that a person has let create them, within its other limits.

use alloy_consensus::{Transaction as _, TxEnvelope};
use alloy_eips::eip2718::Decodable2718 as _;
use alloy_primitives::{Address, Bytes, Selector, U256};
use domain::IntentId;
use domain::gas::MAX_INIT_CODE;
use signer_protocol::Reason;
use signer_protocol::approval::{ApprovalPolicy, Cause};
use signer_protocol::intent::{Fees, SignedTransaction, Transfer};
use signer_protocol::record::{AllowedCalls, Change, Guardrails, TokenLimit, TokenStandard};
use signer_protocol::replace::{Replace, Replacement};

use super::approvals::{asking, policy};
use super::intents::{Desk, GWEI, daily, fees, pay, with};
use super::{ether, guardrail, reason};

const FRIEND: Address = Address::repeat_byte(0x35);

/// A contract without code: `STOP`.
fn creation(value: &str) -> Transfer {
    Transfer { to: None, data: Bytes::from_static(&[0x00]), gas_limit: 60_000, ..pay(value) }
}

fn may(limits: Guardrails) -> Guardrails {
    Guardrails { contract_creation: true, ..limits }
}

fn decoded(signed: &SignedTransaction) -> TxEnvelope {
    TxEnvelope::decode_2718_exact(&signed.raw.0).unwrap()
}

#[tokio::test]
async fn a_contract_is_created_where_a_person_allowed_it() {
    // No other limit is needed to have it refused.
    let mut d = Desk::new(Guardrails::default()).await;
    let refusal = d.submit(creation("0")).await.unwrap_err();
    assert_eq!(refusal.reason, guardrail("tx_contract_creation"));
    assert!(refusal.detail.contains("a person must allow"), "{refusal}");
    d.change(Change::Update(with(may(Guardrails::default())))).await;
    for (nonce, fees) in [(7, fees(30 * GWEI, 2 * GWEI)), (8, Fees::Legacy { gas_price: 30 * GWEI })] {
        let intent = d.submit(Transfer { fees, ..creation("0.5") }).await.unwrap();
        let tx = decoded(&d.sign(&intent, nonce).await.unwrap());
        assert!(tx.is_create() && tx.input().as_ref() == [0x00], "{tx:?}");
        assert_eq!((tx.to(), tx.value(), tx.nonce()), (None, ether("0.5").0, nonce));
    }
}

#[tokio::test]
async fn leave_to_create_contracts_that_ends_ends_for_what_waits() {
    let mut d = Desk::new(may(Guardrails::default())).await;
    let intent = d.submit(creation("0")).await.unwrap();
    d.change(Change::Update(with(Guardrails::default()))).await;
    assert_eq!(reason(d.sign(&intent, 0).await), guardrail("tx_contract_creation"));
}

#[tokio::test]
async fn a_new_contract_is_on_no_list() {
    let calls =
        vec![AllowedCalls { chain_id: 8453, contract: FRIEND, selectors: vec![Selector::from([0; 4])] }];
    for (name, limits) in [
        ("tx_to_allowlist", Guardrails { to_allowlist: vec![FRIEND, Address::ZERO], ..Default::default() }),
        ("tx_calls_allowlist", Guardrails { calls, ..Default::default() }),
        ("tx_allowed_chains", Guardrails { allowed_chains: vec![1], ..Default::default() }),
    ] {
        let d = Desk::new(may(limits)).await;
        assert_eq!(reason(d.submit(creation("0")).await), guardrail(name));
    }
    // It moves no tokens of the sender's.
    let token = TokenLimit {
        chain_id: 8453,
        token: FRIEND,
        standard: TokenStandard::Erc20,
        max: Some(U256::ONE),
        daily: None,
    };
    let d = Desk::new(may(Guardrails { tokens: vec![token], ..Default::default() })).await;
    d.submit(creation("0")).await.unwrap();
}

#[tokio::test]
async fn what_a_new_contract_gets_counts() {
    let d = Desk::new(may(Guardrails { max_value: Some(ether("0.6")), ..daily("1") })).await;
    assert_eq!(reason(d.submit(creation("0.7")).await), guardrail("tx_max_value_eth"));
    let intent = d.submit(creation("0.6")).await.unwrap();
    d.sign(&intent, 0).await.unwrap();
    assert_eq!(d.spent().await, "0.6");
    assert_eq!(reason(d.submit(creation("0.5")).await), guardrail("tx_daily_limit_eth"));
    assert_eq!(reason(d.submit(pay("0.5")).await), guardrail("tx_daily_limit_eth"));
    // Each has an address of its own: together they are one recipient.
    let one = Guardrails { recipient_daily_limit: Some(ether("1")), ..Default::default() };
    let d = Desk::new(may(one)).await;
    d.submit(creation("0.6")).await.unwrap();
    assert_eq!(reason(d.submit(creation("0.5")).await), guardrail("tx_recipient_daily_limit_eth"));
    d.submit(pay("0.5")).await.unwrap();
    let gas = Guardrails { daily_gas: Some(ether("0.003")), daily_count: Some(1), ..Default::default() };
    let d = Desk::new(may(gas)).await;
    d.submit(creation("0")).await.unwrap();
    assert_eq!(reason(d.submit(creation("0")).await), guardrail("tx_daily_count"));
}

#[tokio::test]
async fn a_creation_that_a_node_refuses_is_not_signed() {
    let d = Desk::new(may(Guardrails::default())).await;
    let least = 53_000 + 16 + 2;
    let code = |bytes: usize| Bytes::from(vec![0; bytes]);
    for (said, transfer) in [
        ("to: may be left out only", Transfer { data: Bytes::new(), ..creation("0") }),
        ("gas_limit", Transfer { data: [1].into(), gas_limit: least - 1, ..creation("0") }),
        ("EIP-3860", Transfer { data: code(MAX_INIT_CODE + 1), gas_limit: 9_000_000, ..creation("0") }),
    ] {
        let refusal = d.submit(transfer).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::Invalid);
        assert!(refusal.detail.contains(said), "{refusal}");
    }
    d.submit(Transfer { data: [1].into(), gas_limit: least, ..creation("0") }).await.unwrap();
    d.submit(Transfer { data: code(MAX_INIT_CODE), gas_limit: 9_000_000, ..creation("0") }).await.unwrap();
}

#[tokio::test]
async fn people_are_asked_about_a_new_contract() {
    for (asked, causes) in [
        (ApprovalPolicy { new_recipient: true, ..policy() }, vec![Cause::NewRecipient]),
        (ApprovalPolicy { contract_call: true, ..policy() }, vec![Cause::ContractCall]),
        (ApprovalPolicy { above: Some(ether("1")), ..policy() }, vec![]),
    ] {
        let d = Desk::new(may(asking(asked))).await;
        let intent = d.submit(creation("1")).await.unwrap();
        let needed = intent.peek().unwrap().approval;
        assert_eq!(needed.map_or_else(Vec::new, |needed| needed.causes), causes);
        if !causes.is_empty() {
            d.approve(&d.owner, &intent).await.unwrap();
            d.sign(&intent, 0).await.unwrap();
            // The next one is new again.
            assert!(d.submit(creation("1")).await.unwrap().peek().unwrap().approval.is_some());
        }
    }
}

#[tokio::test]
async fn a_creation_is_sped_up_as_it_was_and_cancelled() {
    let d = Desk::new(may(daily("1"))).await;
    let original = d.submit(creation("1")).await.unwrap();
    d.sign(&original, 7).await.unwrap();
    let replacement = async |original: &_, replacement, fees| {
        let request = Replace {
            by: Some(d.agent.caller()),
            id: IntentId::new(),
            original: Clone::clone(original),
            agent: d.agent.record.clone(),
            replacement,
            fees,
        };
        d.w.signer.replace(request).await.unwrap()
    };
    let faster = replacement(&original, Replacement::SpeedUp, fees(34 * GWEI, 3 * GWEI)).await;
    let tx = decoded(&d.sign(&faster, 7).await.unwrap());
    assert!(tx.is_create() && tx.input().as_ref() == [0x00] && tx.value() == ether("1").0, "{tx:?}");
    let cancel = replacement(&faster, Replacement::Cancel, fees(40 * GWEI, 4 * GWEI)).await;
    let tx = decoded(&d.sign(&cancel, 7).await.unwrap());
    assert_eq!((tx.to(), tx.input().len()), (Some(d.key.peek().unwrap().address), 0));
    assert_eq!(d.spent().await, "1", "one of the three is mined");
}
