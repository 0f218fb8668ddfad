use alloy_primitives::{Address, Bytes, Selector, U256, hex};
use alloy_sol_types::SolValue as _;
use domain::{AgentId, OrgId, PrincipalId, Time};
use proptest::prelude::*;
use proptest::sample::subsequence;
use signer_protocol::intent::{Fees, Transfer};
use signer_protocol::record::TokenStandard;

use super::*;
use crate::guardrails::{Daily, check};
use crate::principals::newborn;

const CAP: u64 = 5_000_000;

fn wei(amount: u64) -> Wei {
    Wei(U256::from(amount))
}

fn address(n: u8) -> Address {
    Address::repeat_byte(n)
}

fn agent() -> Principal {
    newborn(PrincipalId::Agent(AgentId::new()), OrgId::new())
}

fn policy() -> ApprovalPolicy {
    ApprovalPolicy {
        always: false,
        above: Some(wei(5)),
        new_recipient: true,
        contract_call: true,
        simulation: true,
        approvals: 2,
        wait_seconds: 100,
        passkey: true,
    }
}

#[test]
fn to_rise_is_to_be_more_than_before() {
    let roles = [None, Some(Role::Member), Some(Role::Admin), Some(Role::Owner)];
    for (low, old) in roles.into_iter().enumerate() {
        for (high, new) in roles.into_iter().enumerate() {
            assert_eq!(new.is_some_and(|new| raises(old, new)), high > low, "{old:?} {new:?}");
        }
    }
}

#[test]
fn what_loosens_a_record_and_what_does_not() {
    let at = |millis| Some(Time::from_millis(millis));
    let bound = Principal {
        scopes: vec![PathGlob::parse("scopes", "a/**").unwrap()],
        vault_ids: vec![VaultId::new()],
        expires_at: at(5),
        ..agent()
    };
    let looser = [
        Principal { intents: true, ..bound.clone() },
        Principal { expires_at: at(6), ..bound.clone() },
        Principal { expires_at: None, ..bound.clone() },
        Principal { token_ttl_seconds: 3601, ..bound.clone() },
        Principal { scopes: Vec::new(), ..bound.clone() },
        Principal { scopes: vec![PathGlob::parse("scopes", "b/*").unwrap()], ..bound.clone() },
        Principal { vault_ids: Vec::new(), ..bound.clone() },
        Principal { vault_ids: vec![VaultId::new()], ..bound.clone() },
    ];
    for new in &looser {
        assert!(loosens(&bound, new, wei(CAP)), "{new:?}");
    }
    let submits = Principal { intents: true, ..bound.clone() };
    assert!(loosens(&submits, &bound, wei(CAP)), "it reads keys again");
    assert!(loosens(&Principal { active: false, ..bound.clone() }, &bound, wei(CAP)), "it goes on");
    for tighter in [
        bound.clone(),
        Principal { active: false, ..bound.clone() },
        Principal { expires_at: at(4), ..bound.clone() },
        Principal { token_ttl_seconds: 60, ..bound.clone() },
    ] {
        assert!(!loosens(&bound, &tighter, wei(CAP)), "{tighter:?}");
    }
    assert!(!loosens(&agent(), &bound, wei(CAP)), "bounds where there were none");
}

