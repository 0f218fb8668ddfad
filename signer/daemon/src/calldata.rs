//! What a transaction's calldata does, as far as it can be known from the bytes: which calls it makes, itself and
//! through multicalls, and which tokens each of them moves or lets somebody move.
//!
//! Decoding is strict: bytes that are not exactly the ABI's encoding of what was read are not understood. So nothing
//! is hidden where one reader looks and another does not.

use alloy_primitives::{Address, Bytes, Selector, U256};
use alloy_sol_types::abi::{AbiDecoderConfig, TokenSeq};
use alloy_sol_types::{SolType, sol_data};

/// Calls in a transaction, at most, the multicalls that hold them included.
pub const MAX_CALLS: usize = 64;

/// Multicalls within multicalls.
pub const MAX_DEPTH: usize = 4;

/// A call that the transaction makes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call {
    pub contract: Address,
    /// `None`: calldata of fewer than four bytes.
    pub selector: Option<Selector>,
    /// What a multicall sends along, in wei; zero for the transaction's own call, whose value is the transaction's.
    pub value: U256,
    pub does: Does,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Does {
    /// No calldata: native value alone.
    Nothing,
    /// It holds the calls that come after it.
    Multicall,
    /// Moves of the contract's own token.
    Moves(Vec<Move>),
    /// A selector that is not known here.
    Opaque,
    /// A known selector, with bytes that are not its encoding; or too many calls, or too deep.
    Malformed,
}

/// Tokens that go to somebody, or that somebody may take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Move {
    /// The recipient, or the spender.
    pub to: Address,
    pub what: What,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// `transfer`, `transferFrom`: an amount, or an id where the token is an ERC-721.
    Transfer(U256),
    /// `approve` and the like: an amount, or an id where the token is an ERC-721.
    Approval(U256),
    /// So many items, whatever their ids.
    Items(U256),
    /// Leave to take everything.
    Everything,
}

/// Every call of a transaction, in order; a multicall stands before the calls that it holds.
pub fn calls(to: Address, data: &Bytes) -> Vec<Call> {
    let mut found = Vec::new();
    look(&mut found, to, U256::ZERO, data, 0);
    found
}

fn look(found: &mut Vec<Call>, contract: Address, value: U256, data: &[u8], depth: usize) {
    let selector = data.first_chunk::<4>().map(Selector::from);
    let at = found.len();
    let does = match selector {
        _ if depth > MAX_DEPTH || at >= MAX_CALLS => Does::Malformed,
        None if data.is_empty() => Does::Nothing,
        None => Does::Opaque,
        Some(selector) => match inner(contract, selector, &data[4..]) {
            None => moved(selector, &data[4..]),
            Some(None) => Does::Malformed,
            Some(Some(calls)) if at + calls.len() >= MAX_CALLS => Does::Malformed,
            Some(Some(calls)) => {
                found.push(Call { contract, selector: Some(selector), value, does: Does::Multicall });
                for (to, value, data) in calls {
                    look(found, to, value, &data, depth + 1);
                }
                return;
            }
        },
    };
    found.push(Call { contract, selector, value, does });
}

type A = sol_data::Address;
type B = sol_data::Bool;
type U = sol_data::Uint<256>;
type U8 = sol_data::Uint<8>;
type W = sol_data::FixedBytes<32>;
type D = sol_data::Bytes;
type List<T> = sol_data::Array<T>;

