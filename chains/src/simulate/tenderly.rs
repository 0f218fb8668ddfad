//! Tenderly's HTTP API (<https://docs.tenderly.co/api-reference/simulator/simulate-transaction>).
//!
//! Whom it is asked for is the operator's to say; what is asked, Tenderly sees and keeps. Its answers are held as cheap as
//! a node's. The key goes into one header, and nowhere else.

mod answer;

use alloy_primitives::{Address, B256, Bytes};
use domain::{Error, SecretText};
use reqwest::header::{HeaderValue, InvalidHeaderValue};
use reqwest::{Client, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{Attempt, Simulation, Source, told};
use crate::error::line;
use crate::node::{GAS_CAP, Node};
use crate::rpc::client;
use answer::{Bundle, Problem, Single};

/// Of an answer, in bytes: traces are long.
const LONGEST_ANSWER: usize = 16 * 1024 * 1024;

/// Whose account, and where.
#[derive(Clone, Debug)]
pub struct TenderlySettings {
    /// Without a slash at its end: `https://api.tenderly.co`.
    pub url: String,
    pub account: String,
    pub project: String,
    pub key: SecretText,
}

/// Why Tenderly has not simulated. The texts never hold the key.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TenderlyError {
    #[error("Tenderly can't be reached: {0}")]
    Unreachable(String),
    #[error("Tenderly refuses: {0}")]
    Refused(String),
    #[error("Tenderly answers nonsense: {0}")]
    Malformed(String),
}

impl From<TenderlyError> for Error {
    fn from(error: TenderlyError) -> Self {
        let detail = match &error {
            TenderlyError::Unreachable(_) => {
                "Tenderly, which simulates here, is not reachable; try again in a moment.".to_owned()
            }
            TenderlyError::Refused(why) => {
                format!("Tenderly, which simulates here, refuses: {}.", why.trim_end_matches(['.', ' ']))
            }
            TenderlyError::Malformed(_) => {
                "Tenderly, which simulates here, gives answers that make no sense; an operator has to look at it."
                    .to_owned()
            }
        };
        Self::unavailable(detail).because(error)
    }
}

/// An account at Tenderly.
pub struct Tenderly {
    client: Client,
    settings: TenderlySettings,
    key: HeaderValue,
}

/// One transaction, as `simulate` takes it.
#[derive(Serialize)]
struct Asked {
    network_id: String,
    from: Address,
    to: Address,
    input: Bytes,
    /// Wei, decimal.
    value: String,
    gas: u64,
    // Nothing is paid for gas, so that balances differ by what moves alone.
    gas_price: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    access_list: Vec<Listed>,
    save: bool,
    save_if_fails: bool,
    simulation_type: &'static str,
}

#[derive(Serialize)]
struct Listed {
    address: Address,
    storage_keys: Vec<B256>,
}

impl Asked {
    fn of(chain_id: u64, attempt: &Attempt) -> Self {
        let call = &attempt.call;
        let listed = call.access_list.accounts().iter();
        Self {
            network_id: chain_id.to_string(),
            from: call.from,
            to: call.to,
            input: call.data.clone(),
            value: call.value.to_string(),
            gas: attempt.gas_limit.unwrap_or(GAS_CAP),
            gas_price: "0",
            access_list: listed
                .map(|account| Listed {
                    address: account.address,
                    storage_keys: account.storage_keys.clone(),
                })
                .collect(),
            save: true,
            save_if_fails: true,
            simulation_type: "full",
        }
    }
}

impl Tenderly {
    /// # Errors
    /// `Invalid` if the key can't be a header, `Internal` if there can be no HTTP client.
    pub fn new(settings: TenderlySettings) -> domain::Result<Self> {
        let client = client().map_err(|error| Error::internal(error.to_string()))?;
        let mut key = HeaderValue::from_str(settings.key.expose()).map_err(|_: InvalidHeaderValue| {
            Error::invalid("tenderly_key", "must be the access key alone, in one line")
        })?;
        key.set_sensitive(true);
        Ok(Self { client, settings, key })
    }

    /// Tries transactions one after the other, each in the state that the one before left. What tokens are called, the
    /// chain's node is asked.
    ///
    /// # Errors
    /// If Tenderly says nothing of the transactions.
    pub async fn simulate(
        &self,
        chain_id: u64,
        node: &Node,
        attempts: &[Attempt],
    ) -> Result<Vec<Simulation>, TenderlyError> {
        let answers = match attempts {
            [one] => vec![self.ask::<Single>("simulate", &Asked::of(chain_id, one)).await?],
            many => {
                let asked: Vec<_> = many.iter().map(|attempt| Asked::of(chain_id, attempt)).collect();
                let bundle: Bundle = self.ask("simulate-bundle", &json!({"simulations": asked})).await?;
                bundle.simulation_results
            }
        };
        if answers.len() != attempts.len() {
            let text = format!("{} results for {} transactions", answers.len(), attempts.len());
            return Err(TenderlyError::Malformed(text));
        }
        let runs = answers.into_iter().map(|answer| answer.run(&self.settings)).collect::<Result<_, _>>();
        let runs = runs.map_err(|what| TenderlyError::Malformed(what.to_owned()))?;
        Ok(told(node, attempts, runs, Source::Tenderly).await)
    }

    async fn ask<R: DeserializeOwned>(
        &self,
        what: &'static str,
        body: &impl Serialize,
    ) -> Result<R, TenderlyError> {
        let TenderlySettings { url, account, project, .. } = &self.settings;
        let url = Url::parse(&format!("{url}/api/v1/account/{account}/project/{project}/{what}"));
        let url = url.map_err(|error| TenderlyError::Unreachable(error.to_string()))?;
        let request = self.client.post(url).header("x-access-key", self.key.clone()).json(body);
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let body = read(response).await?;
        if status.is_success() {
            return serde_json::from_slice(&body)
                .map_err(|error| TenderlyError::Malformed(line(&error.to_string())));
        }
        Err(self.refused(status, &body))
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> TenderlyError {
        let code = status.as_u16();
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                TenderlyError::Refused(format!("it does not take the configured key (HTTP {code})"))
            }
            StatusCode::TOO_MANY_REQUESTS => {
                TenderlyError::Unreachable(format!("it limits our requests (HTTP {code})"))
            }
            status if status.is_client_error() => {
                let said = serde_json::from_slice::<Problem>(body).map(|problem| problem.error.message);
                let said = said.unwrap_or_default().replace(self.settings.key.expose(), "…");
                TenderlyError::Refused(format!("{} (HTTP {code})", line(&said)).trim_start().to_owned())
            }
            _ => TenderlyError::Unreachable(format!("HTTP {code}")),
        }
    }
}

fn unreachable(error: reqwest::Error) -> TenderlyError {
    let error = error.without_url();
    let why =
        if error.is_timeout() { "it did not answer in time".to_owned() } else { line(&error.to_string()) };
    TenderlyError::Unreachable(why)
}

async fn read(mut response: reqwest::Response) -> Result<Vec<u8>, TenderlyError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > LONGEST_ANSWER {
            return Err(TenderlyError::Malformed(format!("more than {} MiB", LONGEST_ANSWER >> 20)));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

impl std::fmt::Debug for Tenderly {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tenderly(…)")
    }
}
