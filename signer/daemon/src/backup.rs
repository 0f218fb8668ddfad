//! The ledger's copy for a backup, in parts that fit a frame, attested at the end.

use sha2::{Digest as _, Sha256};
use signer_protocol::backup::{CopyLedger, LedgerCopy, LedgerPart};
use signer_protocol::wire::Blob;

use crate::authority::Authority;
use crate::ledger::{Given, Moment};
use crate::refuse::{Result, conflict, unavailable};

/// A copy that somebody takes.
pub struct Copying {
    id: u64,
    copy: Moment,
    hash: Sha256,
}

impl Authority {
    /// Gives a copy of the ledger. It has nothing that opens or signs, and the socket's peers may see it.
    ///
    /// # Errors
    /// `Conflict` if another copy was begun since, `Unavailable`.
    pub async fn copy_ledger(&self, request: CopyLedger) -> Result<LedgerPart> {
        let mut going_on = self.copying.lock().await;
        let asked = match request {
            CopyLedger::Begin => {
                let begun = Copying { id: random()?, copy: self.ledger.copy()?, hash: Sha256::new() };
                let id = begun.id;
                *going_on = Some(begun);
                return Ok(LedgerPart { copy: id, bytes: Blob(Vec::new()), end: None });
            }
            CopyLedger::Next { copy } => copy,
        };
        let copying = going_on.as_mut().filter(|copying| copying.id == asked).ok_or_else(|| {
            conflict("Another backup was begun since, or the signer was started again; begin anew.")
        })?;
        let entries = match copying.copy.next().await? {
            Given::Part(part) => {
                copying.hash.update(&part);
                return Ok(LedgerPart { copy: asked, bytes: Blob(part), end: None });
            }
            Given::End(entries) => entries,
        };
        let (mark, sha256) = (copying.copy.mark, copying.hash.clone().finalize().to_vec());
        *going_on = None;
        let copy = LedgerCopy {
            format: mark.format,
            line: mark.line,
            sequence: mark.sequence,
            entries,
            taken_at: self.clock.now(),
            sha256: Blob(sha256),
        };
        let end = Some(self.statements.attest(&copy).await?);
        Ok(LedgerPart { copy: asked, bytes: Blob(Vec::new()), end })
    }
}

fn random() -> Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|_| unavailable("The system gives no randomness."))?;
    Ok(u64::from_be_bytes(bytes))
}
