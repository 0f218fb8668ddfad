//! Whom an organisation lets in: from which addresses, and whether its agents at all.

use std::net::IpAddr;

use domain::{Error, Kind, OrgId, PrincipalId, Result, ip_rule};

use crate::cx::Cx;
use crate::gateway::Gateway;

const SUSPENDED: &str =
    "Your organisation has suspended all of its agents. An owner or admin can resume them.";
const ELSEWHERE: &str =
    "An IP rule of your organisation denies this address. Come from another, or ask an owner or admin.";

/// Each request of a known principal passes here, and so does whoever issues a token, after the credential was found to
/// be right and before the token is given.
///
/// # Errors
/// `Forbidden`, without saying which rule it was.
pub async fn pass(gateway: &Gateway, who: PrincipalId, org: OrgId, address: Option<IpAddr>) -> Result<()> {
    let gate = gateway.known.gate(&gateway.store, org).await?;
    if !ip_rule::admits(&gate.rules, who, address) {
        return Err(Error::forbidden(ELSEWHERE).because(format!("{who} from {address:?}")));
    }
    if gate.agents_suspended && matches!(who, PrincipalId::Agent(_)) {
        return Err(Error::forbidden(SUSPENDED).because(who));
    }
    Ok(())
}

/// As [`pass`], for a person who has just shown who they are: that it was of no use from there is on the trail, since
/// somebody else may have their password.
///
/// # Errors
/// As [`pass`].
pub async fn log_in(cx: &Cx, who: PrincipalId, org: OrgId) -> Result<()> {
    let passed = pass(&cx.gateway, who, org, cx.address).await;
    if passed.as_ref().is_err_and(|error| error.kind() == Kind::Forbidden) {
        cx.auth_failure(who, org, "ip_rule");
    }
    passed
}
