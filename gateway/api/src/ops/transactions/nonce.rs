//! Which nonce a transaction gets.

use domain::{Error, OrMissing as _, Result, TxId};
use signer_protocol::intent::Fees;
use store::nonces::{self, Account, OnChain};
use store::transactions;

use super::request::Wanted;
use crate::cx::{Act, Cx};

/// Which nonce a transaction is to have.
pub struct NonceWanted {
    pub account: Account,
    pub on_chain: OnChain,
    pub replaces: Option<u64>,
    pub explicit: Option<u64>,
}

impl NonceWanted {
    pub async fn reserve(self, act: &mut Act, id: TxId) -> Result<u64> {
        let Self { account, on_chain, replaces, explicit } = self;
        match (replaces, explicit) {
            (Some(nonce), _) => nonces::share(act, nonce, id).await.map(|()| nonce),
            (None, Some(nonce)) => {
                nonces::reserve_exactly(act, account, on_chain, nonce, id).await.map(|()| nonce)
            }
            (None, None) => nonces::reserve(act, account, on_chain.pending, id).await,
        }
    }
}

/// The nonce whose transaction this one replaces, if the agent named one that is in use.
pub async fn replaced(cx: &Cx, wanted: &Wanted, account: Account, fees: &Fees) -> Result<Option<u64>> {
    let Some(nonce) = wanted.nonce else { return Ok(None) };
    let Some(now) = transactions::at_nonce(cx.store(), account.chain_id, account.address, nonce).await?
    else {
        return Ok(None);
    };
    let accepted = transactions::accepted(cx.store(), now.id).await?.or_missing("transaction")?;
    let derived = accepted.intent.peek().map_err(Error::internal)?.derived;
    if derived.is_some_and(|derived| derived.outlives_its_agent()) {
        return Err(Error::conflict("nonce: a person has cancelled what it was used for; leave it out."));
    }
    let same_kind = std::mem::discriminant(&now.fees) == std::mem::discriminant(fees);
    if same_kind && fees.raises(&now.fees) {
        Ok(Some(nonce))
    } else {
        Err(Error::invalid(
            "nonce",
            "is in use; to replace its transaction, give fees of the same kind, each at least 12.5 % higher",
        ))
    }
}
