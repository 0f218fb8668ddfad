//! The signer, for commands that run beside a gateway or without one: the gateway's, or one started for this.

use signer_protocol::{Address, Client};

use crate::StartError;
use crate::config::Config;
use crate::data::Data;
use crate::process::{Running, Signer};
use crate::worker::signer_address;

/// A signer that answers.
pub struct Reached {
    pub client: Client,
    /// Ended when it is left; the folder is ours as long.
    own: Option<(Running, std::fs::File)>,
}

impl Reached {
    pub async fn signer(config: &Config) -> Result<Self, StartError> {
        if let Some(address) = signer_address(&config.signer)? {
            return Ok(Self { client: Client::new(address), own: None });
        }
        let ledger = config.data.join("signer").join(signer::ledger::FILE);
        if !ledger.exists() {
            return Err(StartError::Config(format!(
                "there is no ledger {}: name the data folder (--data)",
                ledger.display()
            )));
        }
        let data = Data::open(&config.data)?;
        let own = match data.lock() {
            Ok(lock) => Some((Signer::new(config, &data).start().await?, lock)),
            // A gateway runs there, and its signer.
            Err(StartError::DataInUse(_)) => None,
            Err(error) => return Err(error),
        };
        Ok(Self { client: Client::new(Address::Unix(data.socket())), own })
    }

    pub async fn leave(self) {
        if let Some((running, lock)) = self.own {
            running.end(std::time::Duration::from_secs(15)).await;
            drop(lock);
        }
    }
}
