//! Sending to an address that somebody has named: held to the same rules as fetching.

use std::time::Duration;

use http::HeaderMap;
use reqwest::StatusCode;

use super::{Egress, Failure, WHOLE, Word, told};

/// Until the answer's status is there: whoever is told of something may do something about it first.
const ANSWER: Duration = Duration::from_secs(10);

impl Egress {
    /// Sends a body, and says with what status it was taken. What else is answered is not read.
    ///
    /// # Errors
    /// See [`Failure`]: for the log.
    pub async fn post(
        &self,
        word: Word,
        address: &str,
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<StatusCode, Failure> {
        let url = self.check(address).map_err(Failure::Address)?;
        let own = self.own_of(word);
        let turn = tokio::time::timeout(WHOLE, self.turn(word, &own));
        let Ok(Ok(_slots)) = turn.await else { return Err(Failure::Busy) };
        let plain = url.scheme() == "http";
        let client = if plain { &self.inside } else { &self.outside };
        let sent = client.post(url).headers(headers).body(body).timeout(ANSWER).send().await;
        let response = sent.map_err(told)?;
        if response.remote_addr().is_none_or(|at| !self.rule(plain).lets(at.ip())) {
            return Err(Failure::Address("was dialled, and should not have been"));
        }
        Ok(response.status())
    }
}
