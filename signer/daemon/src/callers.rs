//! Who asks: a live token, and the newest record of the one that it names.

use std::sync::Arc;

use domain::{AgentId, OrgId, PathGlob, PrincipalId, Role, SecretPath, Time, UserId, VaultId};
use signer_protocol::api_key::ApiKey;
use signer_protocol::attested::Attested;
use signer_protocol::record::Principal;
use signer_protocol::token::{Caller, Claims, FromKey};

use crate::authority::Authority;
use crate::ledger::{Seen, stopped};
use crate::refuse::{Result, forbidden, tampered};
use crate::statements::digest;
use crate::tokens::bad_token;

/// A caller whose token and record were checked, and belong together. Made by [`Authority::caller`] alone.
pub struct Checked {
    claims: Arc<Claims>,
    record: Arc<Principal>,
}

impl Checked {
    pub fn org(&self) -> OrgId {
        self.record.org
    }

    pub fn record(&self) -> &Principal {
        &self.record
    }

    pub fn into_record(self) -> Arc<Principal> {
        self.record
    }

    /// The caller as an agent that may submit transactions.
    pub fn intents_agent(&self) -> Result<AgentId> {
        match self.record.id {
            PrincipalId::Agent(id) if self.record.intents && self.claims.intents_api_enabled => Ok(id),
            _ => Err(forbidden("Only an agent with intents_api_enabled submits transactions.")),
        }
    }

    /// The caller as a person.
    pub fn user(&self) -> Result<UserId> {
        match self.record.id {
            PrincipalId::User(id) => Ok(id),
            PrincipalId::Agent(_) => Err(forbidden("An agent may not change principals.")),
        }
    }

    /// The caller as a person who logged in: not a program with an API key of theirs, nor a device that they let in. For
    /// what a leaked key or a lost device must not reach: other credentials, other people.
    pub fn in_person(&self) -> Result<UserId> {
        let user = self.user()?;
        if self.claims.key.is_some() {
            return Err(forbidden("A token that came from an API key may not do this; log in."));
        }
        if self.claims.device {
            return Err(forbidden("A device that was let in may not do this; log in."));
        }
        Ok(user)
    }

    /// The caller as an owner or admin who reaches all of the organisation.
    pub fn manages(&self) -> Result<UserId> {
        let user = self.user()?;
        self.unbounded()?;
        if self.record.role.is_some_and(Role::manages) {
            Ok(user)
        } else {
            Err(forbidden("Only an owner or an admin may do this."))
        }
    }

    /// The API key that the token came from.
    pub fn key(&self) -> Option<FromKey> {
        self.claims.key
    }

    /// Whoever is held to some paths gets no way around them: no principal to act through, no vault as a whole.
    pub fn unbounded(&self) -> Result<()> {
        if self.ceilings().all(<[_]>::is_empty) {
            Ok(())
        } else {
            Err(forbidden("A caller with scopes may not do this: it reaches further than paths."))
        }
    }

    /// The record's explicit scopes, and those of the API key that the token came from. Each is a ceiling. The scopes
    /// of other tokens may be the gateway's, for information: they don't count.
    fn ceilings(&self) -> impl Iterator<Item = &[PathGlob]> {
        let of_key = self.claims.key.map(|_| self.claims.scopes.as_slice());
        std::iter::once(self.record.scopes.as_slice()).chain(of_key)
    }

    /// Whether keys are out of reach: either the token or the record says that the agent submits intents. A flag
    /// that was switched on after the token was issued counts at once.
    pub fn never_touches_keys(&self) -> bool {
        matches!(self.record.id, PrincipalId::Agent(_))
            && (self.record.intents || self.claims.intents_api_enabled)
    }

