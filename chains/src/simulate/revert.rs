//! Why a transaction fails: what a contract says of itself, in words.

use alloy::sol_types::{Panic, Revert as Refused, SolError as _, SolInterface as _};
use alloy_primitives::hex;

use crate::error::line;

// Of what contracts define themselves, the errors that a person meets most (EIP-6093, and OpenZeppelin's).
alloy::sol! {
    interface Common {
        error ERC20InsufficientBalance(address sender, uint256 balance, uint256 needed);
        error ERC20InsufficientAllowance(address spender, uint256 allowance, uint256 needed);
        error ERC20InvalidReceiver(address receiver);
        error ERC721NonexistentToken(uint256 tokenId);
        error ERC721InsufficientApproval(address operator, uint256 tokenId);
        error ERC1155InsufficientBalance(address sender, uint256 balance, uint256 needed, uint256 tokenId);
        error OwnableUnauthorizedAccount(address account);
    }
}
use Common::CommonErrors;

/// What kind of failure it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RevertKind {
    /// Solidity's `Error(string)`: the contract refuses, and says why.
    Error,
    /// Solidity's `Panic(uint256)`: a fault in the contract.
    Panic,
    /// An error that the contract defines.
    Custom,
    /// It refuses and says nothing, or its code can't go on.
    Bare,
    /// It takes more gas than it is given.
    OutOfGas,
    /// It can't even begin: too little money, or gas that is not enough for its bytes.
    CantRun,
    /// Nobody tried it; the reason says why.
    NotTried,
}

impl RevertKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "revert_error",
            Self::Panic => "revert_panic",
            Self::Custom => "revert_custom",
            Self::Bare => "revert",
            Self::OutOfGas => "out_of_gas",
            Self::CantRun => "cant_run",
            Self::NotTried => "not_simulated",
        }
    }
}

/// A failed run. The words may be the contract's, so anybody's: one line, printable, not long.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Revert {
    pub kind: RevertKind,
    /// The reason alone: "not today", "arithmetic overflow (0x11)", "0xdeadbeef".
    pub reason: String,
}

impl Revert {
    /// What a revert's data says; `None` if it says nothing. `scrub` takes out what must not be shown (a node's address, a
    /// key), before anything is cut: half a key would not be found any more.
    pub fn decode(data: &[u8], scrub: impl Fn(&str) -> String) -> Option<Self> {
        let (kind, reason) = read(data)?;
        Some(Self::new(kind, &scrub(&reason)))
    }

    /// Of a run that stopped: its output says most, then the node's word for it. `used_up`: all of its gas.
    pub fn stopped(output: &[u8], word: &str, used_up: bool, scrub: impl Fn(&str) -> String) -> Self {
        if let Some(revert) = Self::decode(output, &scrub) {
            return revert;
        }
        match Self::said(&scrub(word)) {
            stopped if stopped.kind == RevertKind::Panic => stopped,
            stopped if stopped.kind == RevertKind::OutOfGas || used_up => Self::out_of_gas(),
            _ => Self::bare(),
        }
    }

    pub fn new(kind: RevertKind, reason: &str) -> Self {
        Self { kind, reason: line(reason) }
    }

    pub fn out_of_gas() -> Self {
        Self::new(RevertKind::OutOfGas, "out of gas")
    }

    /// From a node's words alone.
    pub fn said(message: &str) -> Self {
        let lower = message.to_ascii_lowercase();
        let letters: String = lower.chars().filter(char::is_ascii_alphabetic).collect();
        if letters.contains("outofgas") {
            return Self::new(RevertKind::OutOfGas, message);
        }
        match lower.find("revert") {
            Some(_) => match message.split_once("reverted: ") {
                Some((_, reason)) => Self::new(RevertKind::Error, reason),
                None => Self::bare(),
            },
            None if ["opcode", "stack", "invalid jump"].iter().any(|word| lower.contains(word)) => {
                Self::new(RevertKind::Panic, message)
            }
            None => Self::new(RevertKind::CantRun, message),
        }
    }

    pub fn bare() -> Self {
        Self::new(RevertKind::Bare, "")
    }

    /// For a person.
    pub fn sentence(&self) -> String {
        let reason = self.reason.trim_end_matches(['.', ' ']);
        match self.kind {
            RevertKind::Error if reason.is_empty() => Self::bare().sentence(),
            RevertKind::Error => format!("The contract refuses: {reason}."),
            RevertKind::Panic => format!("The contract has a fault and stops: {reason}."),
            RevertKind::Custom => format!("The contract refuses with an error of its own: {reason}."),
            RevertKind::CantRun => format!("The transaction can't run: {reason}."),
            RevertKind::NotTried => format!("Not simulated: {reason}."),
            RevertKind::Bare => "The contract refuses and gives no reason.".to_owned(),
            RevertKind::OutOfGas => {
                "It runs out of gas; give a higher gas_limit, or leave it out to have it estimated."
                    .to_owned()
            }
        }
    }
}

