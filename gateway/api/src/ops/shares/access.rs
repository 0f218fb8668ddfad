//! Who may share a secret, and who may answer or end a share.

use std::marker::PhantomData;
use std::sync::Arc;

use domain::access::{self, Permit, SecretAction, SecretAt, ShareAction, ShareFacts, ShareRule};
use domain::{Error, Kind, OrMissing as _, PrincipalId, Result, ShareId, ShareRef};
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
        let found = match (A::RULE, ShareRef::in_place_of(path.share_id)) {
            // Whoever looks after others' shares has references to them alone.
            (ShareRule::Given, Some(named)) => {
                shares::facts_by_ref(cx.store(), cx.subject()?.org, named).await?
            }
            _ => shares::facts(cx.store(), path.share_id).await?,
        };
        let share = found.filter(|share| !share.ended).or_missing("share")?;
        let to = named(cx, &share).await?;
        Ok(GrantedShare { may: access::share(&cx.subject()?, &facts(&share, to))?, share })
    }
}

pub(super) fn facts(share: &Share, to: Option<PrincipalId>) -> ShareFacts<'_> {
    ShareFacts { id: share.id, org: share.org, vault: share.vault, path: &share.path, by: share.by, to }
}
