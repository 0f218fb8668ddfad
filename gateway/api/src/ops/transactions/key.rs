//! Which key signs.

use domain::access::{self, ReadSecret};
use domain::policy::Policy;
use domain::{Error, Kind, OrMissing as _, Result};
use signer_protocol::intent::KeyAt;
use store::transactions::KeyVersion;
use store::vaults::{self, Vault};

use super::request::Wanted;
use crate::cx::Cx;
use crate::implied;

/// The key at the path: in the vault that the request names (`X-Vault-ID`), else in the only one of those that the agent
/// may use which has one.
///
/// A vault that only another agent let it into counts only if it is named: else one agent could put a key of its own in
/// another's way.
///
/// # Errors
/// `Missing` or `Forbidden` without a key, `Invalid` where there are several, or something else is at the path.
pub async fn find(cx: &Cx, wanted: &Wanted) -> Result<(KeyVersion, KeyAt)> {
    let policies = cx.policies().await?;
    let mut search = Search { cx, wanted, permitted: false, unusable: false, cmek: false };
    if let Some(id) = implied::named_vault(cx)? {
        let vault =
            cx.vault(id).await?.filter(|v| Some(v.org) == cx.caller().ok().map(|c| c.principal().org));
        let vault = vault.or_missing("vault")?;
        if let Some(found) = search.look(&vault, &policies).await? {
            return Ok(found);
        }
    }
    let policies = implied::trusted(&policies);
    let mut found: Vec<((KeyVersion, KeyAt), String)> = Vec::new();
    let list = access::org::<access::ListVaults>(&cx.subject()?)?;
    for vault in vaults::list(cx.store(), &list).await? {
        if let Some(key) = search.look(&vault, &policies).await? {
            found.push((key, format!("{} ({})", vault.name, vault.id)));
        }
    }
    if found.len() > 1 {
        let names: Vec<String> = found.into_iter().map(|(_, name)| name).collect();
        let path = &wanted.key_path;
        let detail = format!(
            "signing_key_path: {path} is in several vaults; name one of them in X-Vault-ID: {}.",
            names.join(", ")
        );
        return Err(Error::new(Kind::Invalid, detail));
    }
    found.pop().map(|(key, _)| key).ok_or_else(|| search.nothing())
}

struct Search<'a> {
    cx: &'a Cx,
    wanted: &'a Wanted,
    /// Somewhere the agent may read the path.
    permitted: bool,
    /// Somewhere there is something else at the path.
    unusable: bool,
    /// Somewhere there is something at the path, in a vault whose values only the customer decrypts.
    cmek: bool,
}

impl Search<'_> {
    async fn look(&mut self, vault: &Vault, policies: &[Policy]) -> Result<Option<(KeyVersion, KeyAt)>> {
        // An identity is no key to pay with.
        if vault.is_reserved() {
            return Ok(None);
        }
        let path = self.wanted.key_path.clone();
        let subject = self.cx.subject()?;
        let Ok(may) = access::secret::<ReadSecret>(&subject, &vault.facts(), policies, path) else {
            return Ok(None);
        };
        self.permitted = true;
        let Some(found) = store::secrets::reveal(self.cx.store(), &may).await? else { return Ok(None) };
        if !found.version.signs(self.cx.now()) {
            return Ok(None);
        }
        if vault.cmek.is_some() || found.version.cmek.is_some() {
            self.cmek = true;
            return Ok(None);
        }
        let Some(key) = found.signing_key else {
            self.unusable = true;
            return Ok(None);
        };
        let at =
            KeyAt { vault: vault.id, path: self.wanted.key_path.clone(), version: found.version.version };
        Ok(Some((KeyVersion { of: found.version, key }, at)))
    }

    fn nothing(&self) -> Error {
        let path = &self.wanted.key_path;
        if self.cmek {
            Error::conflict(format!(
                "{path} is in a CMEK vault: Talon can't decrypt what is in it, and so signs with none of its keys. Keep \
                 keys to sign with in a vault without CMEK."
            ))
        } else if self.unusable {
            Error::invalid(
                "signing_key_path",
                "the secret there is not a private_key that can sign (32 bytes of hex)",
            )
        } else if self.permitted {
            Error::missing(&format!("signing key at {path} in the vaults that you may use"))
        } else {
            Error::forbidden(format!(
                "No read permission on {path} in any vault. Ask an owner or admin for a policy that gives it."
            ))
        }
    }
}