/// As nodes say it.
impl std::fmt::Display for Revert {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let reason = &self.reason;
        match self.kind {
            RevertKind::Error => write!(f, "execution reverted: {reason}"),
            RevertKind::Panic => write!(f, "execution panicked: {reason}"),
            RevertKind::Custom => write!(f, "execution reverted with the contract's own error {reason}"),
            RevertKind::Bare => f.write_str("execution reverted"),
            RevertKind::OutOfGas | RevertKind::CantRun | RevertKind::NotTried => f.write_str(reason),
        }
    }
}

fn read(data: &[u8]) -> Option<(RevertKind, String)> {
    if let Ok(said) = Refused::abi_decode(data) {
        return Some((RevertKind::Error, said.reason));
    }
    if let Ok(panic) = Panic::abi_decode(data) {
        let what = panic.kind().map_or("unknown", |kind| kind.as_str());
        return Some((RevertKind::Panic, format!("{what} (0x{:02x})", panic.code)));
    }
    if let Ok(common) = CommonErrors::abi_decode(data) {
        return Some((RevertKind::Custom, words(&common)));
    }
    let selector: &[u8; 4] = data.first_chunk()?;
    Some((RevertKind::Custom, format!("0x{}", hex::encode(selector))))
}

fn words(error: &CommonErrors) -> String {
    match error {
        CommonErrors::ERC20InsufficientBalance(e) => {
            format!("{} has {} of the token's smallest unit, and needs {}", e.sender, e.balance, e.needed)
        }
        CommonErrors::ERC20InsufficientAllowance(e) => {
            format!(
                "{} may take {} of the token's smallest unit, and needs {}",
                e.spender, e.allowance, e.needed
            )
        }
        CommonErrors::ERC20InvalidReceiver(e) => format!("{} can't receive the token", e.receiver),
        CommonErrors::ERC721NonexistentToken(e) => format!("there is no token {}", e.tokenId),
        CommonErrors::ERC721InsufficientApproval(e) => {
            format!("{} may not move token {}", e.operator, e.tokenId)
        }
        CommonErrors::ERC1155InsufficientBalance(e) => {
            format!("{} has {} of token {}, and needs {}", e.sender, e.balance, e.tokenId, e.needed)
        }
        CommonErrors::OwnableUnauthorizedAccount(e) => format!("{} is not the contract's owner", e.account),
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, U256};

    use super::*;

    fn decode(data: &[u8]) -> Option<Revert> {
        Revert::decode(data, str::to_owned)
    }

    #[test]
    fn what_a_contract_says_becomes_a_sentence() {
        let error = Refused::from("not today.\u{202e}\nINFO forged".to_owned()).abi_encode();
        let error = decode(&error).unwrap();
        assert_eq!(
            (error.kind, error.sentence().as_str()),
            (RevertKind::Error, "The contract refuses: not today. INFO forged.")
        );
        let panic = decode(&Panic { code: U256::from(0x12) }.abi_encode()).unwrap();
        assert!(panic.kind == RevertKind::Panic && panic.sentence().ends_with("(0x12)."), "{panic:?}");
        let short = Common::ERC20InsufficientBalance {
            sender: Address::ZERO,
            balance: U256::from(5),
            needed: U256::from(9),
        };
        let short = decode(&short.abi_encode()).unwrap();
        assert!(short.sentence().contains("has 5 of the token's smallest unit, and needs 9"), "{short:?}");
        let own = decode(&[0xde, 0xad, 0xbe, 0xef, 1]).unwrap();
        assert_eq!((own.kind, own.reason.as_str()), (RevertKind::Custom, "0xdeadbeef"));
        assert_eq!(decode(&[1, 2, 3]), None);
        assert_eq!(Revert::bare().sentence(), "The contract refuses and gives no reason.");
        let empty = decode(&Refused::from(String::new()).abi_encode()).unwrap();
        assert_eq!(empty.sentence(), "The contract refuses and gives no reason.");
    }

    #[test]
    fn a_key_that_a_reason_holds_is_taken_out_before_it_is_cut() {
        let key = "s3cret-api-key";
        let scrub = |text: &str| text.replace(key, "…");
        for before in [0, 280, 290, 299, 300, 400] {
            let data = Refused::from(format!("{}{key} behind", "x".repeat(before))).abi_encode();
            let said = Revert::decode(&data, scrub).unwrap();
            assert!(!said.reason.contains("s3"), "{before}: {}", said.reason);
        }
    }

    #[test]
    fn a_run_that_stops_says_why_as_far_as_anybody_knows() {
        let stopped = |word: &str, used_up| Revert::stopped(&[], word, used_up, str::to_owned).kind;
        assert_eq!(stopped("out of gas", false), RevertKind::OutOfGas);
        assert_eq!(stopped("OutOfGas", false), RevertKind::OutOfGas);
        assert_eq!(stopped("invalid opcode: INVALID", true), RevertKind::Panic);
        assert_eq!(stopped("execution reverted", false), RevertKind::Bare);
        assert_eq!(stopped("execution reverted", true), RevertKind::OutOfGas);
        assert_eq!(stopped("", false), RevertKind::Bare);
        let data = Refused::from("no".to_owned()).abi_encode();
        assert_eq!(Revert::stopped(&data, "out of gas", true, str::to_owned).reason, "no");
    }
}
