//! NOT BUILT YET.

use signer_protocol::Attested;
use signer_protocol::sharing::{EndShare, OpenShared, Share, ShareGrant};
use signer_protocol::wire::Secret;

use crate::authority::Authority;
use crate::refuse::{Result, unavailable};

impl Authority {
    pub async fn share(&self, _: Share) -> Result<Attested<ShareGrant>> {
        Err(unavailable("Not built yet."))
    }

    pub async fn open_shared(&self, _: OpenShared) -> Result<Secret> {
        Err(unavailable("Not built yet."))
    }

    pub async fn end_share(&self, _: EndShare) -> Result<()> {
        Err(unavailable("Not built yet."))
    }
}
