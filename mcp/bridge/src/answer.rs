//! An answer of the gateway's, or why there is none.

use reqwest::{Response, Url};

/// The most that an answer may have, in bytes.
const MOST: usize = 16 * 1024 * 1024;

/// The whole body. What answers at the address need not be a gateway, and may never end.
///
/// # Errors
/// The sentence for the client.
pub async fn body(base: &Url, mut answer: Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| unreachable(base, &error))? {
        if chunk.len() > MOST - body.len() {
            return Err(format!("What answers at {base} sends more than 16 MiB. Check ONECLAW_BASE_URL."));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The sentence for a gateway that does not answer. `error` says nothing of headers or bodies.
pub fn unreachable(base: &Url, error: &reqwest::Error) -> String {
    let why = if error.is_timeout() { "did not answer in time" } else { "can't be reached" };
    format!("The gateway at {base} {why}. Check ONECLAW_BASE_URL, and that Talon runs.")
}
