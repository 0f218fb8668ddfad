//! Argon2id, off the async threads and bounded: a flood of logins must not starve everything else.

use std::sync::{Arc, Mutex, PoisonError};

use argon2::{Algorithm, Argon2, Params, Version};
use domain::limit::too_many;
use domain::{Error, Result, SecretText, secret};
use signer_protocol::wire::Secret;
use tokio::sync::{mpsc, oneshot};

/// OWASP's parameters for Argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Log-ins, and whatever else hashes a password, that may wait or be looked at, on this gateway; each holds a request in memory. One client has a share of them.
pub const PLACES: usize = 128;
/// How far the threads step back (`nice(2)`): where cores are scarce, those who are in come before those who log in, who
/// still get about a tenth.
const NICE: i32 = 10;
/// Of a salt, in bytes.
pub const SALT: usize = 16;

/// Threads of its own that do nothing else.
#[derive(Clone)]
pub struct Hasher {
    jobs: mpsc::Sender<Job>,
}

struct Job {
    password: SecretText,
    salt: Vec<u8>,
    answer: oneshot::Sender<Result<Secret>>,
}

impl Hasher {
    /// As many threads as there are cores, less one for everything else.
    ///
    /// # Errors
    /// `Unavailable` if the system gives no threads.
    pub fn start() -> Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (jobs, queue) = mpsc::channel(PLACES);
        let queue = Arc::new(Mutex::new(queue));
        for n in 0..cores.saturating_sub(1).max(1) {
            let queue = queue.clone();
            let thread = std::thread::Builder::new().name(format!("passwords-{n}"));
            thread.spawn(move || hash_all(&queue)).map_err(|error| {
                Error::unavailable(format!("The threads that hash passwords don't start: {error}."))
            })?;
        }
        Ok(Self { jobs })
    }

    /// What the signer checks a password by: 32 bytes.
    ///
    /// # Errors
    /// `TooManyRequests` when too many wait.
    pub async fn stretch(&self, password: &SecretText, salt: &[u8]) -> Result<Secret> {
        let (answer, hashed) = oneshot::channel();
        let job = Job { password: password.clone(), salt: salt.to_vec(), answer };
        self.jobs.try_send(job).map_err(|_| busy())?;
        hashed.await.map_err(Error::internal)?
    }
}

/// Until the hasher is gone.
fn hash_all(queue: &Mutex<mpsc::Receiver<Job>>) {
    // On Linux a thread's own matter; elsewhere it would be the whole process's.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICE) {
        tracing::warn!(%error, "hashing passwords gets no lower priority");
    }
    // The lock is held while waiting for a job, and not while doing it.
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
    while let Some(Job { password, salt, answer }) = next() {
        // Who has hung up needs no hash.
        if !answer.is_closed() {
            let _gone = answer.send(hash(&password, &salt));
        }
    }
}

fn hash(password: &SecretText, salt: &[u8]) -> Result<Secret> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(32)).map_err(Error::internal)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut output = vec![0; 32];
    secret::leaving_no_trace(|| argon2.hash_password_into(password.expose().as_bytes(), salt, &mut output))
        .map_err(Error::internal)?;
    Ok(Secret::from(output))
}

/// More people log in than the gateway has room for.
pub fn busy() -> Error {
    too_many("Too many people log in or sign up right now.", 2)
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
