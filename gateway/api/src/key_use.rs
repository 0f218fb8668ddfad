//! What is noted of personal API keys off a request's path: when one was last used, and that somebody tried one in
//! vain. A request never waits for it; so a wrong key takes no longer than one that nobody has.

use std::time::Duration;

use domain::audit::Event;
use domain::{ApiKeyId, Result, Time};
use moka::sync::Cache;
use store::{Store, api_keys};
use tokio::sync::mpsc;

/// How exact `last_used_at` is.
pub const COARSE: Duration = Duration::from_secs(60);
/// Notes that may wait to be written. More are left out: each costs a commit, and anyone can try keys.
const QUEUE: usize = 256;
const CAPACITY: u64 = 20_000;

enum Note {
    Used(ApiKeyId, Time),
    Failed(Event),
}

pub struct KeyUse {
    /// Keys whose use was noted a moment ago.
    noted: Cache<ApiKeyId, ()>,
    queue: mpsc::Sender<Note>,
}

impl KeyUse {
    /// Starts to write what is noted, until the gateway ends.
    pub fn start(store: Store) -> Self {
        let (queue, mut waiting) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            while let Some(note) = waiting.recv().await {
                if let Err(error) = write(&store, note).await {
                    tracing::warn!(%error, "the use of an API key could not be noted");
                }
            }
        });
        Self { noted: Cache::builder().max_capacity(CAPACITY).time_to_live(COARSE).build(), queue }
    }

    /// A token of the key was used.
    pub fn used(&self, key: ApiKeyId, at: Time) {
        if self.noted.contains_key(&key) {
            return;
        }
        self.noted.insert(key, ());
        if self.queue.try_send(Note::Used(key, at)).is_err() {
            self.noted.invalidate(&key);
        }
    }

    /// Somebody tried a key that is not the right one.
    pub fn failed(&self, event: Event) {
        if let Err(error) = self.queue.try_send(Note::Failed(event)) {
            tracing::warn!(%error, "a wrong API key was not put on the audit trail: too many at once");
        }
    }
}

async fn write(store: &Store, note: Note) -> Result<()> {
    let mut tx = store.begin().await?;
    match note {
        Note::Used(key, at) => api_keys::used(&mut tx, key, at, COARSE).await?,
        Note::Failed(event) => tx.record(event),
    }
    tx.commit().await
}