#[test]
fn what_asks_people_less() {
    let old = policy();
    for looser in [
        ApprovalPolicy { above: Some(wei(6)), ..policy() },
        ApprovalPolicy { above: None, ..policy() },
        ApprovalPolicy { new_recipient: false, ..policy() },
        ApprovalPolicy { contract_call: false, ..policy() },
        ApprovalPolicy { simulation: false, ..policy() },
        ApprovalPolicy { approvals: 1, ..policy() },
        ApprovalPolicy { wait_seconds: 101, ..policy() },
        ApprovalPolicy { passkey: false, ..policy() },
    ] {
        assert!(asks_less(&old, Some(&looser)), "{looser:?}");
    }
    assert!(asks_less(&old, None));
    assert!(asks_less(&ApprovalPolicy { always: true, ..policy() }, Some(&policy())));
    let always =
        ApprovalPolicy { always: true, above: None, new_recipient: false, contract_call: false, ..policy() };
    for tighter in [
        policy(),
        always,
        ApprovalPolicy { above: Some(wei(4)), ..policy() },
        ApprovalPolicy { approvals: 3, wait_seconds: 99, ..policy() },
    ] {
        assert!(!asks_less(&old, Some(&tighter)), "{tighter:?}");
    }
    let asks = |approval| Guardrails { approval, ..Default::default() };
    assert!(frees(&asks(Some(policy())), &asks(None), wei(CAP)));
    assert!(!frees(&asks(None), &asks(Some(policy())), wei(CAP)));
}

#[test]
fn leave_to_create_contracts_loosens() {
    let may = |contract_creation| Guardrails { contract_creation, ..Default::default() };
    assert!(frees(&may(false), &may(true), wei(CAP)));
    assert!(!frees(&may(true), &may(false), wei(CAP)) && !frees(&may(true), &may(true), wei(CAP)));
}

fn addresses() -> impl Strategy<Value = Vec<Address>> {
    subsequence(vec![address(1), address(2), address(3)], 0..=2)
}

fn limit() -> impl Strategy<Value = Option<Wei>> {
    proptest::option::of((0..4_u64).prop_map(wei))
}

fn fee_limit() -> impl Strategy<Value = Option<Wei>> {
    proptest::option::of(prop_oneof![Just(wei(1)), Just(wei(CAP / 2)), Just(wei(CAP)), Just(wei(CAP * 2))])
}

fn token() -> impl Strategy<Value = TokenLimit> {
    use TokenStandard::{Erc20, Erc721, Erc1155};
    let amount = || proptest::option::of((0..4_u64).prop_map(U256::from));
    let standard = prop_oneof![3 => Just(Erc20), 1 => Just(Erc721), 1 => Just(Erc1155)];
    (standard, amount(), amount()).prop_map(|(standard, max, daily)| TokenLimit {
        chain_id: 1,
        token: Address::ZERO,
        standard,
        max,
        daily,
    })
}

fn tokens() -> impl Strategy<Value = Vec<TokenLimit>> {
    let one =
        |n| proptest::option::weighted(0.3, token().prop_map(move |t| TokenLimit { token: address(n), ..t }));
    (one(1), one(2)).prop_map(|(a, b)| a.into_iter().chain(b).collect())
}

const SELECTORS: [[u8; 4]; 3] = [hex!("a9059cbb"), hex!("095ea7b3"), hex!("12345678")];

fn allowed() -> impl Strategy<Value = Vec<AllowedCalls>> {
    let one = |n| {
        let some = subsequence(SELECTORS.map(Selector::from).to_vec(), 1..=2);
        let calls =
            some.prop_map(move |selectors| AllowedCalls { chain_id: 1, contract: address(n), selectors });
        proptest::option::weighted(0.3, calls)
    };
    (one(1), one(2)).prop_map(|(a, b)| a.into_iter().chain(b).collect())
}

fn guardrails() -> impl Strategy<Value = Guardrails> {
    let lists = (subsequence(vec![1_u64, 10], 0..=1), addresses(), tokens(), allowed());
    let limits = (limit(), limit(), fee_limit(), proptest::option::of(0..3_u32), limit(), fee_limit());
    let flags = (any::<bool>(), any::<bool>());
    (lists, limits, flags).prop_map(|(lists, limits, (unlimited_approvals, contract_creation))| {
        let (allowed_chains, to_allowlist, tokens, calls) = lists;
        let (max_value, daily_limit, max_fee, daily_count, recipient_daily_limit, daily_gas) = limits;
        Guardrails {
            allowed_chains,
            to_allowlist,
            max_value,
            daily_limit,
            max_fee,
            daily_count,
            recipient_daily_limit,
            daily_gas,
            tokens,
            calls,
            unlimited_approvals,
            approval: None,
            auto_bump: false,
            contract_creation,
        }
    })
}

