//! What a new root wraps: the same keys, taken for the same, and none of a vault that is gone.

use std::time::Duration;

use domain::SecretType;
use signer_protocol::Reason;
use signer_protocol::attested::{Attested, Statement};
use signer_protocol::key::SigningKey;
use signer_protocol::mfa::{DisableMfa, Mfa, MfaProof};
use signer_protocol::root::{Count, FinishRotation, Rewrapped, RootState, Wrapped};
use signer_protocol::sealing::{Holds, VaultKey};
use signer_protocol::webhook::{SignDelivery, WebhookKey};
use signer_protocol::wire::Blob;

use super::intents::{Desk, pay};
use super::{Vault, World, edited, reason};
use crate::ledger::SETTLED;
use crate::refuse::Result;

impl World {
    async fn rewrap(&self, one: Wrapped) -> Rewrapped {
        self.signer.rewrap(vec![one]).await.unwrap().remove(0)
    }

    async fn new_vault_key(&self, old: &Attested<VaultKey>) -> Attested<VaultKey> {
        match self.rewrap(Wrapped::VaultKey(old.clone())).await {
            Rewrapped::Anew(Wrapped::VaultKey(new)) => new,
            other => panic!("{other:?}"),
        }
    }

    async fn new_signing_key(&self, old: &Attested<SigningKey>) -> Attested<SigningKey> {
        match self.rewrap(Wrapped::SigningKey(old.clone())).await {
            Rewrapped::Anew(Wrapped::SigningKey(new)) => new,
            other => panic!("{other:?}"),
        }
    }

    async fn new_factor(&self, old: &Attested<Mfa>) -> Attested<Mfa> {
        match self.rewrap(Wrapped::SecondFactor(old.clone())).await {
            Rewrapped::Anew(Wrapped::SecondFactor(new)) => new,
            other => panic!("{other:?}"),
        }
    }

    async fn new_webhook_key(&self, old: &Attested<WebhookKey>) -> Attested<WebhookKey> {
        match self.rewrap(Wrapped::WebhookKey(old.clone())).await {
            Rewrapped::Anew(Wrapped::WebhookKey(new)) => new,
            other => panic!("{other:?}"),
        }
    }

    async fn state(&self) -> RootState {
        self.signer.root_state().await.unwrap()
    }

    async fn finish(&self, root: u32) -> Result<bool> {
        let count = Count { vault_keys: 1, ..Count::default() };
        self.signer.finish_rotation(FinishRotation { root, count }).await
    }

    fn settle(&self) {
        self.clock.advance(SETTLED);
    }
}

fn refused(outcome: &Rewrapped) -> bool {
    matches!(outcome, Rewrapped::Refused(_))
}

/// The same, for somebody who has the new statement.
fn with(vault: &Vault, key: Attested<VaultKey>) -> Vault {
    Vault { id: vault.id, org: vault.org, key }
}

#[tokio::test]
async fn values_open_by_either_key_until_the_old_root_is_gone() {
    let w = World::new();
    let owner = w.owner().await;
    let vault = w.vault(&owner).await;
    let (label, blob) = w.sealed(&owner, &vault).await;
    w.keys.rotate();
    let w = w.restarted();
    // Asked twice at once, as two gateways do: each answer is good.
    let (one, two) = tokio::join!(w.new_vault_key(&vault.key), w.new_vault_key(&vault.key));
    for key in [&vault.key, &one, &two] {
        let vault = with(&vault, key.clone());
        assert_eq!(w.open(&owner, &vault, label.clone(), &blob).await.unwrap(), "hunter2");
        let (label, blob) = w.sealed(&owner, &vault).await;
        assert_eq!(w.open(&owner, &with(&vault, one.clone()), label, &blob).await.unwrap(), "hunter2");
    }
    let (old, new) = (vault.key.peek().unwrap(), one.peek().unwrap());
    assert_eq!((old.org, old.vault, old.creator, old.holds), (new.org, new.vault, new.creator, new.holds));
    assert_ne!(old.wrapped, new.wrapped);
    assert!(matches!(w.rewrap(Wrapped::VaultKey(one.clone())).await, Rewrapped::AsItIs));

    // What was answered is on the disk.
    let w = w.after_power_cut();
    assert_eq!(w.open(&owner, &with(&vault, two), label.clone(), &blob).await.unwrap(), "hunter2");
    w.keys.retire();
    assert_eq!(reason(w.open(&owner, &vault, label.clone(), &blob).await), Reason::Tampered);
    assert!(refused(&w.rewrap(Wrapped::VaultKey(vault.key.clone())).await));
    let vault = with(&vault, one);
    assert_eq!(w.open(&owner, &vault, label.clone(), &blob).await.unwrap(), "hunter2");

    // And once more.
    w.signer.ledger.retired(2).await.unwrap();
    w.keys.rotate();
    let third = w.new_vault_key(&vault.key).await;
    w.keys.retire();
    w.signer.ledger.retired(3).await.unwrap();
    let vault = with(&vault, third);
    assert_eq!(w.open(&owner, &vault, label.clone(), &blob).await.unwrap(), "hunter2");
    w.destroy(&owner, &vault).await.unwrap();
    assert_eq!(reason(w.open(&owner, &vault, label, &blob).await), Reason::Destroyed);
}

