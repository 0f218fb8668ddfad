//! A disk that stops writing: nothing is answered as done that is not on it.

use std::io::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use domain::{Clock, Time, TokenId};
use redb::StorageBackend;
use redb::backends::InMemoryBackend;
use signer_protocol::Reason;

use super::Ledger;

#[derive(Debug, Default)]
struct Disk {
    pages: InMemoryBackend,
    full: Arc<AtomicBool>,
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64> {
        self.pages.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        self.pages.read(offset, out)
    }
    fn set_len(&self, len: u64) -> Result<()> {
        self.pages.set_len(len)
    }
    fn sync_data(&self) -> Result<()> {
        if self.full.load(Ordering::Relaxed) {
            Err(Error::other("no space left"))
        } else {
            self.pages.sync_data()
        }
    }
    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.pages.write(offset, data)
    }
}

#[tokio::test]
async fn a_change_that_is_not_on_the_disk_is_not_answered_as_done() {
    let disk = Disk::default();
    let full = disk.full.clone();
    let ledger = Ledger::over(disk, "memory", Clock::default()).unwrap();
    let expires_at = Time::from_millis(i64::MAX / 2);
    ledger.revoke(TokenId::new(), expires_at).await.unwrap();
    ledger.health().unwrap();

    full.store(true, Ordering::Relaxed);
    let lost = ledger.revoke(TokenId::new(), expires_at).await;
    assert_eq!(lost.unwrap_err().reason, Reason::Unavailable);
    let next = ledger.revoke(TokenId::new(), expires_at).await;
    assert_eq!(next.unwrap_err().reason, Reason::Unavailable);
    assert_eq!(ledger.health().unwrap_err().reason, Reason::Unavailable, "the trouble does not show");
}
