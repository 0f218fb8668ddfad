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

use super::ways::after_another;
use super::{Attempt, Revert, RevertKind, Run, Simulation, Source, told};
use crate::error::line;
use crate::fees::GAS_CAP;
use crate::node::Node;
use crate::rpc::client;
use answer::{Bundle, CANT_RUN, Problem, Single, Words};

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

impl TenderlySettings {
    /// Takes the key out of a text.
    fn scrub(&self, text: &str) -> String {
        text.replace(self.key.expose(), "…")
    }
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
    // That it is left out where a contract is created is JSON-RPC's habit; Tenderly documents no other.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Address>,
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
    /// chain's node is asked. `currency`: what the chain's own is called.
    ///
    /// # Errors
    /// If Tenderly says nothing of the transactions.
    pub async fn simulate(
        &self,
        chain_id: u64,
        currency: &str,
        node: &Node,
        attempts: &[Attempt],
    ) -> Result<Vec<Simulation>, TenderlyError> {
        let runs = match self.answers(chain_id, attempts).await {
            Ok(answers) => self.runs(attempts, answers)?,
            Err(Asking::CantRun(why)) => refused(attempts, &why),
            Err(Asking::Failed(error)) => return Err(error),
        };
        Ok(told(node, currency, attempts, runs, Source::Tenderly).await)
    }

    async fn answers(&self, chain_id: u64, attempts: &[Attempt]) -> Result<Vec<Single>, Asking> {
        if let [one] = attempts {
            return Ok(vec![self.ask("simulate", &Asked::of(chain_id, one)).await?]);
        }
        let asked: Vec<_> = attempts.iter().map(|attempt| Asked::of(chain_id, attempt)).collect();
        let bundle: Bundle = self.ask("simulate-bundle", &json!({"simulations": asked})).await?;
        Ok(bundle.simulation_results)
    }

    /// Those after one that failed are not tried by Tenderly, and missing in its answer.
    fn runs(&self, attempts: &[Attempt], answers: Vec<Single>) -> Result<Vec<Run>, TenderlyError> {
        let many = answers.len();
        let runs =
            answers.into_iter().zip(attempts).map(|(answer, attempt)| answer.run(attempt, &self.settings));
        let runs: Result<Vec<Run>, _> = runs.collect();
        let mut runs = runs.map_err(|what| TenderlyError::Malformed(what.to_owned()))?;
        let stopped = runs.last().is_some_and(|last| last.failure.is_some());
        if many > attempts.len() || (many < attempts.len() && !stopped) {
            let text = format!("{many} results for {} transactions", attempts.len());
            return Err(TenderlyError::Malformed(text));
        }
        runs.resize_with(attempts.len(), || Run::failed(after_another()));
        Ok(runs)
    }

    async fn ask<R: DeserializeOwned>(&self, what: &'static str, body: &impl Serialize) -> Result<R, Asking> {
        let TenderlySettings { url, account, project, .. } = &self.settings;
        let url = Url::parse(&format!("{url}/api/v1/account/{account}/project/{project}/{what}"));
        let url = url.map_err(|error| TenderlyError::Unreachable(error.to_string()))?;
        let request = self.client.post(url).header("x-access-key", self.key.clone()).json(body);
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let body = read(response).await?;
        let problem = serde_json::from_slice(&body).ok().map(|Problem { error }| error);
        match problem {
            Some(words) if !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                Err(self.refused(status, words))
            }
            None if status.is_success() => serde_json::from_slice(&body).map_err(|error| {
                TenderlyError::Malformed(line(&self.settings.scrub(&error.to_string()))).into()
            }),
            _ => Err(away(status).into()),
        }
    }

    /// It says why, with whatever status.
    fn refused(&self, status: StatusCode, words: Words) -> Asking {
        let said = line(&self.settings.scrub(&words.message.unwrap_or_default()));
        if words.slug.as_deref() == Some(CANT_RUN) {
            return Asking::CantRun(said);
        }
        if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
            return away(status).into();
        }
        TenderlyError::Refused(format!("{said} (HTTP {})", status.as_u16()).trim_start().to_owned()).into()
    }
}

/// Why there is no answer about the transactions.
enum Asking {
    Failed(TenderlyError),
    /// There is: they can't run.
    CantRun(String),
}

impl From<TenderlyError> for Asking {
    fn from(error: TenderlyError) -> Self {
        Self::Failed(error)
    }
}

/// Of a bundle, Tenderly doesn't say which one it is.
fn refused(attempts: &[Attempt], why: &str) -> Vec<Run> {
    let failure = match attempts {
        [_] => Revert::new(RevertKind::CantRun, why),
        _ => Revert::new(RevertKind::NotTried, &format!("one of the transactions can't run: {why}")),
    };
    attempts.iter().map(|_| Run::failed(failure.clone())).collect()
}

/// A status without words of Tenderly's own.
fn away(status: StatusCode) -> TenderlyError {
    let code = status.as_u16();
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            TenderlyError::Refused(format!("it does not take the configured key (HTTP {code})"))
        }
        StatusCode::TOO_MANY_REQUESTS => {
            TenderlyError::Unreachable(format!("it limits our requests (HTTP {code})"))
        }
        status if status.is_client_error() => TenderlyError::Refused(format!("HTTP {code}")),
        _ => TenderlyError::Unreachable(format!("HTTP {code}")),
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
