//! Ending a token before its time.

use domain::{Error, Kind, PrincipalId, Result};
use http::Method;
use signer_protocol::token;

use crate::access::SignedIn;
use crate::cx::Cx;
use crate::operation::{Operation, Reply, Route};

const DAY: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

const KEY: &str = "You call this with a key, which is no token: a personal key ends by DELETE /v1/auth/api-keys/{key_id}, an \
                   agent's by POST /v1/agents/{agent_id}/rotate-key.";

/// Revokes the token that the request is made with.
pub struct RevokeToken;

impl Operation for RevokeToken {
    const ROUTE: Route = Route::new(
        "revokeToken",
        Method::DELETE,
        "/v1/auth/token",
        204,
        "Revokes the token that you call this with; it is refused everywhere from then on.",
    )
    .audited("auth.revoke", "token");
    type Path = ();
    type Params = ();
    type Output = ();
    type Access = SignedIn;

    async fn run(cx: &Cx, _: PrincipalId, (): (), (): ()) -> Result<Reply<()>> {
        let caller = cx.caller()?;
        if caller.by_key {
            return Err(Error::new(Kind::Invalid, KEY));
        }
        let request = token::RevokeToken { token: caller.for_signer().token };
        let revoked = cx.signer(async |signer, context| signer.revoke_token(context, request).await).await?;
        let mut act = cx.begin().await?;
        // A day late: another gateway's clock may be behind.
        store::tokens::forget_expired(&mut act, cx.now().minus(DAY)).await?;
        store::tokens::revoke(&mut act, revoked.jti, revoked.expires_at).await?;
        act.commit(revoked.jti).await?;
        cx.gateway.known.tokens.invalidate(&caller.digest).await;
        Ok(Reply::of(()))
    }
}