/// One field of the old ones replaced by the new one's, or all: few random pairs are comparable otherwise.
fn one_changed(old: &Guardrails, new: &Guardrails, which: usize) -> Guardrails {
    let (mut changed, new) = (old.clone(), new.clone());
    match which {
        0 => changed.allowed_chains = new.allowed_chains,
        1 => changed.to_allowlist = new.to_allowlist,
        2 => changed.max_value = new.max_value,
        3 => changed.daily_limit = new.daily_limit,
        4 => changed.max_fee = new.max_fee,
        5 => changed.daily_count = new.daily_count,
        6 => changed.recipient_daily_limit = new.recipient_daily_limit,
        7 => changed.daily_gas = new.daily_gas,
        8 => changed.tokens = new.tokens,
        9 => changed.calls = new.calls,
        10 => changed.unlimited_approvals = new.unlimited_approvals,
        12 => (changed.tokens, changed.to_allowlist) = (new.tokens, new.to_allowlist),
        13 => (changed.calls, changed.to_allowlist) = (new.calls, new.to_allowlist),
        11 => changed.contract_creation = new.contract_creation,
        14 => (changed.calls, changed.tokens) = (new.calls, new.tokens),
        _ => changed = new,
    }
    changed
}

fn data() -> impl Strategy<Value = Bytes> {
    let amount = prop_oneof![4 => (0..5_u64).prop_map(U256::from), 1 => Just(U256::MAX)];
    let call = (0..SELECTORS.len(), 1..4_u8, amount).prop_map(|(which, to, amount)| {
        let args = (address(to), amount).abi_encode_params();
        Bytes::from([SELECTORS[which].as_slice(), &args].concat())
    });
    let together = proptest::collection::vec((1..4_u8, 0..3_u64, call.clone()), 0..3).prop_map(|calls| {
        let calls: Vec<_> =
            calls.into_iter().map(|(to, wei, data)| (address(to), false, U256::from(wei), data)).collect();
        Bytes::from([hex!("174dea71").as_slice(), &(calls,).abi_encode_params()].concat())
    });
    prop_oneof![2 => Just(Bytes::new()), 5 => call, 2 => together, 1 => Just(hex!("a9059cbb00").into())]
}

fn transfer() -> impl Strategy<Value = Transfer> {
    let to = proptest::option::weighted(0.8, (1..4_u8).prop_map(address));
    (prop_oneof![3 => Just(1_u64), 1 => Just(10)], to, 0..5_u64, data(), 1..60_u128).prop_map(
        |(chain_id, to, value, data, gas_price)| Transfer {
            chain_id,
            to,
            value: wei(value),
            data,
            gas_limit: 100_000,
            fees: Fees::Legacy { gas_price },
            replaces: None,
            access_list: Default::default(),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { max_global_rejects: 1_000_000, ..ProptestConfig::default() })]

    /// Whatever passes after a change that is said not to loosen has passed before.
    #[test]
    fn what_does_not_loosen_lets_nothing_new_pass(
        old in guardrails(),
        other in guardrails(),
        which in 0..17_usize,
        transfers in proptest::collection::vec(transfer(), 8),
        spent in 0..4_u64,
    ) {
        let new = one_changed(&old, &other, which);
        prop_assume!(!frees(&old, &new, wei(CAP)));
        for transfer in transfers {
            let passes = |limits: &Guardrails| {
                let tally = check(limits, &transfer, &transfer.fees, wei(CAP))?;
                Daily::from(limits).check(&tally, |_| U256::from(spent))
            };
            if passes(&new).is_ok() {
                prop_assert!(passes(&old).is_ok(), "{transfer:?}: {:?}", passes(&old).err());
            }
        }
    }
}
