//! Shares that were ended before their time.

use domain::{ShareId, Time};

use super::Ledger;
use super::tables::ENDED_SHARES;
use crate::refuse::Result;

impl Ledger {
    /// Remembers an ended share until it would have expired.
    pub async fn end_share(&self, share: ShareId, expires_at: Time) -> Result<()> {
        self.write(move |book| {
            book.change(ENDED_SHARES)?.insert(share.as_bytes(), expires_at.millis())?;
            Ok(())
        })
        .await
    }

    pub fn share_ended(&self, share: ShareId) -> Result<bool> {
        self.read(|tx| Ok(tx.open_table(ENDED_SHARES)?.get(share.as_bytes())?.is_some()))
    }
}
