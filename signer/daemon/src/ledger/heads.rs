//! Where each organisation's audit chain stood when it was last signed.

use domain::OrgId;
use redb::ReadableTable as _;

use super::Ledger;
use super::tables::HEADS;
use crate::refuse::{Result, conflict};

/// The last event of a chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    pub sequence: u64,
    pub hash: [u8; 32],
    /// Milliseconds.
    pub signed_at: i64,
}

impl Ledger {
    /// The newest head of the chain, if one was taken.
    pub fn last_head(&self, org: OrgId) -> Result<Option<Head>> {
        let last = self.read(|tx| Ok(tx.open_table(HEADS)?.get(org.as_bytes())?.map(|last| last.value())))?;
        Ok(last.map(|(sequence, hash, signed_at)| Head { sequence, hash, signed_at }))
    }

    /// Takes a head as the chain's newest, and answers when it was first taken, in milliseconds: for the same head again
    /// that is the same time, so that its signature is the same.
    ///
    /// # Errors
    /// `Conflict` for a lower sequence, and for another hash at the same one: the chain was put back, or written anew.
    pub async fn head(&self, org: OrgId, head: Head) -> Result<i64> {
        self.write(move |book| {
            let last = book.table(HEADS)?.get(org.as_bytes())?.map(|last| last.value());
            match last {
                Some((sequence, hash, at)) if (sequence, hash) == (head.sequence, head.hash) => Ok(at),
                Some((sequence, ..)) if head.sequence <= sequence => {
                    if head.sequence == sequence {
                        tracing::error!(%org, sequence, "an audit chain was written anew: another event was signed there");
                    } else {
                        // Of two gateways that ask at once, one may be late. If none was, the gateway says so.
                        tracing::warn!(%org, asked = head.sequence, signed = sequence, "an audit chain has gone back");
                    }
                    Err(conflict(format!(
                        "The audit chain was signed up to event {sequence} already, and is not that chain any more: its \
                         database was put back or changed."
                    ))
                    .into())
                }
                _ => {
                    let kept = (head.sequence, head.hash, head.signed_at);
                    book.change(HEADS)?.insert(org.as_bytes(), kept)?;
                    Ok(head.signed_at)
                }
            }
        })
        .await
    }
}
