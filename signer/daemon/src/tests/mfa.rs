//! The second factor: asked for, counted, used once, and not to be got around.

use domain::{Role, VaultId};
use signer_protocol::Reason;
use signer_protocol::attested::Attested;
use signer_protocol::mfa::{DisableMfa, EnableMfa, EnabledMfa, Mfa, MfaProof, NewMfa, SetUpMfa, VerifyMfa};
use signer_protocol::record::Principal;
use signer_protocol::sealing::MakeVaultKey;
use signer_protocol::token::{ACCESS, IssueToken, IssuedToken, MFA, RevokeToken};
use signer_protocol::wire::Secret;

use super::asserted::google;
use super::{Actor, World, edited, password, reason, settings};
use crate::ledger::{self, Ledger};
use crate::refuse::Result;
use crate::totp;

/// Somebody with a second factor, and what makes its codes.
pub struct Guarded {
    pub actor: Actor,
    pub mfa: Attested<Mfa>,
    pub seed: Secret,
    pub recovery: Vec<Secret>,
}

impl World {
    pub fn code(&self, seed: &Secret, steps: i64) -> Secret {
        let then = u64::try_from(self.clock.now().seconds() + 30 * steps).unwrap();
        totp::app(seed.expose()).unwrap().generate(then).to_string().into_bytes().into()
    }

    pub async fn set_up(&self, by: &Actor) -> Result<NewMfa> {
        self.signer.set_up_mfa(SetUpMfa { by: by.caller() }).await
    }

    pub async fn enable(&self, by: &Actor, new: &NewMfa, code: Secret) -> Result<EnabledMfa> {
        let pending = new.pending.clone();
        self.signer.enable_mfa(EnableMfa { by: by.caller(), pending, code, passkey: None }).await
    }

    /// With a second factor, on whose code of this step nothing more is got.
    pub async fn guarded(&self, actor: Actor) -> Guarded {
        let new = self.set_up(&actor).await.unwrap();
        let enabled = self.enable(&actor, &new, self.code(&new.seed, 0)).await.unwrap();
        self.signer.confirm(enabled.record.clone()).await.unwrap();
        Guarded {
            actor: actor.with_record(enabled.record),
            mfa: enabled.mfa,
            seed: new.seed,
            recovery: enabled.recovery_codes,
        }
    }

    pub async fn first_half(&self, actor: &Actor) -> Secret {
        let (record, proof) = (Some(actor.record.clone()), actor.credential.clone());
        let issued =
            self.signer.issue_token(IssueToken { record, proof, derived_scopes: Vec::new() }).await.unwrap();
        assert_eq!((issued.claims.kind.as_str(), issued.claims.exp - issued.claims.iat), (MFA, 300));
        issued.jwt
    }

    pub async fn verify(&self, g: &Guarded, token: &Secret, code: &Secret) -> Result<IssuedToken> {
        let (token, code) = (token.clone(), code.clone());
        let (record, mfa) = (g.actor.record.clone(), g.mfa.clone());
        self.signer.verify_mfa(VerifyMfa { token, record, mfa, code }).await
    }

    async fn disable(&self, g: &Guarded, proof: MfaProof) -> Result<Attested<Principal>> {
        let (by, mfa) = (g.actor.caller(), g.mfa.clone());
        self.signer.disable_mfa(DisableMfa { by, mfa, proof }).await
    }
}

#[tokio::test]
async fn logging_in_takes_both_halves() {
    let w = World::new();
    let g = w.guarded(w.owner().await).await;
    assert_eq!((g.seed.expose().len(), g.recovery.len()), (20, 8));
    let token = w.first_half(&g.actor).await;
    w.wait(30);
    let issued = w.verify(&g, &token, &w.code(&g.seed, 0)).await.unwrap();
    assert_eq!((issued.claims.kind.as_str(), issued.claims.exp - issued.claims.iat), (ACCESS, 900));
    assert!(!issued.claims.asserted);
    let actor = Actor { token: issued.jwt, ..g.actor.clone() };
    w.vault(&actor).await;
    // What was there before goes on: nothing was taken from anybody.
    w.vault(&g.actor).await;
}

