//! Values that somebody shares: a grant stands in for the reader's own rights, on the terms that it holds.

use std::time::Duration;

use domain::{PrincipalId, ShareId};
use signer_protocol::attested::Attested;
use signer_protocol::record::{Credential, CredentialKind, Principal, Verifier};
use signer_protocol::sealing::{Holds, Label};
use signer_protocol::sharing::{EndShare, OpenShared, Recipient, Share, ShareGrant};
use signer_protocol::token::Caller;
use signer_protocol::wire::Secret;
use signer_protocol::{Reason, Refusal};

use crate::authority::Authority;
use crate::callers::Usable as _;
use crate::ledger::Guessed;
use crate::people::in_time;
use crate::principals::{MAX_LIST, credential_code};
use crate::refuse::{Result, forbidden, invalid, tampered, unauthenticated};
use crate::sealing::{disclose_value, mark};
use crate::tokens::same_code;

/// A share lives no longer than a year.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

impl Authority {
    /// Leave to read what the caller could open now: one version, on these terms.
    pub async fn share(&self, request: Share) -> Result<Attested<ShareGrant>> {
        let Share { by, id, vault_key: attested, label, recipient, passphrase, addresses, expires_at } =
            request;
        let by = self.caller(&by).await?;
        let vault_key = self.may_touch(&by, &attested, &label).await?;
        if vault_key.holds != Holds::Values {
            return Err(forbidden("An agent's identity is its own, and never shared."));
        }
        if label.kind.is_key() && recipient == Recipient::Anyone {
            return Err(forbidden(
                "A key is shared with somebody in particular, never with whoever has a link.",
            ));
        }
        in_time(expires_at, self.clock.now(), LONGEST)?;
        if addresses.len() > MAX_LIST {
            return Err(invalid(format!("addresses: must have at most {MAX_LIST} entries.")));
        }
        self.ledger.vault_key(mark(&vault_key, &attested)).await?;
        let passphrase = match passphrase {
            Some(passphrase) => Some(self.verifier(id, passphrase).await?),
            None => None,
        };
        let Label { org, vault, path, version, kind } = label;
        let by = by.record().id;
        let grant = ShareGrant {
            id,
            org,
            vault,
            path,
            version,
            kind,
            by,
            recipient,
            passphrase,
            addresses,
            expires_at,
        };
        self.statements.attest(&grant).await
    }

    /// Opens what a live grant is about, for whom it is meant. The passphrase is looked at last: a guess at it is only
    /// what would have opened the value.
    pub async fn open_shared(&self, request: OpenShared) -> Result<Secret> {
        let OpenShared { grant, sharer, vault_key: attested, sealed, by, passphrase, address } = request;
        let grant = self.statements.verify(&grant).await?;
        if self.ledger.share_ended(grant.id)? || self.clock.now() >= grant.expires_at {
            return Err(ended());
        }
        let key = self.statements.verify(&attested).await?;
        if (key.org, key.vault) != (grant.org, grant.vault) {
            return Err(tampered("The key is another vault's."));
        }
        self.not_destroyed(grant.org, grant.vault)?;
        self.still_shares(&sharer, &grant).await?;
        self.is_for(by.as_ref(), &grant).await?;
        if !grant.admits(address) {
            return Err(forbidden("This share can't be opened from this address."));
        }
        self.ledger.vault_key(mark(&key, &attested)).await?;
        self.knows_passphrase(&grant, passphrase).await?;
        let label = Label {
            org: grant.org,
            vault: grant.vault,
            path: grant.path.clone(),
            version: grant.version,
            kind: grant.kind,
        };
        self.pool.on_keys(move |keys| disclose_value(keys, &key.wrapped.0, &label, &sealed.0)).await
    }

    /// Ends a grant for ever.
    pub async fn end_share(&self, request: EndShare) -> Result<()> {
        let by = self.caller(&request.by).await?;
        let grant = self.statements.verify(&request.grant).await?;
        let own = by.record().id == grant.by && by.org() == grant.org;
        if !own {
            if by.org() != grant.org {
                return Err(forbidden("The share is another organisation's."));
            }
            by.manages()?;
        }
        self.ledger.end_share(grant.id, grant.expires_at).await
    }

    /// Whoever shared it may still do so: they act, in the organisation, and their record reaches the path. What they may
    /// not do any more, nobody does on their word.
    async fn still_shares(&self, sharer: &Attested<Principal>, grant: &ShareGrant) -> Result<()> {
        let sharer = self.newest(sharer).await?;
        if sharer.id != grant.by {
            return Err(tampered("The record is not the sharer's."));
        }
        let reaches = sharer.org == grant.org
            && (sharer.vault_ids.is_empty() || sharer.vault_ids.contains(&grant.vault))
            && (sharer.scopes.is_empty() || sharer.scopes.iter().any(|scope| scope.matches(&grant.path)));
        if !reaches || !sharer.usable(self.clock.now()) || (grant.kind.is_key() && sharer.intents) {
            return Err(forbidden("Whoever shared this may not do so any more; ask for another share."));
        }
        self.not_stopped(&sharer)
    }

    /// The recipient is who reads. Their own ceilings hold: a share is no way around the scopes of a token.
    async fn is_for(&self, by: Option<&Caller>, grant: &ShareGrant) -> Result<()> {
        if grant.recipient == Recipient::Anyone {
            return Ok(());
        }
        let by = by.ok_or_else(|| unauthenticated("This share names who may open it: sign in."))?;
        let by = self.caller(by).await?;
        let named = match grant.recipient {
            Recipient::User(user) => by.record().id == PrincipalId::User(user),
            Recipient::Agent(agent) => by.record().id == PrincipalId::Agent(agent) && by.org() == grant.org,
            Recipient::Email(_) => by.user().is_ok(),
            Recipient::Anyone => true,
        };
        if !named {
            return Err(forbidden("This share is for somebody else."));
        }
        if by.org() == grant.org {
            by.reaches_vault(grant.org, grant.vault)?;
            by.reaches_path(&grant.path)?;
        } else {
            by.unbounded()?;
        }
        if grant.kind.is_key() && by.never_touches_keys() {
            return Err(forbidden(
                "An agent with intents_api_enabled uses keys and never reads one, whoever shares it.",
            ));
        }
        Ok(())
    }

    /// Guesses are counted before they are looked at, over all addresses: the gateway slows each of them down besides.
    async fn knows_passphrase(&self, grant: &ShareGrant, given: Option<Secret>) -> Result<()> {
        let Some(verifier) = &grant.passphrase else { return Ok(()) };
        let given = given.ok_or_else(wrong_passphrase)?;
        let whose = *grant.id.as_bytes();
        self.ledger.guess(whose, Guessed::Passphrase).await?;
        if !same_code(verifier, &self.verifier(grant.id, given).await?.code) {
            return Err(wrong_passphrase());
        }
        self.ledger.guessed_right(whose, Guessed::Passphrase).await
    }

    async fn verifier(&self, share: ShareId, stretched: Secret) -> Result<Verifier> {
        if stretched.expose().len() != 32 {
            return Err(invalid("passphrase: must be Argon2id's output of 32 bytes."));
        }
        let credential = Credential { kind: CredentialKind::Passphrase, secret: stretched };
        Ok(Verifier { kind: credential.kind, code: credential_code(self, share, &credential).await? })
    }
}

fn wrong_passphrase() -> Refusal {
    unauthenticated("The passphrase is wrong.")
}

/// Of a share that was ended, or has expired.
fn ended() -> Refusal {
    Refusal::new(Reason::Destroyed, "This share has ended.")
}
