//! A real node.

use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256, Bytes, U64, hex};
use chains::{Broadcast, Call, NodeError, Quote};
use domain::{AccessList, Accessed, Kind, Wei};
use serde_json::json;

use crate::anvil::{Account, Anvil, legacy_transfer, transfer};

const BOB: Address = Address::repeat_byte(0xb0);
/// Stores 1: `PUSH1 1 PUSH1 0 SSTORE STOP`.
const STORES: [u8; 6] = hex!("600160005500");

/// Reverts with the bytes given: `CODECOPY` of what follows, `REVERT`.
fn reverts_with(data: &[u8]) -> Vec<u8> {
    let length = u8::try_from(data.len()).unwrap();
    [&[0x60, length, 0x60, 12, 0x60, 0, 0x39, 0x60, length, 0x60, 0, 0xfd], data].concat()
}

fn call(from: Address, to: Address) -> Call {
    Call { from, to: Some(to), value: Wei::ZERO, data: Bytes::new(), access_list: AccessList::default() }
}

#[tokio::test]
async fn quotes_of_a_chain_with_a_base_fee_are_taken_by_it() {
    let anvil = Anvil::start(&[]);
    let ada = anvil.account(1).await;
    let Quote::Eip1559 { base_fee, max_fee_per_gas, max_priority_fee_per_gas } =
        anvil.node.quote().await.unwrap()
    else {
        panic!("no EIP-1559 quote")
    };
    assert_eq!(base_fee, 1_000_000_000, "anvil's first base fee");
    assert_eq!(max_fee_per_gas, 2 * base_fee + max_priority_fee_per_gas);
    let mut tx = transfer(0, BOB, 5);
    (tx.max_fee_per_gas, tx.max_priority_fee_per_gas) = (max_fee_per_gas, max_priority_fee_per_gas);
    let (raw, hash) = ada.sign(tx);
    assert_eq!(anvil.node.broadcast(&raw).await, Ok(Broadcast::Accepted));
    let receipt = anvil.receipt(hash).await;
    assert!(receipt.succeeded);
    assert_eq!((receipt.block_number, receipt.gas_used), (1, 21_000));
    assert!(receipt.effective_gas_price > 0 && receipt.effective_gas_price <= max_fee_per_gas, "{receipt:?}");
    let block = anvil.rpc("eth_getBlockByNumber", json!(["0x1", false])).await;
    assert_eq!(json!(receipt.block_hash), block["hash"]);
    assert_eq!(anvil.node.balance(BOB).await.unwrap(), Wei::parse_wei("x", "5").unwrap());
    assert_eq!(anvil.node.chain_id().await, Ok(31_337));
    assert_eq!(anvil.node.block_number().await, Ok(1));
}

#[tokio::test]
async fn the_tip_follows_what_others_pay() {
    let anvil = Anvil::start(&[]);
    let ada = anvil.account(1).await;
    for nonce in 0..3 {
        let mut tx = transfer(nonce, BOB, 1);
        tx.max_priority_fee_per_gas = 7_000_000_000;
        let (raw, hash) = ada.sign(tx);
        assert_eq!(anvil.node.broadcast(&raw).await, Ok(Broadcast::Accepted));
        anvil.receipt(hash).await;
    }
    let Quote::Eip1559 { max_priority_fee_per_gas: tip, .. } = anvil.node.quote().await.unwrap() else {
        panic!("no EIP-1559 quote")
    };
    assert_eq!(tip, 7_000_000_000);
}

#[tokio::test]
async fn quotes_are_a_second_old_at_most() {
    let anvil = Anvil::start(&[]);
    let base_fee = async || match anvil.node.quote().await.unwrap() {
        Quote::Eip1559 { base_fee, .. } => base_fee,
        other @ Quote::Legacy { .. } => panic!("{other:?}"),
    };
    assert_eq!(base_fee().await, 1_000_000_000);
    anvil.rpc("anvil_setNextBlockBaseFeePerGas", json!(["0x2540be400"])).await;
    anvil.rpc("anvil_mine", json!([])).await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    // 10 gwei in the latest block; an empty block makes the next an eighth cheaper (EIP-1559).
    assert_eq!(base_fee().await, 10_000_000_000);
}

#[tokio::test]
async fn chains_without_a_base_fee_are_quoted_a_gas_price() {
    let anvil = Anvil::start(&["--hardfork", "berlin"]);
    let ada = anvil.account(1).await;
    let Quote::Legacy { gas_price } = anvil.node.quote().await.unwrap() else { panic!("an EIP-1559 quote") };
    assert!(gas_price > 0);
    let (raw, hash) = ada.sign(legacy_transfer(0, BOB, gas_price));
    assert_eq!(anvil.node.broadcast(&raw).await, Ok(Broadcast::Accepted));
    let receipt = anvil.receipt(hash).await;
    assert!(receipt.succeeded);
    assert_eq!(receipt.effective_gas_price, gas_price);
}