/// Each is good for its own, and for nothing else.
#[tokio::test]
async fn neither_kind_of_token_passes_for_the_other() {
    let w = World::new();
    let g = w.guarded(w.owner().await).await;
    let token = w.first_half(&g.actor).await;
    let half = Actor { token: token.clone(), ..g.actor.clone() };
    let request = MakeVaultKey { by: half.caller(), vault: VaultId::new() };
    assert_eq!(reason(w.signer.make_vault_key(request).await), Reason::Unauthenticated);
    assert_eq!(reason(w.set_up(&half).await), Reason::Unauthenticated);
    assert_eq!(reason(w.invite(&half, Role::Member).await), Reason::Unauthenticated);
    assert_eq!(reason(w.signer.revoke_token(RevokeToken { token }).await), Reason::Unauthenticated);
    w.wait(30);
    let refused = w.verify(&g, &g.actor.token, &w.code(&g.seed, 0)).await;
    assert_eq!(reason(refused), Reason::Unauthenticated);
}

#[tokio::test]
async fn a_code_a_recovery_code_and_a_token_are_good_once() {
    let w = World::new();
    let g = w.guarded(w.owner().await).await;
    let (first, second) = (w.first_half(&g.actor).await, w.first_half(&g.actor).await);
    // The one that switched it on is used up, and so is any older one.
    for steps in [-1, 0] {
        assert_eq!(reason(w.verify(&g, &first, &w.code(&g.seed, steps)).await), Reason::Unauthenticated);
    }
    let code = w.code(&g.seed, 1);
    w.verify(&g, &first, &code).await.unwrap();
    assert_eq!(reason(w.verify(&g, &second, &code).await), Reason::Unauthenticated);
    let recovery = g.recovery[0].clone();
    assert_eq!(reason(w.verify(&g, &first, &recovery).await), Reason::Unauthenticated, "a dead token");
    w.verify(&g, &second, &recovery).await.unwrap();
    let w = w.after_power_cut();
    let third = w.first_half(&g.actor).await;
    for used in [&recovery, &code] {
        assert_eq!(reason(w.verify(&g, &third, used).await), Reason::Unauthenticated);
    }
    // As people write it down.
    let written = String::from_utf8(g.recovery[1].expose().to_vec()).unwrap();
    let written = format!(" {} ", written.to_lowercase().replace('-', " "));
    w.verify(&g, &third, &written.into_bytes().into()).await.unwrap();
}

#[tokio::test]
async fn of_one_code_shown_many_times_at_once_one_counts() {
    let w = World::new();
    let g = w.guarded(w.owner().await).await;
    w.wait(30);
    let mut tokens = Vec::new();
    for _ in 0..4 {
        tokens.push(w.first_half(&g.actor).await);
    }
    let code = w.code(&g.seed, 0);
    let shown = futures::future::join_all(tokens.iter().map(|token| w.verify(&g, token, &code))).await;
    assert_eq!(shown.iter().filter(|issued| issued.is_ok()).count(), 1);
    let recovery = &g.recovery[3];
    let token = w.first_half(&g.actor).await;
    let shown = futures::future::join_all((0..4).map(|_| w.verify(&g, &token, recovery))).await;
    assert_eq!(shown.iter().filter(|issued| issued.is_ok()).count(), 1);
}

#[tokio::test]
async fn five_wrong_guesses_lock_it_however_they_come_and_longer_each_time() {
    let w = World::new();
    let g = w.guarded(w.owner().await).await;
    let wrong = Secret::from(b"000000x".to_vec());
    let token = w.first_half(&g.actor).await;
    let guesses = futures::future::join_all((0..50).map(|_| w.verify(&g, &token, &wrong))).await;
    let looked_at = guesses
        .into_iter()
        .filter(|guess| guess.as_ref().is_err_and(|refusal| refusal.reason == Reason::Unauthenticated));
    assert_eq!(looked_at.count(), 5);
    // The right one is not looked at either.
    assert_eq!(reason(w.verify(&g, &token, &g.recovery[0]).await), Reason::Locked(900));
    let w = w.restarted();
    w.wait(900);
    let token = w.first_half(&g.actor).await;
    for _ in 0..5 {
        assert_eq!(reason(w.verify(&g, &token, &wrong).await), Reason::Unauthenticated);
    }
    assert_eq!(reason(w.verify(&g, &token, &wrong).await), Reason::Locked(1800));
    w.wait(1800);
    // What is right ends it.
    let token = w.first_half(&g.actor).await;
    w.verify(&g, &token, &g.recovery[0]).await.unwrap();
    let token = w.first_half(&g.actor).await;
    for _ in 0..4 {
        assert_eq!(reason(w.verify(&g, &token, &wrong).await), Reason::Unauthenticated);
    }
    w.verify(&g, &token, &g.recovery[1]).await.unwrap();
}

