//! What a door leaves out of a path is the caller's own: its agent id, its default vault. REST leaves nothing out; a
//! model should not have to repeat what its credential says.

use domain::access::{self, ListVaults};
use domain::policy::Policy;
use domain::{Error, Kind, PrincipalId, Result, VaultId};

use crate::catalog::Entry;
use crate::cx::Cx;
use crate::ops::vaults::reachable;
use crate::pipeline::Inbound;

/// Names the default vault.
const VAULT_HEADER: &str = "x-vault-id";
/// Of vaults that an error lists.
const LISTED: usize = 20;

/// Fills in the placeholders that are missing.
///
/// # Errors
/// `Invalid` if the caller has to choose a vault, `Forbidden` if it may use none.
pub async fn complete(cx: &Cx, entry: &Entry, request: &mut Inbound) -> Result<()> {
    for name in entry.placeholders {
        if request.path.iter().any(|(given, _)| given == name) {
            continue;
        }
        let own = match *name {
            "agent_id" => caller(cx)?,
            "vault_id" => default_vault(cx).await?.to_string(),
            _ => return Err(Error::invalid(name, "is missing")),
        };
        request.path.push(((*name).to_owned(), own));
    }
    Ok(())
}

fn caller(cx: &Cx) -> Result<String> {
    match cx.caller()?.principal().id {
        PrincipalId::Agent(id) => Ok(id.to_string()),
        PrincipalId::User(_) => Err(Error::invalid("agent_id", "is missing")),
    }
}

/// The vault that the request names beside its path.
///
/// # Errors
/// `Invalid` if it is no id.
pub fn named_vault(cx: &Cx) -> Result<Option<VaultId>> {
    let bad = |_| Error::invalid("X-Vault-ID", "must be a vault's UUID");
    cx.header(VAULT_HEADER)?.map(|named| named.trim().parse().map_err(bad)).transpose()
}

/// Policies that a person gave, or the caller itself. What another agent gives holds for whoever asks for it by name, and
/// is chosen for nobody: else one agent could put a vault of its own in another's way.
pub fn trusted(policies: &[Policy]) -> Vec<Policy> {
    let trusted = |policy: &&Policy| {
        matches!(policy.created_by, PrincipalId::User(_)) || policy.created_by == policy.principal
    };
    policies.iter().filter(trusted).cloned().collect()
}

/// The vault that the header names, else the only one that the caller can reach.
async fn default_vault(cx: &Cx) -> Result<VaultId> {
    if let Some(named) = named_vault(cx)? {
        return Ok(named);
    }
    let may = access::org::<ListVaults>(&cx.subject()?)?;
    let mut vaults = reachable(cx, &may, &trusted(&cx.policies().await?)).await?;
    // Nearly every agent can reach its identity pair; nobody means that vault without naming it.
    vaults.retain(|vault| !vault.is_reserved());
    match vaults.as_slice() {
        [only] => Ok(only.id),
        [] => Err(Error::forbidden(
            "You may use no vault yet. Make one (create_vault), or ask an owner or admin for a policy on one.",
        )),
        several => {
            let names = several.iter().take(LISTED).map(|v| format!("{} ({})", v.name, v.id));
            let names: Vec<String> = names.collect();
            Err(Error::new(
                Kind::Invalid,
                format!(
                    "You may use several vaults, and the client's configuration names none. Ask its user to set the \
                     header X-Vault-ID (ONECLAW_VAULT_ID for talon-mcp) to one of: {}.",
                    names.join(", ")
                ),
            ))
        }
    }
}