#[tokio::test]
async fn keys_sign_for_the_same_address() {
    let mut d = Desk::new(super::intents::daily("1")).await;
    let waiting = d.submit(pay("0.25")).await.unwrap();
    let old = d.key.peek().unwrap();
    d.w.keys.rotate();
    d.key = d.w.new_signing_key(&d.key).await;
    let new = d.key.peek().unwrap();
    assert_eq!((old.address, &old.public_key, &old.path), (new.address, &new.public_key, &new.path));
    assert!(matches!(d.w.rewrap(Wrapped::SigningKey(d.key.clone())).await, Rewrapped::AsItIs));
    d.w.keys.retire();
    // What was accepted before is signed, and so is what comes.
    assert_eq!(d.sign(&waiting, 0).await.unwrap().from, old.address);
    let next = d.submit(pay("0.25")).await.unwrap();
    assert_eq!(d.sign(&next, 1).await.unwrap().from, old.address);
}

#[tokio::test]
async fn codes_recovery_codes_and_what_an_operator_forgot_stay_what_they_are() {
    let w = World::new();
    let mut g = w.guarded(w.owner().await).await;
    let (old, pending) = (g.mfa.clone(), w.owner().await);
    let set_up = w.set_up(&pending).await.unwrap();
    w.keys.rotate();
    g.mfa = w.new_factor(&old).await;
    assert!(matches!(w.rewrap(Wrapped::SecondFactor(g.mfa.clone())).await, Rewrapped::AsItIs));
    // Set up before, and switched on after everything was wrapped anew: the new root wraps it.
    let enabled = w.enable(&pending, &set_up, w.code(&set_up.seed, 0)).await.unwrap();
    assert!(matches!(w.rewrap(Wrapped::SecondFactor(enabled.mfa)).await, Rewrapped::AsItIs));
    w.keys.retire();

    w.wait(30);
    let half = w.first_half(&g.actor).await;
    w.verify(&g, &half, &w.code(&g.seed, 0)).await.unwrap();
    let half = w.first_half(&g.actor).await;
    w.verify(&g, &half, &g.recovery[0]).await.unwrap();
    let half = w.first_half(&g.actor).await;
    assert_eq!(reason(w.verify(&g, &half, &g.recovery[0]).await), Reason::Unauthenticated);
    // Another's in the new form is no more one's own than in the old one.
    let other = w.guarded(w.owner().await).await;
    g.mfa = other.mfa.clone();
    assert_eq!(reason(w.verify(&g, &half, &g.recovery[1]).await), Reason::Tampered);
    g.mfa = w.rewrapped_twice(&old, &g.mfa).await;
    let proof = MfaProof::Code(g.recovery[1].clone());
    let request = DisableMfa { by: g.actor.caller(), mfa: g.mfa.clone(), proof };
    assert_eq!(reason(w.signer.disable_mfa(request).await), Reason::Tampered);
    w.signer.ledger.forget_second_factor(g.actor.user()).await.unwrap();
    assert!(w.signer.second_factor(&g.actor.record.peek().unwrap()).await.unwrap().is_none());
}

impl World {
    /// The second one, since nothing is got for the first any more.
    async fn rewrapped_twice(&self, gone: &Attested<Mfa>, other: &Attested<Mfa>) -> Attested<Mfa> {
        assert!(refused(&self.rewrap(Wrapped::SecondFactor(gone.clone())).await));
        self.keys.rotate();
        self.new_factor(other).await
    }
}

