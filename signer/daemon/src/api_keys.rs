//! Personal API keys: who makes and ends them, and what a token from one is worth.

use domain::{ApiKeyId, PrincipalId, UserId};
use signer_protocol::api_key::{ApiKey, CreateApiKey, IssueKeyToken, RevokeApiKey};
use signer_protocol::attested::Attested;
use signer_protocol::passkey::challenge_of_api_key;
use signer_protocol::record::{Credential, CredentialKind, Verifier};
use signer_protocol::token::{FromKey, IssuedToken};

use crate::authority::Authority;
use crate::callers::{Checked, Usable as _};
use crate::principals::{MAX_LIST, credential_code};
use crate::refuse::{Result, forbidden, invalid, tampered};
use crate::statements::digest;
use crate::tokens::{claims, denied, same_code};

/// `1ck_` and 32 bytes in base64 without padding.
const KEY_LENGTH: usize = 47;

impl Authority {
    /// A new key of the caller's own. Through a key nobody makes another: what leaks must not breed.
    pub async fn create_api_key(&self, request: CreateApiKey) -> Result<Attested<ApiKey>> {
        let CreateApiKey { by, id, credential, scopes, expires_at, passkey } = request;
        let by = self.caller(&by).await?;
        let user = by.in_person()?;
        if scopes.len() > MAX_LIST {
            return Err(invalid(format!("scopes: must have at most {MAX_LIST} entries.")));
        }
        if expires_at.is_some_and(|end| end <= self.clock.now()) {
            return Err(invalid("expires_at: must be in the future."));
        }
        let fits =
            credential.kind == CredentialKind::ApiKey && credential.secret.expose().len() == KEY_LENGTH;
        if !fits {
            return Err(invalid("credential: is no API key."));
        }
        let challenge = |made| challenge_of_api_key(user, made, &scopes, expires_at);
        self.makes_by_passkey(&by, passkey.as_ref(), challenge).await?;
        let code = self.key_code(id, &credential).await?;
        let verifier = Verifier { kind: credential.kind, code };
        let key = ApiKey { id, org: by.org(), user, verifier, scopes, expires_at, active: true, version: 1 };
        let attested = self.statements.attest(&key).await?;
        self.ledger.make_key(id, key.version, digest(&attested)).await?;
        Ok(attested)
    }

    /// Ends a key. The ledger refuses it before this answers, and a gateway that lost the answer asks again.
    pub async fn revoke_api_key(&self, request: RevokeApiKey) -> Result<Attested<ApiKey>> {
        let by = self.caller(&request.by).await?;
        let key = self.statements.verify(&request.key).await?;
        may_revoke(&by, by.user()?, &key)?;
        let last = if key.active {
            self.statements
                .attest(&ApiKey { active: false, version: key.version + 1, ..(*key).clone() })
                .await?
        } else {
            request.key
        };
        self.ledger.newest_key(key.id, last_version(&key), digest(&last)).await?;
        Ok(last)
    }

    /// A token for the person whose key it is: with the person's claims, and the key's scopes and end.
    pub async fn issue_key_token(&self, request: IssueKeyToken) -> Result<IssuedToken> {
        let record = self.newest(&request.record).await?;
        let key = self.statements.verify(&request.key).await?;
        self.ledger.newest_key(key.id, key.version, digest(&request.key)).await?;
        if record.id != PrincipalId::User(key.user) || record.org != key.org {
            return Err(tampered("The key is not this person's."));
        }
        let now = self.clock.now();
        let code = self.key_code(key.id, &request.proof).await?;
        if !same_code(&key.verifier, &code) || !key.usable(now) || !record.usable(now) {
            return Err(denied());
        }
        let mut claims = claims(&record, Vec::new(), now);
        // The record's own scopes stay a ceiling, whatever the token says.
        if !key.scopes.is_empty() {
            claims.scopes.clone_from(&key.scopes);
        }
        claims.exp = key.expires_at.map_or(claims.exp, |end| claims.exp.min(end.seconds()));
        claims.key = Some(FromKey { id: key.id, version: key.version });
        self.issued(claims).await
    }

    /// Bound to the key's id: a verifier that is moved to another key's record proves nothing there.
    async fn key_code(&self, id: ApiKeyId, credential: &Credential) -> Result<String> {
        credential_code(self, format!("api_key:{id}"), credential).await
    }
}

fn last_version(key: &ApiKey) -> u64 {
    key.version + u64::from(key.active)
}

/// The person, in person, or whoever holds the key itself: a program may end its own key, and no other; a device none.
fn may_revoke(by: &Checked, user: UserId, key: &ApiKey) -> Result<()> {
    if user != key.user || by.org() != key.org {
        return Err(forbidden("The API key is somebody else's."));
    }
    match by.key() {
        Some(own) if own.id == key.id => Ok(()),
        Some(_) => Err(forbidden("With an API key you end that key alone; log in to end others.")),
        None => by.in_person().map(drop),
    }
}