/// The calls that a multicall holds. `None`: it is no multicall. `Some(None)`: it is not well encoded.
fn inner(contract: Address, selector: Selector, args: &[u8]) -> Option<Option<Vec<(Address, U256, Bytes)>>> {
    let own = |calls: Vec<Bytes>| calls.into_iter().map(|data| (contract, U256::ZERO, data)).collect();
    let others =
        |calls: Vec<(Address, Bytes)>| calls.into_iter().map(|(to, data)| (to, U256::ZERO, data)).collect();
    Some(match selector.0 {
        // multicall(bytes[]): the contract calls itself, for the same sender.
        [0xac, 0x96, 0x50, 0xd8] => exactly::<(List<D>,)>(args).map(|(calls,)| own(calls)),
        // multicall(uint256,bytes[]): until a deadline.
        [0x5a, 0xe4, 0x01, 0xdc] => exactly::<(U, List<D>)>(args).map(|(_, calls)| own(calls)),
        // multicall(bytes32,bytes[]): on top of a block.
        [0x1f, 0x04, 0x64, 0xd1] => exactly::<(W, List<D>)>(args).map(|(_, calls)| own(calls)),
        // Multicall3: aggregate and blockAndAggregate((address,bytes)[]).
        [0x25, 0x2d, 0xba, 0x42] | [0xc3, 0x07, 0x7f, 0xa9] => {
            exactly::<(List<(A, D)>,)>(args).map(|(calls,)| others(calls))
        }
        // tryAggregate and tryBlockAndAggregate(bool,(address,bytes)[]).
        [0xbc, 0xe3, 0x8b, 0xd7] | [0x39, 0x95, 0x42, 0xe9] => {
            exactly::<(B, List<(A, D)>)>(args).map(|(_, calls)| others(calls))
        }
        // aggregate3((address,bool,bytes)[]).
        [0x82, 0xad, 0x56, 0xcb] => exactly::<(List<(A, B, D)>,)>(args)
            .map(|(calls,)| calls.into_iter().map(|(to, _, data)| (to, U256::ZERO, data)).collect()),
        // aggregate3Value((address,bool,uint256,bytes)[]).
        [0x17, 0x4d, 0xea, 0x71] => exactly::<(List<(A, B, U, D)>,)>(args)
            .map(|(calls,)| calls.into_iter().map(|(to, _, value, data)| (to, value, data)).collect()),
        _ => return None,
    })
}

/// What a call of a token's contract moves.
fn moved(selector: Selector, args: &[u8]) -> Does {
    let one = |to, what| vec![Move { to, what }];
    let either = |to, all: bool| if all { one(to, What::Everything) } else { Vec::new() };
    let moves = match selector.0 {
        // transfer(address,uint256)
        [0xa9, 0x05, 0x9c, 0xbb] => exactly::<(A, U)>(args).map(|(to, n)| one(to, What::Transfer(n))),
        // transferFrom(address,address,uint256)
        [0x23, 0xb8, 0x72, 0xdd] => exactly::<(A, A, U)>(args).map(|(_, to, n)| one(to, What::Transfer(n))),
        // approve(address,uint256), increaseAllowance(address,uint256)
        [0x09, 0x5e, 0xa7, 0xb3] | [0x39, 0x50, 0x93, 0x51] => {
            exactly::<(A, U)>(args).map(|(to, n)| one(to, What::Approval(n)))
        }
        // decreaseAllowance(address,uint256)
        [0xa4, 0x57, 0xc2, 0xd7] => exactly::<(A, U)>(args).map(|_| Vec::new()),
        // permit(address,address,uint256,uint256,uint8,bytes32,bytes32): ERC-2612.
        [0xd5, 0x05, 0xac, 0xcf] => {
            exactly::<(A, A, U, U, U8, W, W)>(args).map(|(_, to, n, ..)| one(to, What::Approval(n)))
        }
        // permit(address,address,uint256,uint256,bool,uint8,bytes32,bytes32): of DAI.
        [0x8f, 0xcb, 0xaf, 0x0c] => {
            exactly::<(A, A, U, U, B, U8, W, W)>(args).map(|(_, to, _, _, allowed, ..)| either(to, allowed))
        }
        // setApprovalForAll(address,bool)
        [0xa2, 0x2c, 0xb4, 0x65] => exactly::<(A, B)>(args).map(|(to, allowed)| either(to, allowed)),
        // safeTransferFrom(address,address,uint256): ERC-721.
        [0x42, 0x84, 0x2e, 0x0e] => {
            exactly::<(A, A, U)>(args).map(|(_, to, _)| one(to, What::Items(U256::ONE)))
        }
        // safeTransferFrom(address,address,uint256,bytes): ERC-721.
        [0xb8, 0x8d, 0x4f, 0xde] => {
            exactly::<(A, A, U, D)>(args).map(|(_, to, ..)| one(to, What::Items(U256::ONE)))
        }
        // safeTransferFrom(address,address,uint256,uint256,bytes): ERC-1155.
        [0xf2, 0x42, 0x43, 0x2a] => {
            exactly::<(A, A, U, U, D)>(args).map(|(_, to, _, n, _)| one(to, What::Items(n)))
        }
        // safeBatchTransferFrom(address,address,uint256[],uint256[],bytes)
        [0x2e, 0xb2, 0xc2, 0xd6] => exactly::<(A, A, List<U>, List<U>, D)>(args)
            .filter(|(_, _, ids, amounts, _)| ids.len() == amounts.len())
            .map(|(_, to, _, amounts, _)| {
                let all = amounts.into_iter().fold(U256::ZERO, U256::saturating_add);
                one(to, What::Items(all))
            }),
        _ => return Does::Opaque,
    };
    moves.map_or(Does::Malformed, Does::Moves)
}