#[tokio::test]
async fn deliveries_are_signed_by_the_same_key() {
    let w = World::new();
    let owner = w.owner().await;
    let made = w.webhook_key(&owner).await.unwrap();
    let sign = async |key| {
        let content = Blob(b"id.1700000000.{}".to_vec());
        w.signer.sign_delivery(SignDelivery { key, content }).await
    };
    let before = sign(made.key.clone()).await.unwrap();
    w.keys.rotate();
    let new = w.new_webhook_key(&made.key).await;
    assert_eq!(sign(made.key.clone()).await.unwrap(), before);
    w.keys.retire();
    assert_eq!(sign(new.clone()).await.unwrap(), before);
    assert_eq!(reason(sign(made.key).await), Reason::Tampered);
    w.end(&owner).await.unwrap();
    w.keys.rotate();
    assert!(matches!(w.rewrap(Wrapped::WebhookKey(new)).await, Rewrapped::Gone));
}

fn forged<T: Statement>(genuine: &Attested<T>) -> Attested<T> {
    let (mac, body) = genuine.parts().unwrap();
    let mut mac = *mac;
    mac[0] ^= 1;
    Attested::from_parts(mac, body)
}

#[tokio::test]
async fn nothing_is_wrapped_anew_that_is_gone_foreign_or_not_its_vaults_own() {
    let (w, elsewhere) = (World::new(), World::new());
    let (owner, ended) = (w.owner().await, w.owner().await);
    let (vault, destroyed, of_ended) = (w.vault(&owner).await, w.vault(&owner).await, w.vault(&ended).await);
    let key = Desk::store(&w, &owner, &destroyed, "keys/a", 7).await;
    w.destroy(&owner, &destroyed).await.unwrap();
    w.end(&ended).await.unwrap();
    let second = w.second(&owner, &vault, Holds::Values).await;
    let foreign = {
        let owner = elsewhere.owner().await;
        elsewhere.vault(&owner).await
    };
    w.keys.rotate();
    for gone in [Wrapped::VaultKey(destroyed.key), Wrapped::SigningKey(key), Wrapped::VaultKey(of_ended.key)]
    {
        assert!(matches!(w.rewrap(gone).await, Rewrapped::Gone));
    }
    let creator = owner.user().to_string();
    let other = w.owner().await.user().to_string();
    for bad in [
        foreign.key,
        second.key,
        forged(&vault.key),
        edited(&vault.key, &creator, &other),
        Attested::from_bytes(Vec::new()),
    ] {
        assert!(refused(&w.rewrap(Wrapped::VaultKey(bad)).await));
    }
    // A statement of one kind is none of another, and one that is bad is in no other's way.
    let as_webhook = Attested::from_bytes(vault.key.as_bytes().to_vec());
    let (bad, good) = (Wrapped::WebhookKey(as_webhook), Wrapped::VaultKey(vault.key.clone()));
    let outcomes = w.signer.rewrap(vec![bad, good]).await.unwrap();
    assert!(refused(&outcomes[0]) && matches!(outcomes[1], Rewrapped::Anew(_)), "{outcomes:?}");
    let many = vec![Wrapped::VaultKey(vault.key); 101];
    assert_eq!(reason(w.signer.rewrap(many).await), Reason::Invalid);
}

/// Whichever is first on the disk: the vault is destroyed, and nothing of it leaves.
#[tokio::test]
async fn a_vault_that_is_destroyed_at_the_same_moment_stays_destroyed() {
    let w = World::new();
    let owner = w.owner().await;
    for _ in 0..20 {
        let vault = w.vault(&owner).await;
        let (label, blob) = w.sealed(&owner, &vault).await;
        w.keys.rotate();
        let statements = vec![Wrapped::VaultKey(vault.key.clone())];
        let (rewrapped, destroyed) = tokio::join!(w.signer.rewrap(statements), w.destroy(&owner, &vault));
        destroyed.unwrap();
        if let Ok(outcomes) = rewrapped
            && let [Rewrapped::Anew(Wrapped::VaultKey(new))] = &*outcomes
        {
            let refused = w.open(&owner, &with(&vault, new.clone()), label.clone(), &blob).await;
            assert_eq!(reason(refused), Reason::Destroyed);
        }
        let refused = w.open(&owner, &vault, label, &blob).await;
        assert_eq!(reason(refused), Reason::Destroyed);
        assert!(matches!(w.rewrap(Wrapped::VaultKey(vault.key)).await, Rewrapped::Gone));
        w.keys.retire();
    }
}

