//! Changes of a principal's record: proposed to the signer, stored, confirmed.

use domain::Result;
use signer_protocol::record::{Change, ChangePrincipal, Principal};
use signer_protocol::{Attested, Reason, Refusal};

use crate::cx::Cx;
use crate::refusal;

/// The record as the change makes it. It counts when it is first seen or confirmed.
pub async fn propose(
    cx: &Cx,
    base: Option<Attested<Principal>>,
    change: Change,
) -> Result<Attested<Principal>> {
    let request = ChangePrincipal { by: cx.for_signer()?, base, change };
    cx.signer(async |signer, context| signer.change_principal(context, request).await).await
}

/// Tells the signer that a record is stored: from the answer on, the one before it is refused.
pub async fn confirm(cx: &Cx, record: &Attested<Principal>) -> Result<()> {
    let record = record.clone();
    match cx.gateway.signer.call(async |signer, context| signer.confirm(context, record).await).await {
        // Somebody has made one more change since: that one is the newest then.
        Ok(()) | Err(Refusal { reason: Reason::RolledBack, .. }) => Ok(()),
        Err(refused) => Err(refusal::error(refused)),
    }
}
