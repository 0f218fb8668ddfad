//! Argon2id, off the async threads and bounded: a flood of logins must not starve everything else.

use std::sync::Arc;

use argon2::{Algorithm, Argon2, Params, Version};
use domain::limit::too_many;
use domain::{Error, Result, SecretText};
use signer_protocol::wire::Secret;
use tokio::sync::Semaphore;

/// OWASP's parameters for Argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Log-ins that may wait for their turn; each holds a request in memory.
const PLACES: usize = 128;
/// Of a salt, in bytes.
pub const SALT: usize = 16;

#[derive(Clone)]
pub struct Hasher {
    slots: Arc<Semaphore>,
    /// Those that hash and those that wait.
    places: Arc<Semaphore>,
}

impl Hasher {
    /// As many hashes at once as there are cores, less one for everything else.
    pub fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let slots = Arc::new(Semaphore::new(cores.saturating_sub(1).max(1)));
        Self { slots, places: Arc::new(Semaphore::new(PLACES)) }
    }

    /// What the signer checks a password by: 32 bytes.
    pub async fn stretch(&self, password: &SecretText, salt: &[u8]) -> Result<Secret> {
        let _place = self.places.try_acquire().map_err(|_| busy())?;
        let _slot = self.slots.acquire().await.map_err(Error::internal)?;
        let (password, salt) = (password.clone(), salt.to_vec());
        tokio::task::spawn_blocking(move || {
            let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(32)).map_err(Error::internal)?;
            let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
            let mut output = vec![0; 32];
            argon2
                .hash_password_into(password.expose().as_bytes(), &salt, &mut output)
                .map_err(Error::internal)?;
            Ok(Secret::from(output))
        })
        .await
        .map_err(Error::internal)?
    }
}

/// More people log in than the gateway has room for.
pub fn busy() -> Error {
    too_many("Too many people log in right now.", 2)
}

/// Fills with random bytes from the system.
pub fn fill(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(Error::internal)
}

/// Random bytes from the system.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    fill(&mut bytes)?;
    Ok(bytes)
}
