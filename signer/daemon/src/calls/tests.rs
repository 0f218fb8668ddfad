use alloy_primitives::{Bytes, FixedBytes, Selector, keccak256};
use alloy_sol_types::SolValue as _;
use signer_protocol::Reason;
use signer_protocol::intent::Fees;
use signer_protocol::record::AllowedCalls;

use super::*;

const COIN: Address = Address::repeat_byte(0x70);
const ROUTER: Address = Address::repeat_byte(0xca);
const FRIEND: Address = Address::repeat_byte(0x35);
const THIEF: Address = Address::repeat_byte(0x66);

fn encoded(signature: &str, args: Vec<u8>) -> Bytes {
    [&keccak256(signature)[..4], &args].concat().into()
}

fn n(amount: u64) -> U256 {
    U256::from(amount)
}

fn transfer(to: Address, amount: U256) -> Bytes {
    encoded("transfer(address,uint256)", (to, amount).abi_encode_params())
}

fn approve(to: Address, amount: U256) -> Bytes {
    encoded("approve(address,uint256)", (to, amount).abi_encode_params())
}

fn all(to: Address, allowed: bool) -> Bytes {
    encoded("setApprovalForAll(address,bool)", (to, allowed).abi_encode_params())
}

/// Multicall3, with what each call sends.
fn together(calls: Vec<(Address, u64, Bytes)>) -> Bytes {
    let calls: Vec<_> = calls.into_iter().map(|(to, wei, data)| (to, false, n(wei), data)).collect();
    encoded("aggregate3Value((address,bool,uint256,bytes)[])", (calls,).abi_encode_params())
}

fn swap() -> Bytes {
    encoded("swap(uint256)", n(1).abi_encode())
}

fn function(data: &Bytes) -> Selector {
    Selector::from_slice(&data[..4])
}

fn call(to: Address, wei: u64, data: Bytes) -> Transfer {
    Transfer {
        chain_id: 1,
        to: Some(to),
        value: Wei(n(wei)),
        data,
        gas_limit: 100_000,
        fees: Fees::Legacy { gas_price: 1 },
        replaces: None,
        access_list: Default::default(),
    }
}

fn coin(standard: TokenStandard, max: Option<u64>) -> TokenLimit {
    TokenLimit { chain_id: 1, token: COIN, standard, max: max.map(n), daily: None }
}

fn coins(max: u64) -> Guardrails {
    Guardrails { tokens: vec![coin(TokenStandard::Erc20, Some(max))], ..Default::default() }
}

fn open() -> Guardrails {
    Guardrails::default()
}

fn valued() -> Guardrails {
    Guardrails { max_value: Some(Wei(n(1000))), ..open() }
}

fn may_call(contract: Address, data: &Bytes) -> Vec<AllowedCalls> {
    vec![AllowedCalls { chain_id: 1, contract, selectors: vec![function(data)] }]
}

fn no(limits: &Guardrails, to: Address, data: Bytes) -> (String, String) {
    let refusal = check(limits, &call(to, 0, data)).expect_err("it was allowed");
    match refusal.reason {
        Reason::Guardrail(name) => (name, refusal.detail),
        other => panic!("{other:?}"),
    }
}

fn yes(limits: &Guardrails, to: Address, data: Bytes) -> Tally {
    check(limits, &call(to, 0, data)).unwrap()
}

#[test]
fn an_agent_without_limits_calls_anything() {
    for data in [swap(), transfer(THIEF, U256::MAX), all(THIEF, true), Bytes::from_static(&[1])] {
        assert_eq!(yes(&open(), COIN, data), Tally::default());
    }
}

