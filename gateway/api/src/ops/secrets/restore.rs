//! A deletion, taken back.

use domain::access::{Permit, SecretAt, WriteSecret};
use domain::{Error, OrMissing as _, Result};
use http::Method;
use store::secrets::{self, deletion};

use super::{SecretMetadataResponse, intents_may};
use crate::access::{Granted, OnSecret};
use crate::cx::Cx;
use crate::operation::{Operation, Reply, Route};
use crate::ops::OfSecret;

/// Brings back what a deletion took.
pub struct RestoreSecret;

impl Operation for RestoreSecret {
    const ROUTE: Route = Route::new(
        "restoreSecret",
        Method::POST,
        "/v1/vaults/{vault_id}/secret-restore/{path}",
        200,
        "Brings back exactly the versions that the last deletion took, within the retention time; after it they are erased.",
    )
    .audited("secret.restore", "secret");
    type Path = OfSecret;
    type Params = ();
    type Output = SecretMetadataResponse;
    type Access = OnSecret<WriteSecret>;

    async fn run(
        cx: &Cx,
        granted: Granted<Permit<WriteSecret, SecretAt>>,
        path: OfSecret,
        (): (),
    ) -> Result<Reply<SecretMetadataResponse>> {
        let at = granted.may.on();
        let found = secrets::facts(cx.store(), at).await?.or_missing("secret")?;
        let mut act = cx.begin().await?;
        let restored =
            deletion::restore(&mut act, &granted.may, cx.gateway.restorable_since(cx.now())).await?;
        if restored.is_empty() {
            return Err(Error::gone(
                "Nothing here can be restored: nothing was deleted, or its retention time is over.",
            ));
        }
        restored.iter().try_for_each(|(_, kind)| intents_may(cx, *kind, "restore"))?;
        act.note("path", path.path.as_str());
        act.note("versions", restored.iter().map(|(version, _)| *version).collect::<Vec<_>>());
        act.note("vault_id", path.vault_id.to_string());
        act.commit(found.id).await?;
        let live = secrets::facts(cx.store(), at).await?.or_missing("secret")?;
        Ok(Reply::of(SecretMetadataResponse::from(&live)))
    }
}
