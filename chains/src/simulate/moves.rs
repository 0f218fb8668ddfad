//! What moves, and who may take what, from the events of a run.

use std::collections::BTreeMap;

use alloy::sol_types::SolEvent as _;
use alloy_primitives::{Address, B256, Bytes, LogData, U256, address};
use serde::Deserialize;

// Events of ERC-20, ERC-721 and ERC-1155. ERC-721's Transfer and Approval have the signatures of ERC-20's, with the third
// value indexed.
alloy::sol! {
    event Transfer(address indexed from, address indexed to, uint256 value);
    event Approval(address indexed owner, address indexed spender, uint256 value);
    event ApprovalForAll(address indexed owner, address indexed operator, bool approved);
    event TransferSingle(address indexed operator, address indexed from, address indexed to, uint256 id, uint256 value);
    event TransferBatch(address indexed operator, address indexed from, address indexed to, uint256[] ids, uint256[] values);
}

/// Whose "events" are transfers of ether, by `traceTransfers` of `eth_simulateV1`. No contract can be there.
const ETHER: Address = address!("eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee");

/// What can be had.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Asset {
    Ether,
    Erc20 { token: Address },
    Erc721 { token: Address, id: U256 },
    Erc1155 { token: Address, id: U256 },
}

impl Asset {
    pub fn token(&self) -> Option<Address> {
        match *self {
            Self::Ether => None,
            Self::Erc20 { token } | Self::Erc721 { token, .. } | Self::Erc1155 { token, .. } => Some(token),
        }
    }

    /// Which one, where a contract has several.
    pub fn id(&self) -> Option<U256> {
        match *self {
            Self::Ether | Self::Erc20 { .. } => None,
            Self::Erc721 { id, .. } | Self::Erc1155 { id, .. } => Some(id),
        }
    }

    pub fn standard(&self) -> &'static str {
        match self {
            Self::Ether => "native",
            Self::Erc20 { .. } => "erc20",
            Self::Erc721 { .. } => "erc721",
            Self::Erc1155 { .. } => "erc1155",
        }
    }
}

/// How much.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Granted {
    /// Of an ERC-20, in its smallest unit. None: it is taken back.
    Amount(U256),
    /// One ERC-721.
    One(U256),
    /// All of the owner's, now and later; or no more.
    All(bool),
}

/// Somebody is let to take what is another's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Allowance {
    pub token: Address,
    pub owner: Address,
    pub spender: Address,
    pub granted: Granted,
}

/// What an account gained and lost of something. Both stop at the largest number: a contract may claim anything.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Moved {
    pub gained: U256,
    pub lost: U256,
}

/// An event, as nodes give it.
#[derive(Clone, Deserialize, Debug)]
pub struct Log {
    pub address: Address,
    pub topics: Vec<B256>,
    #[serde(default)]
    pub data: Bytes,
}

/// All the moves of a run.
#[derive(Default, Debug)]
pub struct Moves {
    pub by_account: BTreeMap<(Address, Asset), Moved>,
    /// The last word on each.
    allowances: BTreeMap<(Address, Address, Scope), Allowance>,
}

/// Of what an allowance is: a later one takes the place of one for the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Scope {
    Amount {
        spender: Address,
    },
    /// One at a time may take an item.
    One(U256),
    All {
        spender: Address,
    },
}

impl Moves {
    /// `traced`: transfers of ether are among the events.
    pub fn read(logs: &[Log], traced: bool) -> Self {
        let mut moves = Self::default();
        for log in logs {
            moves.add(log, traced);
        }
        moves
    }

    /// Who may take what afterwards, as far as that changes.
    pub fn allowances(&self) -> Vec<Allowance> {
        self.allowances.values().cloned().collect()
    }

    fn grant(&mut self, token: Address, owner: Address, spender: Address, granted: Granted) {
        let scope = match granted {
            Granted::Amount(_) => Scope::Amount { spender },
            Granted::One(id) => Scope::One(id),
            Granted::All(_) => Scope::All { spender },
        };
        self.allowances.insert((owner, token, scope), Allowance { token, owner, spender, granted });
    }

