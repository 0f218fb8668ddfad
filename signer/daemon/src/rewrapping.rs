//! What an older root wraps, wrapped by the newest one. A statement that comes out says what it said before, and the ledger
//! takes either for the other; of a vault that was destroyed none comes out.

use signer_protocol::attested::Attested;
use signer_protocol::key::SigningKey;
use signer_protocol::mfa::Mfa;
use signer_protocol::root::{FinishRotation, Rewrapped, RootState, Wrapped};
use signer_protocol::sealing::VaultKey;
use signer_protocol::webhook::WebhookKey;
use signer_protocol::wire::Blob;
use signer_protocol::{Reason, Refusal};

use crate::alone::relock;
use crate::authority::Authority;
use crate::ledger::{Again, SETTLED, over};
use crate::refuse::{Result, conflict, invalid};
use crate::sealing::mark;
use crate::statements::digest;

/// Statements of one request.
const MOST: usize = 100;

impl Authority {
    pub async fn root_state(&self) -> Result<RootState> {
        let roots = self.pool.keystore().roots();
        self.ledger.use_root(roots.newest).await?;
        let progress = self.ledger.rotation()?;
        Ok(RootState {
            newest: roots.newest,
            older: roots.older,
            since: progress.since,
            settled: self.clock.now() >= progress.since.plus(SETTLED),
            finished: progress.finished,
        })
    }

    /// An outcome for each statement. What the ledger must know of it is on the disk before the answer leaves.
    pub async fn rewrap(&self, statements: Vec<Wrapped>) -> Result<Vec<Rewrapped>> {
        if statements.len() > MOST {
            return Err(invalid(format!("statements: must be at most {MOST}.")));
        }
        let newest = self.pool.keystore().roots().newest;
        let (mut outcomes, mut again) = (Vec::with_capacity(statements.len()), Vec::new());
        for statement in statements {
            match self.anew(statement).await {
                Ok((outcome, same)) => {
                    again.extend(same);
                    outcomes.push(outcome);
                }
                Err(Refusal { reason: Reason::Unavailable, detail }) => {
                    return Err(Refusal::new(Reason::Unavailable, detail));
                }
                Err(Refusal { reason: Reason::Destroyed, .. }) => outcomes.push(Rewrapped::Gone),
                Err(refused) => outcomes.push(Rewrapped::Refused(refused.detail)),
            }
        }
        if outcomes.iter().any(|outcome| matches!(outcome, Rewrapped::Anew(_))) {
            self.ledger.use_root(newest).await?;
            self.ledger.rewrapped(again, newest).await?;
        }
        Ok(outcomes)
    }

    /// Takes the gateway's word that nothing is left. An operator sees what it counted before the root is destroyed.
    pub async fn finish_rotation(&self, request: FinishRotation) -> Result<bool> {
        if self.pool.keystore().roots().older.is_none() {
            return Err(conflict("No rotation of the root key is under way."));
        }
        self.ledger.finish_rotation(request.root, request.count).await
    }

    /// With what the ledger has to know of it: only of those that are pinned by their digest.
    async fn anew(&self, statement: Wrapped) -> Result<(Rewrapped, Option<Again>)> {
        Ok(match statement {
            Wrapped::VaultKey(old) => match self.vault_key_anew(&old).await? {
                Some(new) => {
                    let key = self.statements.verify(&old).await?;
                    let vault = Some((key.org, key.vault));
                    let again = Again { before: digest(&old), now: digest(&new), vault };
                    (Rewrapped::Anew(Wrapped::VaultKey(new)), Some(again))
                }
                None => (Rewrapped::AsItIs, None),
            },
            Wrapped::SecondFactor(old) => match self.second_factor_anew(&old).await? {
                Some(new) => {
                    let again = Again { before: digest(&old), now: digest(&new), vault: None };
                    (Rewrapped::Anew(Wrapped::SecondFactor(new)), Some(again))
                }
                None => (Rewrapped::AsItIs, None),
            },
            Wrapped::SigningKey(old) => {
                let new = self.signing_key_anew(&old).await?;
                (new.map_or(Rewrapped::AsItIs, |new| Rewrapped::Anew(Wrapped::SigningKey(new))), None)
            }
            Wrapped::WebhookKey(old) => {
                let new = self.webhook_key_anew(&old).await?;
                (new.map_or(Rewrapped::AsItIs, |new| Rewrapped::Anew(Wrapped::WebhookKey(new))), None)
            }
        })
    }

    async fn vault_key_anew(&self, old: &Attested<VaultKey>) -> Result<Option<Attested<VaultKey>>> {
        let key = self.statements.verify(old).await?;
        self.not_destroyed(key.org, key.vault)?;
        self.ledger.not_anothers(mark(&key, old))?;
        let wrapped = key.wrapped.clone();
        let Some(wrapped) = self.pool.on_keys(move |keys| keys.rewrap_vault_key(&wrapped.0)).await? else {
            return Ok(None);
        };
        self.statements.attest(&VaultKey { wrapped: Blob(wrapped), ..(*key).clone() }).await.map(Some)
    }

    async fn signing_key_anew(&self, old: &Attested<SigningKey>) -> Result<Option<Attested<SigningKey>>> {
        let key = self.statements.verify(old).await?;
        self.not_destroyed(key.org, key.vault)?;
        let wrapped = key.wrapped.clone();
        let Some(wrapped) = self.pool.on_keys(move |keys| keys.rewrap_signing_key(&wrapped.0)).await? else {
            return Ok(None);
        };
        self.statements.attest(&SigningKey { wrapped: Blob(wrapped), ..(*key).clone() }).await.map(Some)
    }

    async fn second_factor_anew(&self, old: &Attested<Mfa>) -> Result<Option<Attested<Mfa>>> {
        let factor = self.statements.verify(old).await?;
        let seed = factor.seed.clone();
        let Some(seed) = self.pool.on_keys(move |keys| relock(keys, &seed.0)).await? else {
            return Ok(None);
        };
        self.statements.attest(&Mfa { seed, ..(*factor).clone() }).await.map(Some)
    }

    async fn webhook_key_anew(&self, old: &Attested<WebhookKey>) -> Result<Option<Attested<WebhookKey>>> {
        let key = self.statements.verify(old).await?;
        if self.ledger.ended(key.org)? {
            return Err(over());
        }
        let sealed = key.sealed.clone();
        let Some(sealed) = self.pool.on_keys(move |keys| relock(keys, &sealed.0)).await? else {
            return Ok(None);
        };
        self.statements.attest(&WebhookKey { sealed, ..(*key).clone() }).await.map(Some)
    }
}
