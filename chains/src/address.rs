//! A node's address, which may carry an API key: in its user, host name, path or query. None of these appears in an
//! error or a log, but for the host name, which the HTTP libraries log below INFO.

use domain::{Error, Result};
use reqwest::Url;

/// Shorter parts (`v2`, `rpc`) are no keys, and cutting them would garble messages.
const SHORTEST_KEY: usize = 6;

/// Of an address, in bytes.
const LONGEST: usize = 2048;

/// Checks an address that an operator gives, before it is kept: `checked("ws_url", text, ["wss", "ws"])`. What comes
/// back is what was given, trimmed.
///
/// # Errors
/// `Invalid`, naming the field, without repeating what may hold a key.
pub fn checked(field: &str, text: &str, schemes: [&str; 2]) -> Result<String> {
    let text = text.trim();
    let wrong = || {
        let [one, other] = schemes;
        Error::invalid(
            field,
            format!("must be an {one}:// or {other}:// address of at most {LONGEST} characters"),
        )
    };
    // The parser would drop line breaks and tabs silently.
    if text.len() > LONGEST || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(wrong());
    }
    let url = Url::parse(text).map_err(|_| wrong())?;
    if schemes.contains(&url.scheme()) && url.has_host() { Ok(text.to_owned()) } else { Err(wrong()) }
}

/// An `http:` or `https:` address that doesn't print.
#[derive(Clone)]
pub struct NodeUrl(Url);

impl NodeUrl {
    /// # Errors
    /// `Invalid`, naming `rpc_url`, without repeating it.
    pub fn parse(text: &str) -> Result<Self> {
        let url = Url::parse(text.trim())
            .map_err(|_| Error::invalid("rpc_url", "must be an http:// or https:// address"))?;
        match url.scheme() {
            "http" | "https" => Ok(Self(url)),
            "ws" | "wss" => Err(Error::invalid(
                "rpc_url",
                "WebSocket addresses can't be used for requests; give the node's http:// or https:// address",
            )),
            _ => Err(Error::invalid("rpc_url", "must be an http:// or https:// address")),
        }
    }

    /// The address itself, for connecting. Each use is a place to review.
    pub fn expose(&self) -> &Url {
        &self.0
    }

    /// Takes every part of the address that may be a key out of a text.
    pub fn scrub(&self, text: &str) -> String {
        let mut parts = vec![self.0.as_str().to_owned()];
        parts.extend(self.0.host_str().filter(|host| !is_local(host)).map(str::to_owned));
        parts.extend([self.0.username().to_owned(), self.0.password().unwrap_or_default().to_owned()]);
        parts.extend(self.0.path_segments().into_iter().flatten().map(str::to_owned));
        parts.extend(self.0.query_pairs().map(|(_, value)| value.into_owned()));
        parts.retain(|part| part.len() >= SHORTEST_KEY);
        // The longest first, so that none leaves the rest of another behind.
        parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
        parts.iter().fold(text.to_owned(), |text, part| text.replace(part.as_str(), "…"))
    }
}

/// Says nothing about anybody, and occurs in honest messages.
fn is_local(host: &str) -> bool {
    host == "localhost" || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok()
}

impl std::fmt::Debug for NodeUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NodeUrl(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_http_is_taken_and_nothing_is_repeated() {
        for good in ["http://127.0.0.1:8545", "https://u:p@node.example/v2/key?k=1", " http://[::1]:8545 "] {
            assert!(NodeUrl::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "hunter2",
            "//hunter2",
            "file:///hunter2",
            "ws://hunter2",
            "wss://x/hunter2",
            "http://",
            "ftp://hunter2",
        ] {
            let error = NodeUrl::parse(bad).unwrap_err();
            assert_eq!(error.kind(), domain::Kind::Invalid, "{bad}");
            assert!(
                error.detail().starts_with("rpc_url: ") && !error.to_string().contains("hunter2"),
                "{error}"
            );
        }
        assert!(NodeUrl::parse("wss://node.example").unwrap_err().detail().contains("WebSocket"));
    }

    #[test]
    fn what_an_operator_gives_is_checked_before_it_is_kept() {
        let http = |text: &str| checked("rpc_url", text, ["https", "http"]);
        assert_eq!(http(" https://node.example/v2/key ").unwrap(), "https://node.example/v2/key");
        assert!(checked("ws_url", "wss://node.example", ["wss", "ws"]).is_ok());
        let long = format!("https://node.example/{}", "x".repeat(LONGEST));
        for bad in [
            "",
            "hunter2",
            "ws://hunter2",
            "http://",
            "http://a/hun\nter2",
            "file:///hunter2",
            "javascript:hunter2",
            &long,
        ] {
            let error = http(bad).unwrap_err();
            assert!(error.detail().starts_with("rpc_url: must be an https://"), "{error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        assert!(checked("ws_url", "https://node.example", ["wss", "ws"]).is_err());
    }

    #[test]
    fn no_part_that_may_be_a_key_survives() {
        let url = "https://user-key:pass-key@host-key.example:8443/v2/path-key?apikey=query%2Dkey";
        let url = NodeUrl::parse(url).unwrap();
        let said = url.scrub(
            "no such project path-key (query-key) at https://host-key.example/v2/path-key for user-key:pass-key, v2",
        );
        for key in ["path-key", "query-key", "host-key", "user-key", "pass-key"] {
            assert!(!said.contains(key), "{said}");
        }
        assert!(said.starts_with("no such project …") && said.ends_with(", v2"), "{said}");
        assert_eq!(format!("{url:?}"), "NodeUrl(…)");
        let local = NodeUrl::parse("http://127.0.0.1:8545").unwrap();
        assert_eq!(local.scrub("127.0.0.1 refuses"), "127.0.0.1 refuses");
    }
}