/// The arguments, if the bytes are their one canonical encoding.
fn exactly<T: SolType>(args: &[u8]) -> Option<T::RustType>
where
    for<'a> T::Token<'a>: TokenSeq<'a>,
{
    // Strict: an offset that points twice at the same bytes would make them many.
    let read = T::abi_decode_params_with_config(args, AbiDecoderConfig::new().strict(true)).ok()?;
    (T::abi_encode_params(&read) == args).then_some(read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{FixedBytes, keccak256};
    use alloy_sol_types::SolValue as _;
    use proptest::prelude::*;

    const TOKEN: Address = Address::repeat_byte(0x70);
    const HUB: Address = Address::repeat_byte(0xca);
    const FRIEND: Address = Address::repeat_byte(0x35);

    fn encoded(signature: &str, args: Vec<u8>) -> Bytes {
        [&keccak256(signature)[..4], &args].concat().into()
    }

    fn transfer(to: Address, amount: u64) -> Bytes {
        encoded("transfer(address,uint256)", (to, U256::from(amount)).abi_encode_params())
    }

    fn moves(data: &Bytes) -> Vec<Move> {
        match calls(TOKEN, data).as_slice() {
            [Call { does: Does::Moves(moves), .. }] => moves.clone(),
            other => panic!("{other:?}"),
        }
    }

    /// Every selector is that of the signature beside it.
    #[test]
    fn the_calls_of_tokens_are_read() {
        let (n, word, one) = (U256::from(7), FixedBytes::<32>::repeat_byte(9), U256::ONE);
        let (from, to, none) = (HUB, FRIEND, Bytes::new());
        let batch = (from, to, vec![one, n], vec![n, n], none.clone()).abi_encode_params();
        let dai = |allowed| (from, to, n, n, allowed, 27u16, word, word).abi_encode_params();
        for (signature, args, expected) in [
            ("transfer(address,uint256)", (to, n).abi_encode_params(), Some(What::Transfer(n))),
            (
                "transferFrom(address,address,uint256)",
                (from, to, n).abi_encode_params(),
                Some(What::Transfer(n)),
            ),
            ("approve(address,uint256)", (to, n).abi_encode_params(), Some(What::Approval(n))),
            ("increaseAllowance(address,uint256)", (to, n).abi_encode_params(), Some(What::Approval(n))),
            ("decreaseAllowance(address,uint256)", (to, n).abi_encode_params(), None),
            (
                "permit(address,address,uint256,uint256,uint8,bytes32,bytes32)",
                (from, to, n, one, 27u16, word, word).abi_encode_params(),
                Some(What::Approval(n)),
            ),
            (
                "permit(address,address,uint256,uint256,bool,uint8,bytes32,bytes32)",
                dai(true),
                Some(What::Everything),
            ),
            ("permit(address,address,uint256,uint256,bool,uint8,bytes32,bytes32)", dai(false), None),
            ("setApprovalForAll(address,bool)", (to, true).abi_encode_params(), Some(What::Everything)),
            ("setApprovalForAll(address,bool)", (to, false).abi_encode_params(), None),
            (
                "safeTransferFrom(address,address,uint256)",
                (from, to, n).abi_encode_params(),
                Some(What::Items(one)),
            ),
            (
                "safeTransferFrom(address,address,uint256,bytes)",
                (from, to, n, none.clone()).abi_encode_params(),
                Some(What::Items(one)),
            ),
            (
                "safeTransferFrom(address,address,uint256,uint256,bytes)",
                (from, to, one, n, none.clone()).abi_encode_params(),
                Some(What::Items(n)),
            ),
            (
                "safeBatchTransferFrom(address,address,uint256[],uint256[],bytes)",
                batch,
                Some(What::Items(U256::from(14))),
            ),
        ] {
            let expected: Vec<Move> = expected.map(|what| Move { to, what }).into_iter().collect();
            assert_eq!(moves(&encoded(signature, args)), expected, "{signature}");
        }
    }

    #[test]
    fn the_calls_inside_a_multicall_are_read() {
        let inside = transfer(FRIEND, 5);
        let (own, hers) = (vec![inside.clone()], vec![(TOKEN, inside.clone())]);
        let word = FixedBytes::<32>::ZERO;
        for (signature, args) in [
            ("multicall(bytes[])", (own.clone(),).abi_encode_params()),
            ("multicall(uint256,bytes[])", (U256::ONE, own.clone()).abi_encode_params()),
            ("multicall(bytes32,bytes[])", (word, own).abi_encode_params()),
            ("aggregate((address,bytes)[])", (hers.clone(),).abi_encode_params()),
            ("blockAndAggregate((address,bytes)[])", (hers.clone(),).abi_encode_params()),
            ("tryAggregate(bool,(address,bytes)[])", (true, hers.clone()).abi_encode_params()),
            ("tryBlockAndAggregate(bool,(address,bytes)[])", (true, hers).abi_encode_params()),
            (
                "aggregate3((address,bool,bytes)[])",
                (vec![(TOKEN, false, inside.clone())],).abi_encode_params(),
            ),
            (
                "aggregate3Value((address,bool,uint256,bytes)[])",
                (vec![(TOKEN, false, U256::ZERO, inside.clone())],).abi_encode_params(),
            ),
        ] {
            let found = calls(TOKEN, &encoded(signature, args));
            assert_eq!(found.len(), 2, "{signature}: {found:?}");
            assert_eq!(found[0].does, Does::Multicall, "{signature}");
            assert_eq!(found[1..], calls(TOKEN, &inside), "{signature}");
        }
    }

    /// Another reader of the same bytes would see something else in them, or nothing.
    #[test]
    fn what_is_not_encoded_canonically_is_not_understood() {
        let good = transfer(FRIEND, 5).to_vec();
        let mut dirty = good.clone();
        dirty[4] = 1;
        let nested = encoded("multicall(bytes[])", (vec![transfer(FRIEND, 5)],).abi_encode_params()).to_vec();
        // The list's offset points a word further, over a gap.
        let mut shifted = nested.clone();
        shifted[35] = 0x40;
        shifted.splice(36..36, [0; 32]);
        let batch = (HUB, FRIEND, vec![U256::ONE], vec![U256::ONE; 2], Bytes::new()).abi_encode_params();
        for bad in [
            [good.as_slice(), &[0]].concat(),
            [good.as_slice(), &[0; 32]].concat(),
            good[..good.len() - 1].to_vec(),
            good[..4].to_vec(),
            dirty,
            shifted,
            [nested.as_slice(), &[0; 32]].concat(),
            encoded("setApprovalForAll(address,bool)", (FRIEND, U256::from(2)).abi_encode_params()).to_vec(),
            encoded("safeBatchTransferFrom(address,address,uint256[],uint256[],bytes)", batch).to_vec(),
        ] {
            let found = calls(TOKEN, &bad.clone().into());
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].does, Does::Malformed, "{}", hex::encode(bad));
        }
        for opaque in [vec![1], vec![0xa9, 0x05, 0x9c], vec![0xde, 0xad, 0xbe, 0xef]] {
            assert_eq!(calls(TOKEN, &opaque.into())[0].does, Does::Opaque);
        }
        assert_eq!(calls(TOKEN, &Bytes::new())[0].does, Does::Nothing);
    }

    /// A few thousand entries that all point at the same 100 KB would be hundreds of megabytes.
    #[test]
    fn offsets_that_share_bytes_are_refused() {
        let word = |n: usize| U256::from(n).to_be_bytes::<32>();
        let (entries, bytes) = (500, 100 * 1024);
        let mut args = [word(32), word(entries)].concat();
        for _ in 0..entries {
            args.extend(word(entries * 32));
        }
        args.extend(word(bytes));
        args.resize(args.len() + bytes, 0);
        assert_eq!(calls(TOKEN, &encoded("multicall(bytes[])", args))[0].does, Does::Malformed);
    }

    #[test]
    fn depth_and_number_are_bounded() {
        let mut deep = transfer(FRIEND, 1);
        for _ in 0..MAX_DEPTH {
            deep = encoded("multicall(bytes[])", (vec![deep],).abi_encode_params());
        }
        assert!(calls(TOKEN, &deep).iter().all(|call| call.does != Does::Malformed));
        let deeper = encoded("multicall(bytes[])", (vec![deep],).abi_encode_params());
        assert_eq!(calls(TOKEN, &deeper).last().unwrap().does, Does::Malformed);

        let many = |n| encoded("multicall(bytes[])", (vec![transfer(FRIEND, 1); n],).abi_encode_params());
        assert_eq!(calls(TOKEN, &many(MAX_CALLS - 1)).len(), MAX_CALLS);
        assert_eq!(calls(TOKEN, &many(MAX_CALLS))[0].does, Does::Malformed);
        // Multicalls that multiply end at the bound, too.
        let wide = encoded("multicall(bytes[])", (vec![many(8); 8],).abi_encode_params());
        let found = calls(TOKEN, &wide);
        assert!(found.len() <= MAX_CALLS + 8, "{}", found.len());
        assert!(found.iter().any(|call| call.does == Does::Malformed));
    }

    /// A tree of calls, and the plain sum of what it moves.
    #[derive(Clone, Debug)]
    enum Tree {
        Transfer(u64),
        Approve(u64),
        Nothing(u64),
        Own(Vec<Tree>),
        Others(Vec<Tree>),
    }

    impl Tree {
        fn data(&self) -> Bytes {
            let list = |inner: &[Self]| inner.iter().map(Self::data).collect::<Vec<_>>();
            match self {
                Self::Transfer(n) => transfer(FRIEND, *n),
                Self::Approve(n) => {
                    encoded("approve(address,uint256)", (FRIEND, U256::from(*n)).abi_encode_params())
                }
                Self::Nothing(_) => Bytes::new(),
                Self::Own(inner) => encoded("multicall(bytes[])", (list(inner),).abi_encode_params()),
                Self::Others(inner) => {
                    let value = |tree: &Self| U256::from(if let Self::Nothing(n) = tree { *n } else { 0 });
                    let calls: Vec<_> =
                        inner.iter().map(|tree| (TOKEN, true, value(tree), tree.data())).collect();
                    encoded("aggregate3Value((address,bool,uint256,bytes)[])", (calls,).abi_encode_params())
                }
            }
        }

        /// Calls, tokens, wei that a multicall sends.
        fn counted(&self, paid: bool) -> (usize, u128, u128) {
            match self {
                Self::Transfer(n) | Self::Approve(n) => (1, u128::from(*n), 0),
                Self::Nothing(n) => (1, 0, if paid { u128::from(*n) } else { 0 }),
                Self::Own(inner) | Self::Others(inner) => {
                    let paid = matches!(self, Self::Others(_));
                    inner
                        .iter()
                        .map(|tree| tree.counted(paid))
                        .fold((1, 0, 0), |(calls, tokens, wei), more| {
                            (calls + more.0, tokens + more.1, wei + more.2)
                        })
                }
            }
        }
    }

    fn tree() -> impl Strategy<Value = Tree> {
        let leaf = prop_oneof![
            any::<u64>().prop_map(Tree::Transfer),
            any::<u64>().prop_map(Tree::Approve),
            any::<u64>().prop_map(Tree::Nothing),
        ];
        leaf.prop_recursive(4, 40, 4, |inner| {
            let list = proptest::collection::vec(inner, 0..4);
            prop_oneof![list.clone().prop_map(Tree::Own), list.prop_map(Tree::Others)]
        })
    }

    proptest! {
        #[test]
        fn nested_calls_add_up(tree in tree()) {
            let found = calls(TOKEN, &tree.data());
            let (number, tokens, wei) = tree.counted(false);
            prop_assume!(number <= MAX_CALLS);
            prop_assert!(found.iter().all(|call| !matches!(call.does, Does::Malformed | Does::Opaque)));
            prop_assert_eq!(found.len(), number);
            let mut sum = U256::ZERO;
            for call in &found {
                if let Does::Moves(moves) = &call.does {
                    for one in moves {
                        prop_assert_eq!(one.to, FRIEND);
                        match one.what {
                            What::Transfer(n) | What::Approval(n) => sum += n,
                            other => prop_assert!(false, "{:?}", other),
                        }
                    }
                }
            }
            prop_assert_eq!(sum, U256::from(tokens));
            prop_assert_eq!(found.iter().fold(U256::ZERO, |sum, call| sum + call.value), U256::from(wei));
        }

        /// Whatever the bytes are, there is an answer, of bounded length.
        #[test]
        fn any_bytes_have_an_answer(which in 0usize..9, rest in proptest::collection::vec(any::<u8>(), 0..600)) {
            let heads = ["ac9650d8", "5ae401dc", "252dba42", "bce38bd7", "82ad56cb", "174dea71", "2eb2c2d6",
                "a9059cbb", "8fcbaf0c"];
            let data = [hex::decode(heads[which]).unwrap(), rest].concat();
            prop_assert!(calls(TOKEN, &data.into()).len() <= 2 * MAX_CALLS);
        }
    }
}
