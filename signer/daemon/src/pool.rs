//! The keystore's own threads: its calls block, and must not hold up the async ones.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

use crate::keys::{self, KeyError, Keystore};
use crate::refuse::{Result, tampered, unavailable};

/// Requests that may wait for a thread. Beyond that, they wait at the socket.
const QUEUE: usize = 1024;

type Job = Box<dyn FnOnce(&dyn Keystore) + Send>;

/// A keystore with a fixed number of threads that use it.
pub struct KeyPool {
    jobs: mpsc::Sender<Job>,
    keystore: Arc<dyn Keystore>,
}

impl KeyPool {
    /// # Errors
    /// If the system gives no threads.
    pub fn start(keystore: Arc<dyn Keystore>, threads: usize) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>(QUEUE);
        let queue = Arc::new(Mutex::new(queue));
        for n in 0..threads.max(1) {
            let (queue, keystore) = (queue.clone(), keystore.clone());
            std::thread::Builder::new().name(format!("keys-{n}")).spawn(move || {
                // The lock is held while waiting for a job, and not while doing it.
                let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
                while let Some(job) = next() {
                    // A panic inside a module's binding must not cost the pool a thread; its asker sees the
                    // answer's sender dropped.
                    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job(&*keystore)));
                }
            })?;
        }
        Ok(Self { jobs, keystore })
    }

    pub fn keystore(&self) -> &dyn Keystore {
        &*self.keystore
    }

    /// Does `work` on one of the keystore's threads, or here and now if it needs none.
    ///
    /// # Errors
    /// `Tampered` for what this keystore did not make, `Unavailable` when it can't be used.
    pub async fn on_keys<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Keystore) -> keys::Result<T> + Send + 'static,
    ) -> Result<T> {
        let done = if self.keystore.waits() { self.elsewhere(work).await? } else { work(&*self.keystore) };
        done.map_err(|error| match error {
            KeyError::Rejected(cause) => {
                tracing::warn!(cause, "the keystore rejects what it was given");
                tampered("This was not made by this signer's keystore, or belongs to something else.")
            }
            KeyError::Unavailable(cause) => broken(&cause),
        })
    }

    async fn elsewhere<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Keystore) -> keys::Result<T> + Send + 'static,
    ) -> Result<keys::Result<T>> {
        let (tell, answer) = oneshot::channel();
        let job: Job = Box::new(move |keystore| {
            // An asker who has gone away needs no answer.
            let _ = tell.send(work(keystore));
        });
        self.jobs.send(job).await.map_err(|_| broken("its threads have ended"))?;
        answer.await.map_err(|_| broken("its thread failed"))
    }
}

fn broken(cause: &str) -> signer_protocol::Refusal {
    tracing::error!(cause, "the keystore can't be used");
    unavailable("The keystore is not available; try again in a moment.")
}