#[tokio::test]
async fn it_is_switched_on_by_its_person_with_a_code_of_its_own_seed() {
    let w = World::new();
    let owner = w.owner().await;
    let agent = w.agent(&owner, settings()).await;
    for by in [&agent, &w.by_key(&owner).await, &w.device(&owner).await] {
        assert_eq!(reason(w.set_up(by).await), Reason::Forbidden);
    }
    let new = w.set_up(&owner).await.unwrap();
    let other = w.set_up(&owner).await.unwrap();
    assert_eq!(reason(w.enable(&owner, &new, w.code(&other.seed, 0)).await), Reason::Unauthenticated);
    let stranger = w.owner().await;
    assert_eq!(reason(w.enable(&stranger, &new, w.code(&new.seed, 0)).await), Reason::Tampered);
    for _ in 0..4 {
        assert_eq!(reason(w.enable(&owner, &new, b"1".to_vec().into()).await), Reason::Unauthenticated);
    }
    assert_eq!(reason(w.enable(&owner, &new, w.code(&new.seed, 0)).await), Reason::Locked(900));
    w.wait(600);
    let owner = w.again(&owner, owner.record.clone()).await;
    assert_eq!(reason(w.enable(&owner, &new, w.code(&new.seed, 0)).await), Reason::Conflict);
    w.wait(300);
    let g = w.guarded(w.again(&owner, owner.record.clone()).await).await;
    assert_eq!(reason(w.set_up(&g.actor).await), Reason::Conflict);
    let late = w.enable(&g.actor, &other, w.code(&other.seed, 1)).await;
    assert_eq!(reason(late), Reason::Conflict);
}

#[tokio::test]
async fn it_is_switched_off_with_a_code_or_the_password() {
    let w = World::new();
    let g = w.guarded(w.owner().await).await;
    let wrong = MfaProof::Password(password(9));
    assert_eq!(reason(w.disable(&g, wrong).await), Reason::Unauthenticated);
    let record = w.disable(&g, MfaProof::Password(password(1))).await.unwrap();
    let told = record.peek().unwrap();
    assert_eq!((told.mfa, told.epoch), (None, 1));
    let record = w.disable(&g, MfaProof::Code(w.code(&g.seed, 1))).await.unwrap();
    let actor = w.again(&g.actor, record).await;
    w.vault(&g.actor.with_record(actor.record.clone())).await;
    w.vault(&actor).await;
}

/// Guesses with a session are counted, and keep nobody from logging in by code.
#[tokio::test]
async fn a_session_locks_nobody_out_of_logging_in() {
    let w = World::new();
    let g = w.guarded(w.owner().await).await;
    let wrong = [MfaProof::Password(password(9)), MfaProof::Code(b"000000x".to_vec().into())];
    let right = [MfaProof::Password(password(1)), MfaProof::Code(g.recovery[1].clone())];
    for (wrong, right) in wrong.into_iter().zip(right) {
        for _ in 0..5 {
            assert_eq!(reason(w.disable(&g, wrong.clone()).await), Reason::Unauthenticated);
        }
        assert_eq!(reason(w.disable(&g, right).await), Reason::Locked(900));
    }
    let token = w.first_half(&g.actor).await;
    w.verify(&g, &token, &g.recovery[0]).await.unwrap();
}

#[tokio::test]
async fn an_edited_older_or_borrowed_factor_is_refused() {
    let w = World::new();
    let owner = w.owner().await;
    let older = w.guarded(owner).await;
    let off = w.disable(&older, MfaProof::Code(older.recovery[0].clone())).await.unwrap();
    w.wait(60);
    let g = w.guarded(w.again(&older.actor, off).await).await;
    let theirs = w.guarded(w.owner().await).await;
    let token = w.first_half(&g.actor).await;
    for (mfa, code) in [
        (older.mfa.clone(), &older.recovery[1]),
        (theirs.mfa.clone(), &theirs.recovery[0]),
        (edited(&g.mfa, "\"recovery\":[\"", "\"recovery\":[\"0"), &g.recovery[0]),
    ] {
        let g = Guarded { mfa, actor: g.actor.clone(), seed: g.seed.clone(), recovery: Vec::new() };
        assert_eq!(reason(w.verify(&g, &token, code).await), Reason::Tampered);
    }
    let borrowed = w.first_half(&theirs.actor).await;
    assert_eq!(reason(w.verify(&g, &borrowed, &g.recovery[0]).await), Reason::Tampered);
    // Nor does a database without it let anybody in.
    let plain = edited(&g.actor.record, "\"mfa\":\"", "\"mfa\":null,\"x\":\"");
    assert_eq!(reason(w.sign_in(&plain, &g.actor.credential).await), Reason::Tampered);
}