/// As before calldata was decoded: tokens that no limit counts stay where they are, unless a person named the contract.
#[test]
fn under_a_value_limit_tokens_move_by_a_persons_word_alone() {
    for data in
        [transfer(FRIEND, n(1)), approve(FRIEND, n(1)), together(vec![(COIN, 0, transfer(FRIEND, n(1)))])]
    {
        let (name, detail) = no(&valued(), COIN, data);
        assert_eq!(name, "tx_to_allowlist");
        assert!(detail.contains("1 asked"), "{detail}");
    }
    for data in [swap(), Bytes::from_static(&[1])] {
        assert_eq!(no(&valued(), ROUTER, data).0, "tx_calls_allowlist");
    }
    let named = Guardrails { to_allowlist: vec![COIN, FRIEND], ..valued() };
    yes(&named, COIN, transfer(FRIEND, n(1)));
    let called = Guardrails { calls: may_call(COIN, &transfer(FRIEND, n(1))), ..valued() };
    yes(&called, COIN, transfer(FRIEND, n(1)));
    yes(
        &Guardrails { tokens: vec![coin(TokenStandard::Erc20, None)], ..valued() },
        COIN,
        transfer(FRIEND, n(1)),
    );
}

/// Who may call a listed token must not send it to himself.
#[test]
fn recipients_and_spenders_inside_calldata_are_on_the_list() {
    let limits = Guardrails { to_allowlist: vec![COIN, FRIEND], ..open() };
    let word = FixedBytes::<32>::ZERO;
    let permit = |to: Address| {
        let args = (FRIEND, to, n(1), n(1), 27u16, word, word).abi_encode_params();
        encoded("permit(address,address,uint256,uint256,uint8,bytes32,bytes32)", args)
    };
    let from = |to: Address| {
        encoded("transferFrom(address,address,uint256)", (FRIEND, to, n(1)).abi_encode_params())
    };
    let own = |to: Address| {
        encoded("multicall(bytes[])", (vec![transfer(FRIEND, n(1)), transfer(to, n(1))],).abi_encode_params())
    };
    let many: [&dyn Fn(Address) -> Bytes; 5] =
        [&|to| transfer(to, n(1)), &|to| approve(to, n(1)), &permit, &from, &own];
    for data in many {
        yes(&limits, COIN, data(FRIEND));
        let (name, detail) = no(&limits, COIN, data(THIEF));
        assert_eq!(name, "tx_to_allowlist");
        assert!(detail.contains(&THIEF.to_string()), "{detail}");
    }
    // A contract that nobody named is out of reach, however well its calldata reads.
    assert_eq!(no(&limits, ROUTER, transfer(FRIEND, n(1))).0, "tx_to_allowlist");
    assert_eq!(no(&limits, ROUTER, Bytes::new()).0, "tx_to_allowlist");
    // A token with a limit is named by it: for calls, not for value.
    let listed = Guardrails { to_allowlist: vec![FRIEND], ..coins(10) };
    yes(&listed, COIN, transfer(FRIEND, n(1)));
    assert_eq!(no(&listed, COIN, Bytes::new()).0, "tx_to_allowlist");
    // Value that a multicall hands on goes to the list, too.
    let hub = Guardrails { to_allowlist: vec![ROUTER, FRIEND], ..open() };
    for (to, fits) in [(FRIEND, true), (THIEF, false)] {
        let data = together(vec![(to, 5, Bytes::new())]);
        assert_eq!(check(&hub, &call(ROUTER, 5, data)).is_ok(), fits);
    }
}

#[test]
fn a_token_has_limits_of_its_own() {
    assert_eq!(
        yes(&coins(10), COIN, transfer(FRIEND, n(10))).iter().collect::<Vec<_>>(),
        [(Meter::Token(1, COIN), n(10))]
    );
    let (name, detail) = no(&coins(10), COIN, transfer(FRIEND, n(11)));
    assert_eq!(name, "tx_tokens");
    assert!(detail.contains("11 asked") && detail.contains("at most 10"), "{detail}");
    assert_eq!(no(&coins(10), COIN, approve(FRIEND, n(11))).0, "tx_tokens");
    // What is asked in pieces is one thing.
    let pieces = together(vec![(COIN, 0, transfer(FRIEND, n(6))), (COIN, 0, approve(FRIEND, n(5)))]);
    let (name, detail) = no(&coins(10), ROUTER, pieces);
    assert_eq!((name.as_str(), detail.contains("11 asked")), ("tx_tokens", true), "{detail}");
    let huge = together(vec![(COIN, 0, transfer(FRIEND, U256::MAX)), (COIN, 0, transfer(FRIEND, n(2)))]);
    assert_eq!(no(&coins(10), ROUTER, huge).0, "tx_tokens");
    // Another token, and the same address on another chain.
    assert_eq!(no(&coins(10), ROUTER, transfer(FRIEND, n(1))).0, "tx_tokens");
    let elsewhere = Transfer { chain_id: 10, ..call(COIN, 0, transfer(FRIEND, n(1))) };
    assert!(check(&coins(10), &elsewhere).is_err());
}