    /// A transfer of ether, as a trace has it. A contract that is created stands there as the zero address: its own is not
    /// known before the nonce.
    pub fn ether(from: Address, to: Option<Address>, value: U256) -> Option<Log> {
        let to = to.unwrap_or(Address::ZERO);
        let (topics, data) = Transfer { from, to, value }.encode_log_data().split();
        (!value.is_zero()).then_some(Log { address: ETHER, topics, data })
    }

    /// What isn't an event of these standards, or only looks like one, moves nothing that is known.
    fn add(&mut self, log: &Log, traced: bool) {
        let token = log.address;
        let Some(data) = LogData::new(log.topics.clone(), log.data.clone()) else { return };
        let Some(kind) = log.topics.first() else { return };
        let is_indexed = log.topics.len() == 4;
        match *kind {
            Transfer::SIGNATURE_HASH if is_indexed => {
                let (from, to, id) =
                    (account(&log.topics, 1), account(&log.topics, 2), number(&log.topics, 3));
                self.transfer(from, to, Asset::Erc721 { token, id }, U256::ONE);
            }
            Transfer::SIGNATURE_HASH => {
                let Ok(event) = Transfer::decode_log_data(&data) else { return };
                let asset = if traced && token == ETHER { Asset::Ether } else { Asset::Erc20 { token } };
                self.transfer(event.from, event.to, asset, event.value);
            }
            Approval::SIGNATURE_HASH if is_indexed => {
                let (owner, spender) = (account(&log.topics, 1), account(&log.topics, 2));
                self.grant(token, owner, spender, Granted::One(number(&log.topics, 3)));
            }
            Approval::SIGNATURE_HASH => {
                let Ok(Approval { owner, spender, value }) = Approval::decode_log_data(&data) else { return };
                self.grant(token, owner, spender, Granted::Amount(value));
            }
            ApprovalForAll::SIGNATURE_HASH => {
                let Ok(event) = ApprovalForAll::decode_log_data(&data) else { return };
                self.grant(token, event.owner, event.operator, Granted::All(event.approved));
            }
            TransferSingle::SIGNATURE_HASH => {
                let Ok(event) = TransferSingle::decode_log_data(&data) else { return };
                self.transfer(event.from, event.to, Asset::Erc1155 { token, id: event.id }, event.value);
            }
            TransferBatch::SIGNATURE_HASH => {
                let Ok(event) = TransferBatch::decode_log_data(&data) else { return };
                for (id, value) in event.ids.into_iter().zip(event.values) {
                    self.transfer(event.from, event.to, Asset::Erc1155 { token, id }, value);
                }
            }
            _ => {}
        }
    }

    /// From and to the zero address are making and destroying.
    pub fn transfer(&mut self, from: Address, to: Address, asset: Asset, amount: U256) {
        if from == to || amount.is_zero() {
            return;
        }
        if !from.is_zero() || asset == Asset::Ether {
            let of = self.by_account.entry((from, asset)).or_default();
            of.lost = of.lost.saturating_add(amount);
        }
        if !to.is_zero() || asset == Asset::Ether {
            let of = self.by_account.entry((to, asset)).or_default();
            of.gained = of.gained.saturating_add(amount);
        }
    }
}

fn account(topics: &[B256], at: usize) -> Address {
    Address::from_word(topics.get(at).copied().unwrap_or_default())
}