#[tokio::test]
async fn a_rotation_is_finished_when_nothing_can_be_on_its_way_any_more() {
    let w = World::new();
    let owner = w.owner().await;
    let (vault, late) = (w.vault(&owner).await, w.vault(&owner).await);
    assert_eq!((w.state().await.newest, w.state().await.older), (1, None));
    w.settle();
    assert_eq!(reason(w.finish(1).await), Reason::Conflict, "none is under way");
    w.keys.rotate();
    let state = w.state().await;
    assert_eq!((state.newest, state.older, state.settled, state.finished), (2, Some(1), false, None));
    w.new_vault_key(&vault.key).await;
    assert_eq!(reason(w.finish(2).await), Reason::Conflict, "too early");
    w.clock.advance(SETTLED.saturating_sub(Duration::from_secs(1)));
    assert!(!w.state().await.settled);
    w.settle();
    assert!(w.state().await.settled);
    for wrong in [0, 1, 3] {
        assert_eq!(reason(w.finish(wrong).await), Reason::Conflict);
    }
    assert!(w.finish(2).await.unwrap());
    assert!(!w.finish(2).await.unwrap(), "once");
    let w = w.restarted();
    let (_, count) = w.state().await.finished.unwrap();
    assert_eq!(count, Count { vault_keys: 1, ..Count::default() });

    // Something was left after all.
    w.new_vault_key(&late.key).await;
    assert_eq!(w.state().await.finished, None);
    assert!(w.finish(2).await.unwrap());
    let key = Desk::store(&w, &owner, &vault, "keys/a", 7).await;
    assert!(matches!(w.rewrap(Wrapped::SigningKey(key)).await, Rewrapped::AsItIs));
    assert!(w.state().await.finished.is_some(), "what is there already changes nothing");
}

#[tokio::test]
async fn the_ledger_knows_which_vaults_are_not_under_the_new_root() {
    let w = World::new();
    let (owner, other) = (w.owner().await, w.owner().await);
    let (kept, lost, destroyed) = (w.vault(&owner).await, w.vault(&owner).await, w.vault(&owner).await);
    w.vault(&other).await;
    w.destroy(&owner, &destroyed).await.unwrap();
    w.keys.rotate();
    w.state().await;
    assert_eq!(w.signer.ledger.vaults_not_under(2).unwrap(), 3);
    w.end(&other).await.unwrap();
    let kept = with(&kept, w.new_vault_key(&kept.key).await);
    // Made since, so under the new root from the start.
    let fresh = w.vault(&owner).await;
    assert_eq!(w.signer.ledger.vaults_not_under(2).unwrap(), 1);
    w.destroy(&owner, &lost).await.unwrap();
    assert_eq!(w.signer.ledger.vaults_not_under(2).unwrap(), 0);
    w.keys.retire();
    w.signer.ledger.retired(2).await.unwrap();
    w.keys.rotate();
    assert_eq!(w.signer.ledger.vaults_not_under(3).unwrap(), 2);
    for vault in [kept, fresh] {
        w.new_vault_key(&vault.key).await;
    }
    assert_eq!(w.signer.ledger.vaults_not_under(3).unwrap(), 0);
}

#[tokio::test]
async fn a_key_from_before_the_ledgers_list_is_kept_as_the_one_that_it_was() {
    let w = World::new();
    let owner = w.owner().await;
    let vault = w.vault(&owner).await;
    let (label, blob) = w.sealed(&owner, &vault).await;
    let w = w.on_an_old_ledger().await;
    w.keys.rotate();
    // Wrapping anew is no use: it keeps no key.
    let second = w.second(&owner, &vault, Holds::Values).await;
    let posing = w.rewrap(Wrapped::VaultKey(second.key.clone())).await;
    assert!(matches!(posing, Rewrapped::AsItIs));
    let new = with(&vault, w.new_vault_key(&vault.key).await);
    assert_eq!(w.open(&owner, &new, label.clone(), &blob).await.unwrap(), "hunter2");
    assert_eq!(w.open(&owner, &vault, label, &blob).await.unwrap(), "hunter2");
    let other = second.label("a", SecretType::Note);
    assert_eq!(reason(w.seal(&owner, &second, other, "x").await), Reason::Tampered);
    w.destroy(&owner, &new).await.unwrap();
}