/// In an ERC-721 the amount's place has an id: item 0 is not nothing, and item 2^255 is one.
#[test]
fn items_count_by_their_number() {
    let limits = Guardrails { tokens: vec![coin(TokenStandard::Erc721, Some(1))], ..open() };
    for id in [U256::ZERO, n(7), U256::MAX] {
        for data in [transfer(FRIEND, id), approve(FRIEND, id)] {
            assert_eq!(yes(&limits, COIN, data).get(Meter::Token(1, COIN)), n(1));
        }
    }
    let two = together(vec![(COIN, 0, transfer(FRIEND, n(0))), (COIN, 0, transfer(FRIEND, n(1)))]);
    assert_eq!(no(&limits, ROUTER, two).0, "tx_tokens");
    let batch = |amounts: Vec<U256>| {
        let ids = vec![n(1); amounts.len()];
        let args = (FRIEND, FRIEND, ids, amounts, Bytes::new()).abi_encode_params();
        encoded("safeBatchTransferFrom(address,address,uint256[],uint256[],bytes)", args)
    };
    let limits = Guardrails { tokens: vec![coin(TokenStandard::Erc1155, Some(5))], ..open() };
    yes(&limits, COIN, batch(vec![n(2), n(3)]));
    assert_eq!(no(&limits, COIN, batch(vec![n(2), n(4)])).0, "tx_tokens");
    assert_eq!(no(&limits, COIN, batch(vec![n(2), U256::MAX])).0, "tx_tokens", "an overflow passed");
}

/// A contract may answer to two standards, and one item of one may be worth any amount of the other.
#[test]
fn a_token_moves_by_the_calls_of_its_standard_alone() {
    let listed = |standard| Guardrails { tokens: vec![coin(standard, None)], ..open() };
    let item =
        encoded("safeTransferFrom(address,address,uint256)", (FRIEND, FRIEND, n(7)).abi_encode_params());
    let several = encoded(
        "safeTransferFrom(address,address,uint256,uint256,bytes)",
        (FRIEND, FRIEND, n(7), n(3), Bytes::new()).abi_encode_params(),
    );
    for (standard, data) in [
        (TokenStandard::Erc20, item.clone()),
        (TokenStandard::Erc20, several.clone()),
        (TokenStandard::Erc721, several.clone()),
        (TokenStandard::Erc1155, transfer(FRIEND, n(1))),
        (TokenStandard::Erc1155, approve(FRIEND, n(1))),
    ] {
        let (name, detail) = no(&listed(standard), COIN, data);
        assert!(name == "tx_tokens" && detail.contains("another standard"), "{standard:?}: {detail}");
    }
    yes(&listed(TokenStandard::Erc721), COIN, item);
    yes(&listed(TokenStandard::Erc1155), COIN, several);
}

#[test]
fn unlimited_approvals_are_refused_unless_a_person_allows_them() {
    let listed = |standard| Guardrails { tokens: vec![coin(standard, None)], ..open() };
    let coin_of = listed(TokenStandard::Erc20);
    let limit = (U256::ONE << 96) - n(1);
    yes(&coin_of, COIN, approve(FRIEND, limit - n(1)));
    let more =
        |amount: U256| encoded("increaseAllowance(address,uint256)", (FRIEND, amount).abi_encode_params());
    let word = FixedBytes::<32>::ZERO;
    let dai = |allowed: bool| {
        let args = (FRIEND, FRIEND, n(0), n(0), allowed, 27u16, word, word).abi_encode_params();
        encoded("permit(address,address,uint256,uint256,bool,uint8,bytes32,bytes32)", args)
    };
    let unlimited =
        [approve(FRIEND, limit), approve(FRIEND, U256::MAX), more(limit), dai(true), all(FRIEND, true)];
    for data in unlimited.clone() {
        assert_eq!(no(&coin_of, COIN, data.clone()).0, "tx_unlimited_approvals");
        yes(&Guardrails { unlimited_approvals: true, ..coin_of.clone() }, COIN, data.clone());
        // A token's own limit holds all the same.
        assert_eq!(no(&Guardrails { unlimited_approvals: true, ..coins(10) }, COIN, data).0, "tx_tokens");
    }
    // A recipients' list alone is enough to have them refused.
    let named = Guardrails { to_allowlist: vec![COIN, FRIEND], ..open() };
    assert_eq!(no(&named, COIN, approve(FRIEND, U256::MAX)).0, "tx_unlimited_approvals");
    for data in [dai(false), all(FRIEND, false)] {
        assert_eq!(yes(&coin_of, COIN, data), Tally::default(), "what is taken back moves nothing");
    }
    assert_eq!(no(&listed(TokenStandard::Erc721), COIN, all(FRIEND, true)).0, "tx_unlimited_approvals");
}

