//! What a node says to a signed transaction. Nodes word it differently; the tables hold what each of them says.

use crate::error::NodeError;

/// A node's answer to a signed transaction. None of these ends the transaction's life: whoever has the bytes can send
/// them again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Broadcast {
    Accepted,
    /// The node has it already, in its pool or in a block.
    AlreadyKnown,
    /// A transaction at this nonce is in a block: this one or another.
    NonceTooLow,
    /// The fees are too low: on their own, or to replace another transaction.
    Underpriced(String),
    /// Anything else, in the node's words: no funds, too little gas, a full pool.
    Rejected(String),
}

// Phrases in lower case, matched as whole words by `says`: "unknown transaction type" is no "known transaction".

const KNOWN: &[&str] = &[
    // go-ethereum, reth, erigon; older go-ethereum and besu; nethermind's AlreadyKnown
    "already known",
    "known transaction",
    // anvil, OpenEthereum ("with the same hash was already imported")
    "already imported",
    // erigon's pool: ALREADY_EXISTS, "existing tx with same hash"; zkEVM: "with the same hash already exists"
    "already exists",
    "existing tx with same hash",
    // Tendermint chains (Cronos, Evmos)
    "already in mempool",
    "already exists in cache",
];

const NONCE_TOO_LOW: &[&str] = &[
    // go-ethereum, anvil, reth, erigon, besu (NONCE_TOO_LOW)
    "nonce too low",
    // OpenEthereum
    "nonce is too low",
    // nethermind
    "old nonce",
];

const UNDERPRICED: &[&str] = &[
    // go-ethereum, reth, anvil, besu: "transaction underpriced", "replacement transaction underpriced"
    "underpriced",
    // erigon
    "could not replace existing tx",
    "fee too low",
    // nethermind: FeeTooLow, FeeTooLowToCompete, "ReplacementNotAllowed"
    "replacement not allowed",
    // the base fee: go-ethereum, anvil, reth; besu
    "less than block base fee",
    "below current base fee",
    // besu; OpenEthereum; Tendermint chains
    "below configured minimum gas price",
    "gas price too low",
    "gas price is too low",
    "insufficient fee",
    // go-ethereum's light limits and L2 sequencers
    "gas price below minimum",
    "gas tip cap below minimum",
    "below the minimum",
];

impl Broadcast {
    /// Sorts a node's refusal.
    ///
    /// # Errors
    /// What is no word on the transaction: an unreachable node, nonsense, a node without the method.
    pub(crate) fn refused(error: NodeError) -> Result<Self, NodeError> {
        let error = error.about_a_transaction();
        let NodeError::Answered { message, revert, .. } = &error else { return Err(error) };
        let words = words(message);
        // The nonce comes before the rest: "OldNonce" with a price complaint is still final.
        let phrases = |table: &[&str]| table.iter().any(|phrase| says(&words, phrase));
        if phrases(KNOWN) {
            Ok(Self::AlreadyKnown)
        } else if phrases(NONCE_TOO_LOW) {
            Ok(Self::NonceTooLow)
        } else if phrases(UNDERPRICED) {
            Ok(Self::Underpriced(message.clone()))
        } else if let Some(reason) = revert {
            Ok(Self::Rejected(reason.to_string()))
        } else {
            Err(error)
        }
    }
}

/// `AlreadyKnown`, `ALREADY_KNOWN` and `already known.` as ` already known `.
fn words(message: &str) -> String {
    let mut words = String::from(" ");
    let mut previous = ' ';
    for c in message.chars() {
        if previous.is_lowercase() && c.is_uppercase() {
            words.push(' ');
        }
        words.extend(if c.is_alphanumeric() { c } else { ' ' }.to_lowercase());
        previous = c;
    }
    format!(" {} ", words.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn says(words: &str, phrase: &str) -> bool {
    words.contains(&format!(" {phrase} "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(code: i64, message: &str) -> Result<Broadcast, NodeError> {
        Broadcast::refused(NodeError::Answered { code, message: message.to_owned(), revert: None })
    }

    #[test]
    fn nodes_that_have_it_already() {
        for message in [
            "already known",
            "ALREADY_EXISTS: already known",
            "INTERNAL_ERROR: existing tx with same hash",
            "AlreadyKnown",
            "Known transaction",
            "known transaction: 0x1234",
            "transaction already imported",
            "Transaction with the same hash was already imported.",
            "tx already in mempool",
            "tx already exists in cache",
        ] {
            assert_eq!(said(-32000, message), Ok(Broadcast::AlreadyKnown), "{message}");
        }
    }

    #[test]
    fn nonces_that_are_in_a_block() {
        for message in [
            "nonce too low",
            "nonce too low: address 0xf39F, tx: 3 state: 7",
            "nonce too low: next nonce 7, tx nonce 3",
            "NONCE_TOO_LOW",
            "Nonce too low",
            "OldNonce",
            "OldNonce, Current nonce: 7, nonce of rejected tx: 3",
            "Transaction nonce is too low. Try incrementing the nonce.",
        ] {
            assert_eq!(said(-32000, message), Ok(Broadcast::NonceTooLow), "{message}");
        }
    }

    #[test]
    fn fees_that_are_too_low() {
        for message in [
            "transaction underpriced",
            "transaction underpriced: gas tip cap 1, minimum needed 1000000",
            "replacement transaction underpriced",
            "REPLACEMENT_UNDERPRICED",
            "could not replace existing tx",
            "FeeTooLow",
            "FeeTooLowToCompete",
            "max fee per gas less than block base fee: address 0xf39F, maxFeePerGas: 1, baseFee: 7",
            "Gas price below current base fee",
            "Transaction gas price is too low. There is another transaction with same nonce in the queue.",
            "insufficient fee: got 1, required 2",
        ] {
            assert_eq!(said(-32000, message), Ok(Broadcast::Underpriced(message.to_owned())), "{message}");
        }
    }

    #[test]
    fn everything_else_that_it_says_of_the_transaction() {
        for message in [
            "insufficient funds for gas * price + value: balance 0, tx cost 21000",
            "Insufficient funds for gas * price + value",
            "UPFRONT_COST_EXCEEDS_BALANCE",
            "InsufficientFunds, Account balance: 0",
            "intrinsic gas too low",
            "exceeds block gas limit",
            "nonce too high",
            "invalid chain id for signer: have 1 want 5",
            "unknown transaction type",
            "unknown nonce too lowered",
            "txpool is full",
            "Failed to decode transaction",
        ] {
            assert_eq!(said(-32000, message), Ok(Broadcast::Rejected(message.to_owned())), "{message}");
        }
    }

    #[test]
    fn a_broken_node_has_not_refused_the_transaction() {
        assert!(said(-32601, "the method eth_sendRawTransaction does not exist").is_err());
        assert!(said(-32603, "Internal error").is_err());
        assert!(Broadcast::refused(NodeError::Unreachable("timed out".to_owned())).is_err());
        // …but an internal error that names the reason has.
        assert_eq!(said(-32603, "nonce too low"), Ok(Broadcast::NonceTooLow));
        assert_eq!(said(-32603, "already known"), Ok(Broadcast::AlreadyKnown));
    }
}