#[tokio::test]
async fn estimates_suffice() {
    let anvil = Anvil::start(&[]);
    let ada = anvil.account(1).await;
    assert_eq!(anvil.node.estimate_gas(&call(ada.address(), BOB)).await.unwrap().limit, 21_000);

    let contract = anvil.contract(&STORES).await;
    let bare = anvil.rpc("eth_estimateGas", json!([{ "from": ada.address(), "to": contract }])).await;
    let bare: u64 = serde_json::from_value::<U64>(bare).unwrap().to();
    let gas = anvil.node.estimate_gas(&call(ada.address(), contract)).await.unwrap().limit;
    assert!(bare > 40_000 && gas == bare + bare / 5, "{bare} {gas}");
    let mut tx = transfer(0, contract, 0);
    tx.gas_limit = gas;
    let (raw, hash) = ada.sign(tx);
    assert_eq!(anvil.node.broadcast(&raw).await, Ok(Broadcast::Accepted));
    assert!(anvil.receipt(hash).await.succeeded);

    let data = Call { data: Bytes::from_static(&[1, 2, 3]), ..call(ada.address(), BOB) };
    assert!(anvil.node.estimate_gas(&data).await.unwrap().needed > 21_000, "calldata costs");
    // Its account and its two keys (EIP-2930), and a fifth on top.
    let account = Accessed { address: BOB, storage_keys: vec![B256::ZERO, B256::with_last_byte(1)] };
    let access_list = AccessList::new(vec![account]).unwrap();
    let listed = Call { access_list, ..call(ada.address(), BOB) };
    let gas = anvil.node.estimate_gas(&listed).await.unwrap();
    assert_eq!((gas.needed, gas.limit), (27_200, 27_200 + 27_200 / 5));
}

#[tokio::test]
async fn what_would_revert_says_why() {
    let anvil = Anvil::start(&[]);
    let ada = anvil.account(1).await;
    let string = hex!(
        "08c379a0"
        "0000000000000000000000000000000000000000000000000000000000000020"
        "000000000000000000000000000000000000000000000000000000000000000a"
        "6e6f7420746f6461792100000000000000000000000000000000000000000000"
    );
    let overflow = hex!("4e487b71" "0000000000000000000000000000000000000000000000000000000000000011");
    for (data, said) in [
        (&string[..], "execution reverted: not today!"),
        (&overflow[..], "(0x11)"),
        (&hex!("deadbeef")[..], "own error 0xdeadbeef"),
        (&[], "execution reverted"),
    ] {
        let contract = anvil.contract(&reverts_with(data)).await;
        let error = anvil.node.estimate_gas(&call(ada.address(), contract)).await.unwrap_err();
        let NodeError::Answered { revert: Some(reason), .. } = &error else { panic!("{error:?}") };
        assert!(reason.to_string().contains(said), "{reason}");
        let error = domain::Error::from(error);
        assert_eq!(error.kind(), Kind::Unprocessable);
        assert!(error.detail().starts_with("The transaction would fail: exec"), "{error}");
    }
}

#[tokio::test]
async fn a_signed_transaction_from_the_pool_to_the_block() {
    let anvil = Anvil::start(&["--no-mining"]);
    let (node, ada) = (&anvil.node, anvil.account(1).await);
    let (raw, hash) = ada.sign(transfer(0, BOB, 1));
    assert_eq!(node.knows(hash).await, Ok(false));
    assert_eq!(node.broadcast(&raw).await, Ok(Broadcast::Accepted));
    assert_eq!(node.broadcast(&raw).await, Ok(Broadcast::AlreadyKnown));
    assert_eq!(node.knows(hash).await, Ok(true));
    assert_eq!(node.receipt(hash).await, Ok(None));
    let nonces = async || {
        (node.mined_nonce(ada.address()).await.unwrap(), node.next_nonce(ada.address()).await.unwrap())
    };
    assert_eq!(nonces().await, (0, 1));

    let (cheap, _) = ada.sign(transfer(0, BOB, 2));
    let said = node.broadcast(&cheap).await.unwrap();
    assert!(matches!(&said, Broadcast::Underpriced(why) if why.contains("underpriced")), "{said:?}");

    let mut dearer = transfer(0, BOB, 3);
    dearer.max_fee_per_gas += dearer.max_fee_per_gas / 8;
    dearer.max_priority_fee_per_gas += dearer.max_priority_fee_per_gas / 8;
    let (dearer, replacement) = ada.sign(dearer);
    assert_eq!(node.broadcast(&dearer).await, Ok(Broadcast::Accepted));
    assert_eq!(node.knows(hash).await, Ok(false), "the replaced one is gone");

    anvil.rpc("anvil_mine", json!([])).await;
    assert_eq!(nonces().await, (1, 1));
    assert_eq!(node.receipt(hash).await, Ok(None));
    assert!(node.receipt(replacement).await.unwrap().unwrap().succeeded);
    assert_eq!(node.knows(replacement).await, Ok(true));
    assert_eq!(node.broadcast(&dearer).await, Ok(Broadcast::NonceTooLow));
    assert_eq!(node.broadcast(&raw).await, Ok(Broadcast::NonceTooLow));

    let (raw, lost) = ada.sign(transfer(1, BOB, 1));
    assert_eq!(node.broadcast(&raw).await, Ok(Broadcast::Accepted));
    anvil.rpc("anvil_dropTransaction", json!([lost])).await;
    assert_eq!(node.knows(lost).await, Ok(false));
    assert_eq!(node.broadcast(&raw).await, Ok(Broadcast::Accepted), "the same bytes, again");
}

