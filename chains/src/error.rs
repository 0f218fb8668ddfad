//! What can go wrong with a node, and what the caller of the gateway is told about it.

use alloy::rpc::json_rpc::ErrorPayload;
use domain::unseen::is_invisible;
use domain::{Error, Kind};

use crate::address::NodeUrl;
use crate::simulate::Revert;

/// What of a node's words is kept, in characters.
const LONGEST_TEXT: usize = 300;

/// Why a node did not do what it was asked. The texts never hold the node's address.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NodeError {
    /// Away, too slow, refusing our credentials, or asked too often. It may have received the request.
    #[error("the chain's node can't be reached: {0}")]
    Unreachable(String),
    /// It said no.
    #[error("the chain's node answers: {message} (code {code})")]
    Answered {
        code: i64,
        message: String,
        /// Why the transaction that was asked about would fail; `None` if the trouble is not the transaction's.
        revert: Option<Revert>,
    },
    /// Its answer makes no sense.
    #[error("the chain's node answers nonsense: {0}")]
    Malformed(String),
}

impl From<NodeError> for Error {
    fn from(error: NodeError) -> Self {
        let detail = match &error {
            NodeError::Unreachable(_) => {
                "The chain's node is not reachable; try again in a moment.".to_owned()
            }
            NodeError::Malformed(_) => {
                "The chain's node gives answers that make no sense; an operator has to look at it.".to_owned()
            }
            NodeError::Answered { revert: Some(reason), .. } => {
                return Self::new(
                    Kind::Unprocessable,
                    format!("The transaction would fail: {}.", sentence(&reason.to_string())),
                )
                .because(error);
            }
            NodeError::Answered { message, .. } => {
                format!("The chain's node refuses: {}.", sentence(message))
            }
        };
        Self::unavailable(detail).because(error)
    }
}

fn sentence(text: &str) -> &str {
    text.trim_end_matches(['.', ' '])
}

impl NodeError {
    /// A JSON-RPC error.
    pub(crate) fn answered(payload: &ErrorPayload, url: &NodeUrl) -> Self {
        let message = clean(&payload.message, url);
        if payload.is_retry_err() {
            return Self::Unreachable(format!("it limits our requests: {message}"));
        }
        let revert = payload.as_revert_data().and_then(|data| Revert::decode(&data, |text| url.scrub(text)));
        Self::Answered { code: payload.code, message, revert }
    }

    /// An answer to a question about a transaction: what is not the node's own trouble is the transaction's.
    pub(crate) fn about_a_transaction(self) -> Self {
        match self {
            Self::Answered { code, message, revert: None } if !is_nodes_own(code, &message) => {
                Self::Answered { code, revert: Some(Revert::said(&message)), message }
            }
            other => other,
        }
    }
}

/// Whether the node has trouble of its own, by JSON-RPC 2.0 §5.1 and EIP-1474. The internal error is also what some
/// nodes say when the virtual machine stops.
fn is_nodes_own(code: i64, message: &str) -> bool {
    const METHOD_NOT_FOUND: i64 = -32601;
    const INTERNAL: i64 = -32603;
    const RESOURCE_UNAVAILABLE: i64 = -32002;
    const METHOD_NOT_SUPPORTED: i64 = -32004;
    const MALFORMED: [i64; 2] = [-32700, -32600];
    let message = message.to_ascii_lowercase();
    let about_the_run = ["revert", "gas", "funds", "balance", "execution", "opcode", "stack", "nonce"];
    let lost_state = ["missing trie node", "header not found", "state not available", "block not found"];
    match code {
        METHOD_NOT_FOUND | RESOURCE_UNAVAILABLE | METHOD_NOT_SUPPORTED => true,
        INTERNAL => !about_the_run.iter().any(|word| message.contains(word)),
        code => MALFORMED.contains(&code) || lost_state.iter().any(|words| message.contains(words)),
    }
}

/// A node's words, fit for a log and an answer: one line of printable characters, not long, without its address.
pub(crate) fn clean(text: &str, url: &NodeUrl) -> String {
    line(&url.scrub(text))
}

