//! Who may share a secret, and who may answer or end a share.

use std::marker::PhantomData;
use std::sync::Arc;

use domain::access::{self, Permit, SecretAction, SecretAt, ShareAction, ShareFacts};
use domain::{Error, Kind, OrMissing as _, Result, ShareId};
use store::shares::{self, Share, Shareable};
use store::vaults::Vault;

use super::named;
use crate::access::Access;
use crate::cx::Cx;
use crate::ops::{OfSecretId, OfShare};

/// A secret by its id. One of another organisation's is not there.
pub struct OnSecretId<A>(PhantomData<A>);

pub struct GrantedSecret<A> {
    pub may: Permit<A, SecretAt>,
    pub vault: Arc<Vault>,
    pub secret: Shareable,
}

impl<A: SecretAction + 'static> Access<OfSecretId> for OnSecretId<A> {
    type Granted = GrantedSecret<A>;
    async fn grant(cx: &Cx, path: &OfSecretId) -> Result<Self::Granted> {
        let secret = shares::facts_of_secret(cx.store(), path.secret_id).await?.or_missing("secret")?;
        let vault = cx.vault(secret.at.vault).await?.or_missing("secret")?;
        let policies = cx.policies().await?;
        let may = access::secret(&cx.subject()?, &vault.facts(), &policies, secret.at.path.clone());
        let may = may.map_err(|error| match error.kind() {
            Kind::Missing => Error::missing("secret"),
            _ => error,
        })?;
        Ok(GrantedSecret { may, vault, secret })
    }
}

/// A share. Whoever it is not about is told that there is none.
pub struct OnShare<A>(PhantomData<A>);

pub struct GrantedShare<A> {
    pub may: Permit<A, ShareId>,
    pub share: Share,
}

impl<A: ShareAction + 'static> Access<OfShare> for OnShare<A> {
    type Granted = GrantedShare<A>;
    async fn grant(cx: &Cx, path: &OfShare) -> Result<Self::Granted> {
        let share = shares::facts(cx.store(), path.share_id).await?.filter(|share| !share.ended);
        let share = share.or_missing("share")?;
        let to = named(cx, &share).await?;
        let facts = ShareFacts { id: share.id, org: share.org, by: share.by, to };
        Ok(GrantedShare { may: access::share(&cx.subject()?, &facts)?, share })
    }
}