    /// Organisation and vault binding. Both the token's binding and the record's count: narrowing takes effect at
    /// once, widening with the next token.
    pub fn reaches_vault(&self, org: OrgId, vault: VaultId) -> Result<()> {
        if self.record.org != org {
            return Err(forbidden("The vault belongs to another organisation."));
        }
        let bound = |ids: &[VaultId]| ids.is_empty() || ids.contains(&vault);
        if bound(&self.claims.vault_ids) && bound(&self.record.vault_ids) {
            Ok(())
        } else {
            Err(forbidden("The token is not bound to this vault."))
        }
    }

    /// Every ceiling counts.
    pub fn reaches_path(&self, path: &SecretPath) -> Result<()> {
        let covers =
            |scopes: &[PathGlob]| scopes.is_empty() || scopes.iter().any(|scope| scope.matches(path));
        if self.ceilings().all(covers) {
            Ok(())
        } else {
            Err(forbidden("The path is outside the caller's scopes."))
        }
    }
}

/// Whether a record's principal may act at all.
pub trait Usable {
    fn usable(&self, now: Time) -> bool;
}

impl Usable for Principal {
    fn usable(&self, now: Time) -> bool {
        self.active && self.expires_at.is_none_or(|end| now < end)
    }
}

impl Usable for ApiKey {
    fn usable(&self, now: Time) -> bool {
        self.active && self.expires_at.is_none_or(|end| now < end)
    }
}

impl Authority {
    /// Checks a caller: the token genuine, live and not revoked, the API key that it may have come from too; the record genuine and the newest; both of the
    /// same principal, organisation and epoch; the principal active.
    ///
    /// # Errors
    /// `Unauthenticated`, `Tampered`, `RolledBack`, `Unavailable`.
    pub async fn caller(&self, by: &Caller) -> Result<Checked> {
        let now = self.clock.now();
        let claims = self.tokens.verify(&by.token, now)?;
        if self.ledger.revoked(claims.jti)? {
            return Err(bad_token());
        }
        if let Some(key) = claims.key
            && self.ledger.key_version(key.id)? != Some(key.version)
        {
            return Err(bad_token());
        }
        let record = self.newest(&by.record).await?;
        if record.id != claims.sub || record.org != claims.org {
            return Err(tampered("The record is not the token's principal."));
        }
        if record.epoch != claims.epoch || !record.usable(now) {
            return Err(bad_token());
        }
        self.not_stopped(&record)?;
        Ok(Checked { claims, record })
    }

    /// A record, genuine and the newest of its principal. The first sight of a newer version ends the older ones.
    ///
    /// # Errors
    /// `Tampered`, `RolledBack`, `Destroyed` (its organisation was ended), `Unavailable`.
    pub async fn newest(&self, record: &Attested<Principal>) -> Result<Arc<Principal>> {
        let principal = self.statements.verify(record).await?;
        self.ledger.newest(seen(&principal, digest(record))).await?;
        Ok(principal)
    }

    /// A person's record, the newest, of one who may act.
    ///
    /// # Errors
    /// As [`Authority::newest`]; `Forbidden` for an agent, and for a person who was removed.
    pub async fn person(&self, record: &Attested<Principal>) -> Result<(Arc<Principal>, UserId)> {
        let record = self.newest(record).await?;
        match record.id {
            PrincipalId::User(user) if record.usable(self.clock.now()) => Ok((record, user)),
            PrincipalId::User(_) => Err(forbidden("The person was removed from the organisation.")),
            PrincipalId::Agent(_) => Err(forbidden("This is for people, and the record is an agent's.")),
        }
    }

    /// While an organisation's agents are suspended, they do nothing.
    pub fn not_stopped(&self, record: &Principal) -> Result<()> {
        match record.id {
            PrincipalId::Agent(_) if self.ledger.suspended(record.org)? => Err(stopped()),
            _ => Ok(()),
        }
    }
}

/// What the ledger keeps of a record.
pub fn seen(record: &Principal, digest: [u8; 32]) -> Seen {
    Seen {
        id: record.id,
        org: record.org,
        role: record.role.filter(|_| record.active),
        version: record.version,
        digest,
    }
}