/// Anybody's words as one line of printable characters, not long.
pub(crate) fn line(text: &str) -> String {
    // Control characters would forge log lines; the invisible ones and those that turn the direction of writing would
    // make a reader see something else than there is.
    let printable = |c: char| !c.is_control() && !is_invisible(c);
    let line: String = text.chars().map(|c| if printable(c) { c } else { ' ' }).collect();
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST_TEXT) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url() -> NodeUrl {
        NodeUrl::parse("https://node.example/v2/s3cret-key").unwrap()
    }

    fn answered(json: &str) -> NodeError {
        NodeError::answered(&serde_json::from_str(json).unwrap(), &url())
    }

    fn revert(error: NodeError) -> Option<String> {
        match error {
            NodeError::Answered { revert, .. } => revert.map(|revert| revert.to_string()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn reverts_are_decoded_wherever_the_node_puts_them() {
        let string = "0x08c379a0\
            0000000000000000000000000000000000000000000000000000000000000020\
            000000000000000000000000000000000000000000000000000000000000000a\
            6e6f7420746f64617921000000000000000000000000000000000000000000\
            00";
        let geth = format!(r#"{{"code":3,"message":"execution reverted: not today!","data":"{string}"}}"#);
        assert_eq!(revert(answered(&geth)).unwrap(), "execution reverted: not today!");
        let nested =
            format!(r#"{{"code":-32603,"message":"error","data":{{"data":"{string}","message":"x"}}}}"#);
        // Only where the message speaks of a revert does alloy look into the data.
        assert_eq!(revert(answered(&nested)), None);
        let nested = nested.replace("\"error\"", "\"VM Exception: revert\"");
        assert_eq!(revert(answered(&nested)).unwrap(), "execution reverted: not today!");
        let panic =
            format!(r#"{{"code":3,"message":"execution reverted","data":"0x4e487b71{:064x}"}}"#, 0x11);
        let said = revert(answered(&panic)).unwrap();
        assert!(
            said.starts_with("execution panicked: ") && said.contains("overflow") && said.ends_with("(0x11)"),
            "{said}"
        );
        let own = r#"{"code":3,"message":"execution reverted","data":"0xdeadbeef00"}"#;
        assert_eq!(
            revert(answered(own)).unwrap(),
            "execution reverted with the contract's own error 0xdeadbeef"
        );
        let bare = r#"{"code":3,"message":"execution reverted","data":"0x"}"#;
        assert_eq!(revert(answered(bare)), None);
        assert_eq!(revert(answered(bare).about_a_transaction()).unwrap(), "execution reverted");
    }

    #[test]
    fn a_transactions_trouble_is_told_from_the_nodes() {
        for (json, transactions) in [
            (r#"{"code":-32000,"message":"insufficient funds for transfer"}"#, true),
            (r#"{"code":-32000,"message":"gas required exceeds allowance (1000)"}"#, true),
            (r#"{"code":-32000,"message":"invalid opcode: INVALID"}"#, true),
            (r#"{"code":-32015,"message":"VM execution error."}"#, true),
            (r#"{"code":-32603,"message":"EVM error OutOfGas"}"#, true),
            (r#"{"code":-32603,"message":"Internal error"}"#, false),
            (
                r#"{"code":-32601,"message":"the method eth_estimateGas does not exist/is not available"}"#,
                false,
            ),
            (r#"{"code":-32000,"message":"missing trie node 1234 (path )"}"#, false),
            (r#"{"code":-32002,"message":"the node is syncing"}"#, false),
        ] {
            let error = Error::from(answered(json).about_a_transaction());
            let kind = if transactions { Kind::Unprocessable } else { Kind::Unavailable };
            assert_eq!(error.kind(), kind, "{json}");
        }
    }

    #[test]
    fn a_node_that_limits_us_is_away_for_a_while() {
        for json in [
            r#"{"code":429,"message":"slow down"}"#,
            r#"{"code":-32005,"message":"daily request count exceeded, request rate limited"}"#,
        ] {
            assert!(matches!(answered(json), NodeError::Unreachable(_)), "{json}");
            assert_eq!(Error::from(answered(json)).kind(), Kind::Unavailable);
        }
    }

    #[test]
    fn a_nodes_words_are_cleaned() {
        let said =
            clean("bad\r\n2026-01-01 INFO forged \u{202e}line at /v2/s3cret-key\u{0}\u{1b}[31m", &url());
        assert_eq!(said, "bad 2026-01-01 INFO forged line at /v2/… [31m");
        assert_eq!(
            line("a\u{e0041}\u{61c}b\u{ad}\u{fe0f}c"),
            "a b c",
            "tags, marks and selectors that nobody sees"
        );
        let long = clean(&"é".repeat(10_000), &url());
        assert_eq!(long.chars().count(), LONGEST_TEXT + 1);
        assert!(long.ends_with('…'));
    }
}
