//! The second factor of people: set up, asked for at login, taken away.

use std::sync::Arc;
use std::time::Duration;

use domain::{PrincipalId, Time, TokenId, UserId, secret};
use signer_protocol::Attested;
use signer_protocol::mfa::{
    DisableMfa, EnableMfa, EnabledMfa, Mfa, MfaProof, NewMfa, PendingMfa, SetUpMfa, VerifyMfa,
};
use signer_protocol::passkey::challenge_of_factor;
use signer_protocol::record::Principal;
use signer_protocol::token::IssuedToken;
use signer_protocol::wire::{Blob, Secret};
use zeroize::Zeroizing;

use crate::alone::{lock, relock, unlock};
use crate::authority::Authority;
use crate::callers::Usable as _;
use crate::encoding::length_prefixed;
use crate::keys::{KeyError, Keystore};
use crate::ledger::{Factor, Guessed, wrong_code};
use crate::principals::successor;
use crate::refuse::{Result, conflict, tampered, unavailable};
use crate::sealing::random;
use crate::statements::digest;
use crate::tokens::{bad_token, claims};
use crate::totp;

/// How long a seed waits for its first code.
const PENDING: Duration = Duration::from_secs(600);

const RECOVERY_CODES: usize = 8;

/// Of a recovery code, in groups of four: 60 bits.
const LETTERS: usize = 12;

impl Authority {
    pub async fn set_up_mfa(&self, request: SetUpMfa) -> Result<NewMfa> {
        let by = self.caller(&request.by).await?;
        let user = by.in_person()?;
        self.without_factor(by.record()).await?;
        let (seed, sealed) = self.pool.on_keys(move |keys| new_seed(keys, user)).await?;
        let expires_at = self.clock.now().plus(PENDING);
        let pending = self.statements.attest(&PendingMfa { user, seed: sealed, expires_at }).await?;
        Ok(NewMfa { seed, pending })
    }

    /// The code shows that the seed has arrived. The answer's record pins it.
    pub async fn enable_mfa(&self, request: EnableMfa) -> Result<EnabledMfa> {
        let by = self.caller(&request.by).await?;
        let user = by.in_person()?;
        self.without_factor(by.record()).await?;
        let pending = self.statements.verify(&request.pending).await?;
        if pending.user != user {
            return Err(tampered("The seed is another person's."));
        }
        if self.clock.now() >= pending.expires_at {
            return Err(conflict("The set-up has expired; start again."));
        }
        // Before the code is used up: it comes again with the answer.
        let challenge = challenge_of_factor(&request.by.record, &request.pending);
        self.confirmed_by_passkey(&by, request.passkey.as_ref(), challenge, false).await?;
        self.ledger.guess(*user.as_bytes(), Guessed::SessionCode).await?;
        let step = self.step(user, &pending.seed, &request.code).await?.ok_or_else(wrong_code)?;
        self.ledger.use_factor(user, Factor::Step(step), Guessed::SessionCode, None).await?;
        self.ledger.nothing_to_forget(user).await?;
        let recovery_codes = recovery_codes()?;
        let mut recovery = Vec::with_capacity(RECOVERY_CODES);
        for code in &recovery_codes {
            recovery.push(hex::encode(self.recovery_code(user, code.expose()).await?));
        }
        // One that was set up before the root was rotated must not outlive the old root.
        let locked = pending.seed.clone();
        let seed = self.pool.on_keys(move |keys| Ok(relock(keys, &locked.0)?.unwrap_or(locked))).await?;
        let mfa = self.statements.attest(&Mfa { user, seed, recovery }).await?;
        let pinned = Some(Blob(digest(&mfa).to_vec()));
        let record = self.statements.attest(&Principal { mfa: pinned, ..successor(by.record())? }).await?;
        Ok(EnabledMfa { record, mfa, recovery_codes })
    }

    /// Takes the second factor away, for its person, who shows it or the password.
    pub async fn disable_mfa(&self, request: DisableMfa) -> Result<Attested<Principal>> {
        let by = self.caller(&request.by).await?;
        let user = by.in_person()?;
        let mfa = self.pinned(by.record(), &request.mfa).await?;
        match request.proof {
            MfaProof::Code(code) => self.check_code(user, &mfa, &code, Guessed::SessionCode, None).await?,
            MfaProof::Password(password) => self.check_password(user, by.record(), &password).await?,
        }
        self.statements.attest(&Principal { mfa: None, ..successor(by.record())? }).await
    }

    /// The second half of a login. The first half's token dies with it.
    pub async fn verify_mfa(&self, request: VerifyMfa) -> Result<IssuedToken> {
        let now = self.clock.now();
        let first = self.tokens.verify_first_half(&request.token, now)?;
        if self.ledger.revoked(first.jti)? {
            return Err(bad_token());
        }
        let record = self.newest(&request.record).await?;
        let PrincipalId::User(user) = record.id else { return Err(bad_token()) };
        if record.id != first.sub || record.org != first.org {
            return Err(tampered("The record is not the token's principal."));
        }
        if record.epoch != first.epoch || !record.usable(now) {
            return Err(bad_token());
        }
        let mfa = self.pinned(&record, &request.mfa).await?;
        let used_up = (first.jti, Time::from_seconds(first.exp));
        self.check_code(user, &mfa, &request.code, Guessed::Code, Some(used_up)).await?;
        self.issued(claims(&record, first.scopes.clone(), now)).await
    }

