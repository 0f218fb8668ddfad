//! Where each organisation's audit chain stood when it was last signed.

use domain::{OrgId, Time};
use redb::ReadableTable as _;
use signer_protocol::audit::ForgottenHead;

use super::Ledger;
use super::tables::{FORGOTTEN_HEADS, HEADS, forgotten_head};
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

    /// Heads of the chain that were forgotten, the first one first.
    pub fn forgotten_heads(&self, org: OrgId) -> Result<Vec<ForgottenHead>> {
        self.read(|tx| {
            let all = forgotten_head(org, 0)..=forgotten_head(org, i64::MAX);
            tx.open_table(FORGOTTEN_HEADS)?
                .range(all)?
                .map(|entry| {
                    let (key, value) = entry?;
                    let (sequence, hash, signed_at) = value.value();
                    let mut at = [0; 8];
                    at.copy_from_slice(&key.value()[16..]);
                    Ok(ForgottenHead {
                        sequence,
                        hash,
                        signed_at: Time::from_millis(signed_at),
                        forgotten_at: Time::from_millis(i64::from_be_bytes(at)),
                    })
                })
                .collect()
        })
    }

    /// Forgets what was signed of the chain last, so that another history can be signed; that it was forgotten is kept for good.
    /// `None`: there was nothing to forget.
    pub async fn forget_head(&self, org: OrgId, now: Time) -> Result<Option<Head>> {
        self.write(move |book| {
            let Some(last) = book.table(HEADS)?.get(org.as_bytes())?.map(|last| last.value()) else {
                return Ok(None);
            };
            book.change(HEADS)?.remove(org.as_bytes())?;
            book.change(FORGOTTEN_HEADS)?.insert(forgotten_head(org, now.millis()), last)?;
            let (sequence, hash, signed_at) = last;
            Ok(Some(Head { sequence, hash, signed_at }))
        })
        .await
    }
}