#[tokio::test]
async fn refusals_of_a_real_node() {
    let anvil = Anvil::start(&[]);
    let ada = anvil.account(1).await;
    let rejected = async |raw: &[u8]| match anvil.node.broadcast(raw).await.unwrap() {
        Broadcast::Rejected(why) => why.to_lowercase(),
        other => panic!("{other:?}"),
    };
    let (raw, _) = ada.sign(transfer(0, BOB, 11_000_000_000_000_000_000));
    assert!(rejected(&raw).await.contains("insufficient funds"));
    let mut starved = transfer(0, BOB, 1);
    starved.gas_limit = 20_999;
    assert!(rejected(&ada.sign(starved).0).await.contains("gas"));
    let mut elsewhere = transfer(0, BOB, 1);
    elsewhere.chain_id = 5;
    assert!(rejected(&ada.sign(elsewhere).0).await.contains("chain"));
    assert!(!rejected(&[0x02, 0xc0]).await.is_empty());

    let mut cheap = transfer(0, BOB, 1);
    (cheap.max_fee_per_gas, cheap.max_priority_fee_per_gas) = (1, 1);
    let said = anvil.node.broadcast(&ada.sign(cheap).0).await.unwrap();
    assert!(matches!(said, Broadcast::Underpriced(_)), "{said:?}");
}

#[tokio::test]
async fn a_reverted_transaction_has_a_receipt() {
    let anvil = Anvil::start(&[]);
    let ada = anvil.account(1).await;
    let mut tx = transfer(0, anvil.contract(&reverts_with(&[])).await, 0);
    tx.gas_limit = 100_000;
    let (raw, hash) = ada.sign(tx);
    assert_eq!(anvil.node.broadcast(&raw).await, Ok(Broadcast::Accepted));
    let receipt = anvil.receipt(hash).await;
    assert!(!receipt.succeeded && receipt.gas_used > 21_000, "{receipt:?}");
    assert_eq!(anvil.node.receipt(B256::repeat_byte(1)).await, Ok(None));
}

#[tokio::test]
async fn sixty_four_at_once() {
    let anvil = Anvil::start(&[]);
    let ada = anvil.account(1).await;
    let sent: Vec<_> = (0..64)
        .map(|nonce| {
            let (node, (raw, hash)) = (anvil.node.clone(), ada.sign(transfer(nonce, BOB, 1)));
            tokio::spawn(async move { (node.broadcast(&raw).await, hash) })
        })
        .collect();
    let mut hashes = Vec::new();
    for task in sent {
        let (said, hash) = task.await.unwrap();
        assert_eq!(said, Ok(Broadcast::Accepted));
        hashes.push(hash);
    }
    for hash in hashes {
        assert!(anvil.receipt(hash).await.succeeded);
    }
    assert_eq!(anvil.node.mined_nonce(ada.address()).await, Ok(64));
}

#[tokio::test]
async fn a_node_that_went_away_comes_back() {
    let mut anvil = Anvil::start(&[]);
    assert_eq!(anvil.node.chain_id().await, Ok(31_337));
    anvil.kill();
    let begun = Instant::now();
    let error = anvil.node.chain_id().await.unwrap_err();
    assert!(matches!(error, NodeError::Unreachable(_)), "{error:?}");
    let (raw, _) = Account::of(1).sign(transfer(0, BOB, 1));
    assert!(matches!(anvil.node.broadcast(&raw).await, Err(NodeError::Unreachable(_))));
    assert!(matches!(anvil.node.quote().await, Err(NodeError::Unreachable(_))));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(domain::Error::from(error).kind(), Kind::Unavailable);

    anvil.start_again();
    assert_eq!(anvil.node.chain_id().await, Ok(31_337));
    assert!(anvil.node.quote().await.is_ok(), "a failure is not remembered");
}