fn number(topics: &[B256], at: usize) -> U256 {
    topics.get(at).copied().unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: Address = Address::repeat_byte(9);
    const A: Address = Address::repeat_byte(1);
    const B: Address = Address::repeat_byte(2);

    fn log(event: LogData) -> Log {
        let (topics, data) = event.split();
        Log { address: TOKEN, topics, data }
    }

    fn moved(logs: &[Log], account: Address, asset: Asset) -> (u64, u64) {
        let moves = Moves::read(logs, false);
        let of = moves.by_account.get(&(account, asset)).copied().unwrap_or_default();
        (of.gained.to(), of.lost.to())
    }

    #[test]
    fn events_of_the_three_standards_are_told_apart() {
        let seven = U256::from(7);
        let plain = log(Transfer { from: A, to: B, value: seven }.encode_log_data());
        let fungible = Asset::Erc20 { token: TOKEN };
        assert_eq!(moved(std::slice::from_ref(&plain), A, fungible), (0, 7));
        assert_eq!(moved(std::slice::from_ref(&plain), B, fungible), (7, 0));
        let one = Log {
            topics: vec![Transfer::SIGNATURE_HASH, A.into_word(), B.into_word(), seven.into()],
            data: Bytes::new(),
            address: TOKEN,
        };
        assert_eq!(moved(&[one], B, Asset::Erc721 { token: TOKEN, id: seven }), (1, 0));
        let batch = TransferBatch {
            operator: A,
            from: Address::ZERO,
            to: B,
            ids: vec![seven, U256::ONE],
            values: vec![U256::ONE, seven],
        };
        let batch = log(batch.encode_log_data());
        assert_eq!(
            moved(std::slice::from_ref(&batch), B, Asset::Erc1155 { token: TOKEN, id: U256::ONE }),
            (7, 0)
        );
        assert_eq!(Moves::read(&[batch], false).by_account.len(), 2, "nobody loses what is made");
        let all = Moves::read(
            &[log(ApprovalForAll { owner: A, operator: B, approved: true }.encode_log_data())],
            false,
        );
        assert_eq!(all.allowances()[0].granted, Granted::All(true));
    }

    #[test]
    fn what_only_looks_like_an_event_moves_nothing() {
        let mut short = log(Transfer { from: A, to: B, value: U256::ONE }.encode_log_data());
        short.data = Bytes::from(vec![1; 31]);
        let none = Log { topics: vec![], ..short.clone() };
        let many = Log { topics: vec![Transfer::SIGNATURE_HASH; 5], ..short.clone() };
        let mut batch =
            log(TransferBatch { operator: A, from: A, to: B, ids: vec![], values: vec![] }.encode_log_data());
        batch.data = Bytes::from(vec![0xff; 64]);
        assert!(Moves::read(&[short, none, many, batch], true).by_account.is_empty());
    }

    #[test]
    fn claims_without_end_stop_at_the_largest_number_and_ether_is_believed_only_of_a_trace() {
        let huge = log(Transfer { from: A, to: B, value: U256::MAX }.encode_log_data());
        let twice = Moves::read(&[huge.clone(), huge], false);
        assert_eq!(twice.by_account[&(B, Asset::Erc20 { token: TOKEN })].gained, U256::MAX);
        let mut ether = log(Transfer { from: A, to: B, value: U256::ONE }.encode_log_data());
        ether.address = ETHER;
        let has = |traced| {
            Moves::read(std::slice::from_ref(&ether), traced).by_account.contains_key(&(A, Asset::Ether))
        };
        assert!(has(true) && !has(false));
    }

    #[test]
    fn of_allowances_the_last_word_counts() {
        let approve = |spender, value: u64| {
            log(Approval { owner: A, spender, value: U256::from(value) }.encode_log_data())
        };
        let item = |spender: Address| Log {
            topics: vec![Approval::SIGNATURE_HASH, A.into_word(), spender.into_word(), U256::from(7).into()],
            data: Bytes::new(),
            address: TOKEN,
        };
        let logs = [approve(B, 9), approve(TOKEN, 1), approve(B, 4), item(B), item(TOKEN)];
        let left: Vec<_> =
            Moves::read(&logs, false).allowances().into_iter().map(|a| (a.spender, a.granted)).collect();
        let amount = |much: u64| Granted::Amount(U256::from(much));
        assert_eq!(left, [(B, amount(4)), (TOKEN, amount(1)), (TOKEN, Granted::One(U256::from(7)))]);
    }
}