    /// The digest of the person's second factor; `None` if there is none, or an operator took it away.
    pub(crate) async fn second_factor(&self, record: &Principal) -> Result<Option<[u8; 32]>> {
        let (PrincipalId::User(user), Some(pinned)) = (record.id, &record.mfa) else { return Ok(None) };
        let pinned = <[u8; 32]>::try_from(pinned.0.as_slice()).map_err(|_| no_factor())?;
        Ok(if self.ledger.forgotten(user, pinned).await? { None } else { Some(pinned) })
    }

    async fn without_factor(&self, record: &Principal) -> Result<()> {
        match self.second_factor(record).await? {
            None => Ok(()),
            Some(_) => Err(conflict("The second factor is on; switch it off before you set up another.")),
        }
    }

    /// The second factor that the record pins, and no older one.
    async fn pinned(&self, record: &Principal, mfa: &Attested<Mfa>) -> Result<Arc<Mfa>> {
        let Some(pinned) = &record.mfa else { return Err(conflict("The second factor is off.")) };
        let pinned = <[u8; 32]>::try_from(pinned.0.as_slice()).map_err(|_| no_factor())?;
        let genuine = self.statements.verify(mfa).await?;
        if PrincipalId::User(genuine.user) != record.id || pinned != self.ledger.first(pinned, digest(mfa))? {
            return Err(tampered("The second factor is not the one that the record pins."));
        }
        Ok(genuine)
    }

    /// Whether it is a code of the person's, and uses it up. Guesses are counted before they are looked at.
    async fn check_code(
        &self,
        user: UserId,
        mfa: &Mfa,
        code: &Secret,
        what: Guessed,
        with: Option<(TokenId, Time)>,
    ) -> Result<()> {
        self.ledger.guess(*user.as_bytes(), what).await?;
        let factor = match self.step(user, &mfa.seed, code).await? {
            Some(step) => Factor::Step(step),
            None => self.recovery(user, mfa, code).await?.ok_or_else(wrong_code)?,
        };
        self.ledger.use_factor(user, factor, what, with).await
    }

    async fn step(&self, user: UserId, seed: &Blob, code: &Secret) -> Result<Option<u64>> {
        let (seed, code, now) = (seed.clone(), plain(code.expose()), self.clock.now());
        self.pool
            .on_keys(move |keys| {
                let seed = unlock(keys, &aad(user), &seed.0)?;
                Ok(totp::step(seed.expose(), &code, now))
            })
            .await
    }

    async fn recovery(&self, user: UserId, mfa: &Mfa, code: &Secret) -> Result<Option<Factor>> {
        let hmac = self.recovery_code(user, code.expose()).await?;
        Ok(mfa.recovery.contains(&hex::encode(hmac)).then_some(Factor::Recovery(hmac)))
    }

    /// What a recovery code is known by: as it was shown, whatever case and spaces it comes back with.
    async fn recovery_code(&self, user: UserId, code: &[u8]) -> Result<[u8; 32]> {
        let message = Zeroizing::new(length_prefixed(&[
            b"talon/recovery-code/1",
            user.as_bytes(),
            &plain(code).to_ascii_uppercase(),
        ]));
        self.pool.on_keys(move |keys| keys.mac(&message)).await
    }
}

fn no_factor() -> signer_protocol::Refusal {
    tampered("The record pins no second factor of this signer's.")
}

/// A code without the spaces and dashes that people put into it.
fn plain(code: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(code.iter().copied().filter(|c| !matches!(c, b' ' | b'-')).collect())
}

fn recovery_codes() -> Result<Vec<Secret>> {
    (0..RECOVERY_CODES).map(|_| recovery_code()).collect()
}

/// `ABCD-EFGH-JKLM`.
fn recovery_code() -> Result<Secret> {
    let mut drawn = Zeroizing::new([0; LETTERS]);
    random(&mut *drawn).map_err(|error| {
        tracing::error!(%error, "no recovery code can be drawn");
        unavailable("The signer has no randomness; try again in a moment.")
    })?;
    let letters = secret::letters(*drawn);
    Ok(letters.chunks(4).collect::<Vec<_>>().join(&b'-').into())
}

/// A fresh seed, and what it comes to at rest.
fn new_seed(keys: &dyn Keystore, user: UserId) -> Result<(Secret, Blob), KeyError> {
    let mut seed = Zeroizing::new([0; totp::SEED]);
    random(&mut *seed)?;
    let blob = lock(keys, &aad(user), &*seed)?;
    Ok((seed.to_vec().into(), blob))
}

/// All that a seed is bound to.
fn aad(user: UserId) -> Vec<u8> {
    length_prefixed(&[b"talon/totp-seed/1", user.as_bytes()])
}