#[tokio::test]
async fn a_reset_password_and_an_asserted_login_still_need_it() {
    let w = World::new();
    let g = w.guarded(w.owner().await).await;
    let (record, new) = (g.actor.record.clone(), password(8));
    let record = w.reset_password(record, new).await.unwrap();
    let credential = password(8);
    let reset = Actor { credential, ..g.actor.with_record(record) };
    let token = w.first_half(&reset).await;
    let g = Guarded { actor: reset, ..g };
    w.verify(&g, &token, &g.recovery[0]).await.unwrap();

    let ada = w.guarded(w.google_owner("ada").await).await;
    let half = w.asserted(&ada.actor, google("ada")).await.unwrap();
    assert_eq!((half.claims.kind.as_str(), half.claims.asserted), (MFA, true));
    let issued = w.verify(&ada, &half.jwt, &ada.recovery[0]).await.unwrap();
    assert_eq!((issued.claims.kind.as_str(), issued.claims.asserted), (ACCESS, true));
}

#[tokio::test]
async fn a_first_half_ends_with_its_time_and_with_its_persons_tokens() {
    let w = World::new();
    let g = w.guarded(w.owner().await).await;
    let token = w.first_half(&g.actor).await;
    w.wait(300);
    assert_eq!(reason(w.verify(&g, &token, &g.recovery[0]).await), Reason::Unauthenticated);
    let token = w.first_half(&g.actor).await;
    let (record, new) = (g.actor.record.clone(), password(8));
    let record = w.reset_password(record, new).await.unwrap();
    let g = Guarded { actor: g.actor.with_record(record), ..g };
    assert_eq!(reason(w.verify(&g, &token, &g.recovery[0]).await), Reason::Unauthenticated);
}

#[tokio::test]
async fn a_lost_factor_is_forgotten_by_the_operator_and_a_later_one_is_not() {
    let w = World::new();
    let g = w.guarded(w.owner().await).await;
    let other = w.guarded(w.owner().await).await;
    let wrong = Secret::from(b"nonsense".to_vec());
    let token = w.first_half(&g.actor).await;
    for _ in 0..5 {
        assert!(w.verify(&g, &token, &wrong).await.is_err());
    }
    let World { signer, clock, keys, folder } = w;
    let options = crate::ForgetOptions { user: g.actor.user(), data: folder.path().to_owned() };
    let running = tokio::task::spawn_blocking({
        let options = options.clone();
        move || crate::recovery::forget_second_factor(&options)
    });
    assert!(running.await.unwrap().unwrap_err().to_string().contains("in use"));
    drop(signer);
    tokio::task::spawn_blocking(move || crate::recovery::forget_second_factor(&options))
        .await
        .unwrap()
        .unwrap();
    let w = World::over(folder, keys, clock);

    // The password alone opens now, and another can be set up.
    let actor = w.actor(g.actor.record.clone(), password(1)).await;
    w.vault(&actor).await;
    w.first_half(&other.actor).await;
    w.wait(60);
    let actor = w.actor(g.actor.record.clone(), password(1)).await;
    let later = w.guarded(actor).await;
    w.first_half(&later.actor).await;
    let w = w.restarted();
    w.first_half(&later.actor).await;
}

#[tokio::test]
async fn what_is_forgotten_before_there_was_one_takes_nothing_later() {
    let w = World::new();
    let owner = w.owner().await;
    let user = owner.user();
    w.signer.ledger.forget_second_factor(user).await.unwrap();
    let g = w.guarded(owner).await;
    w.first_half(&g.actor).await;
}

#[test]
fn forgetting_needs_a_ledger_and_a_person_whom_it_knows() {
    let folder = tempfile::tempdir().unwrap();
    let options = crate::ForgetOptions { user: domain::UserId::new(), data: folder.path().to_owned() };
    let error = crate::recovery::forget_second_factor(&options).unwrap_err().to_string();
    assert!(error.contains("--data"), "{error}");
    assert!(!folder.path().join(ledger::FILE).exists());
    drop(Ledger::open(&folder.path().join(ledger::FILE), domain::Clock::default()).unwrap());
    let error = crate::recovery::forget_second_factor(&options).unwrap_err().to_string();
    assert!(error.contains("no person"), "{error}");
}
