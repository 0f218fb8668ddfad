//! The connection that is used now, and how the next one comes about when it fails.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use cryptoki::session::Session;

use super::connection::Connection;
use super::failure::Failure;
use super::{Config, module};
use crate::keys::{KeyError, OpenError, Result};

/// How long a failed attempt is remembered: callers are told at once, and an HSM that starts up is left in peace.
const RETRY: Duration = Duration::from_secs(1);

pub struct Link {
    config: Config,
    state: Mutex<State>,
}

enum State {
    Up(Arc<Connection>),
    /// Tried again after [`RETRY`].
    Down {
        cause: String,
        tried: Instant,
        last: Weak<()>,
    },
    /// Never tried again: the third wrong PIN or so locks the token.
    Refused {
        cause: String,
    },
}

impl Link {
    pub fn new(config: Config, connection: Connection) -> Self {
        Self { config, state: Mutex::new(State::Up(Arc::new(connection))) }
    }

    /// Does `work` in a session. A call that fails is not repeated: whether the HSM did it is not known.
    pub fn call<T>(
        &self,
        work: impl FnOnce(&Connection, &Session) -> std::result::Result<T, Failure>,
    ) -> Result<T> {
        Ok(self.connection()?.call(work)?)
    }

    fn connection(&self) -> Result<Arc<Connection>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let last = match &*state {
            State::Up(connection) if !connection.is_broken() => return Ok(connection.clone()),
            State::Up(connection) => connection.in_module(),
            State::Down { cause, tried, .. } if tried.elapsed() < RETRY => {
                return Err(KeyError::Unavailable(cause.clone()));
            }
            State::Down { last, .. } => last.clone(),
            State::Refused { cause } => return Err(KeyError::Unavailable(cause.clone())),
        };
        // The broken connection's sessions close here, but for those in which a call still runs.
        *state = State::Down { cause: String::new(), tried: Instant::now(), last: last.clone() };
        let (next, answer) = match self.reconnect(&last) {
            Ok(connection) => {
                tracing::info!(token = self.config.token, "connected to the HSM again");
                let connection = Arc::new(connection);
                (State::Up(connection.clone()), Ok(connection))
            }
            Err(error) => {
                let mut cause = error.to_string();
                if error.is_about_pin() {
                    cause.push_str(" (it is not tried again until the signer is restarted)");
                }
                tracing::error!(cause, "can't connect to the HSM");
                let answer = Err(KeyError::Unavailable(cause.clone()));
                match error.is_about_pin() {
                    true => (State::Refused { cause }, answer),
                    false => (State::Down { cause, tried: Instant::now(), last }, answer),
                }
            }
        };
        *state = next;
        answer
    }

    fn reconnect(&self, last: &Weak<()>) -> std::result::Result<Connection, OpenError> {
        match Connection::open(&self.config) {
            // Ending the module under a call that still runs in it is undefined (PKCS#11 2.40, §5.4).
            Err(error) if !error.is_about_pin() && last.strong_count() == 0 => {
                tracing::debug!(%error, "starting the PKCS#11 module anew");
                module::end(&self.config.module);
                Connection::open(&self.config)
            }
            opened => opened,
        }
    }
}
