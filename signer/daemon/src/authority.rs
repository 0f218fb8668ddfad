//! All that the signer's rules need, in one place.

use std::sync::Arc;
use std::time::Duration;

use domain::{Clock, Wei};
use tokio::sync::Mutex;

use crate::backup::Copying;
use crate::keys::Keystore;
use crate::ledger::Ledger;
use crate::pool::KeyPool;
use crate::start::StartError;
use crate::statements::Statements;
use crate::tokens::Tokens;
use crate::webauthn::Origin;

/// The rules' parts: keys, statements, tokens, ledger, time.
pub struct Authority {
    pub pool: Arc<KeyPool>,
    pub statements: Statements,
    pub tokens: Tokens,
    pub ledger: Ledger,
    pub clock: Clock,
    pub limits: Limits,
    /// The copy of the ledger that is being taken.
    pub copying: Mutex<Option<Copying>>,
}

/// What the operator of the signer decides.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How long an accepted transfer may wait for its signature.
    pub intent_lifetime: Duration,
    /// The most that a transaction of an agent without a fee guardrail may cost in fees.
    pub max_fee: Wei,
    /// Where people use their passkeys; `None`: they can't.
    pub origin: Option<Origin>,
}

impl Authority {
    /// # Errors
    /// If the system gives no threads, or the token key is not one.
    pub fn new(
        keystore: Arc<dyn Keystore>,
        threads: usize,
        ledger: Ledger,
        clock: Clock,
        limits: Limits,
    ) -> Result<Self, StartError> {
        let tokens = Tokens::new(&keystore.token_public_key())?;
        let pool = KeyPool::start(keystore, threads)
            .map_err(|error| StartError::new(format!("the keystore's threads don't start ({error})")))?;
        let pool = Arc::new(pool);
        Ok(Self {
            statements: Statements::new(pool.clone()),
            pool,
            tokens,
            ledger,
            clock,
            limits,
            copying: Mutex::default(),
        })
    }
}