#[test]
fn what_cant_be_decoded_is_called_where_a_person_allowed_it() {
    let limits = Guardrails { calls: may_call(ROUTER, &swap()), ..valued() };
    yes(&limits, ROUTER, swap());
    let other = encoded("sweep(uint256)", n(1).abi_encode());
    for (to, data) in [(ROUTER, other.clone()), (COIN, swap()), (ROUTER, Bytes::from_static(&[1, 2, 3]))] {
        let (name, detail) = no(&limits, to, data);
        assert_eq!(name, "tx_calls_allowlist");
        assert!(detail.contains(&to.to_string()) && detail.contains("allowed calls"), "{detail}");
    }
    let elsewhere = Transfer { chain_id: 10, ..call(ROUTER, 0, swap()) };
    assert!(check(&limits, &elsewhere).is_err(), "another chain's contract");
    // With a list, what is decoded is on it too, or of a token with a limit; value alone calls nothing.
    assert_eq!(no(&limits, COIN, transfer(FRIEND, n(1))).0, "tx_calls_allowlist");
    assert_eq!(no(&limits, ROUTER, together(vec![(ROUTER, 0, swap())])).0, "tx_calls_allowlist");
    yes(&limits, FRIEND, Bytes::new());
    let both = Guardrails { calls: may_call(ROUTER, &swap()), ..coins(10) };
    yes(&both, COIN, transfer(FRIEND, n(1)));
    // A contract that is named for its calls is no recipient of value alone.
    let listed = Guardrails { to_allowlist: vec![FRIEND], ..limits };
    yes(&listed, ROUTER, swap());
    assert_eq!(no(&listed, ROUTER, Bytes::new()).0, "tx_to_allowlist");
    assert_eq!(no(&listed, ROUTER, other).0, "tx_calls_allowlist");
}

/// What hides in bytes that decoders read differently is refused, even where the function is allowed.
#[test]
fn an_allowed_function_is_well_encoded() {
    let data = together(vec![(COIN, 0, transfer(FRIEND, n(1)))]);
    let limits = Guardrails { calls: may_call(ROUTER, &data), ..coins(10) };
    yes(&limits, ROUTER, data.clone());
    let trailing = [&data[..], &[0; 32]].concat().into();
    assert_eq!(no(&limits, ROUTER, trailing).0, "tx_calls_allowlist");
    // What an allowed multicall holds is looked at like any other call.
    assert_eq!(no(&limits, ROUTER, together(vec![(ROUTER, 0, swap())])).0, "tx_calls_allowlist");
    assert_eq!(no(&limits, ROUTER, together(vec![(COIN, 0, transfer(FRIEND, n(11)))])).0, "tx_tokens");
}

#[test]
fn a_multicall_hands_on_no_more_than_it_gets() {
    let data = together(vec![(FRIEND, 3, Bytes::new()), (COIN, 4, transfer(FRIEND, n(1)))]);
    let tally = check(&coins(10), &call(ROUTER, 7, data.clone())).unwrap();
    assert_eq!((tally.get(Meter::Recipient(FRIEND)), tally.get(Meter::Recipient(COIN))), (n(3), n(4)));
    let refusal = check(&coins(10), &call(ROUTER, 6, data)).unwrap_err();
    assert_eq!(refusal.reason, Reason::Guardrail("tx_calls_allowlist".to_owned()));
}
