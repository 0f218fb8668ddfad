//! Customers' keys: who may have them changed, that only the right ones do, and that nothing else comes of it.

use std::time::Duration;

use aes_gcm::aead::{Aead as _, KeyInit as _};
use aes_gcm::{Aes256Gcm, Nonce};
use domain::cmek::{Encrypted, Fingerprint};
use domain::{CmekJobId, Role, SecretType, VaultId};
use signer_protocol::attested::Attested;
use signer_protocol::cmek::{AllowRotation, Rotate, Rotated, RotationGrant};
use signer_protocol::record::AgentSettings;
use signer_protocol::sealing::{DestroyVaultKey, Label};
use signer_protocol::wire::Blob;
use signer_protocol::{Reason, Refusal};

use super::{Actor, Vault, World, edited, reason, settings};
use crate::refuse::Result;

const OLD: [u8; 32] = [1; 32];
const NEW: [u8; 32] = [2; 32];
const DAY: u64 = 24 * 60 * 60;

fn print(key: &[u8; 32]) -> [u8; 32] {
    Fingerprint::of(key).0
}

fn encrypted(key: &[u8; 32], plain: &str) -> String {
    let iv = [7; 12];
    let ciphertext = Aes256Gcm::new(key.into()).encrypt(&Nonce::from(iv), plain.as_bytes()).unwrap();
    Encrypted { iv, ciphertext }.to_text()
}

fn decrypted(key: &[u8; 32], text: &str) -> Option<String> {
    let Encrypted { iv, ciphertext } = Encrypted::parse(text.as_bytes())?;
    let plain = Aes256Gcm::new(key.into()).decrypt(&Nonce::from(iv), ciphertext.as_slice()).ok()?;
    String::from_utf8(plain).ok()
}

impl World {
    async fn allow(&self, by: &Actor, vault: &Vault, seconds: u64) -> Result<Attested<RotationGrant>> {
        let request = AllowRotation {
            by: by.caller(),
            job: CmekJobId::new(),
            vault_key: vault.key.clone(),
            old: print(&OLD),
            new: print(&NEW),
            expires_at: self.clock.now().plus(Duration::from_secs(seconds)),
        };
        self.signer.allow_rotation(request).await
    }

    async fn rotate(
        &self,
        grant: &Attested<RotationGrant>,
        vault: &Vault,
        values: Vec<(Label, Blob)>,
    ) -> Result<Rotated> {
        let (old_key, new_key) = (OLD.to_vec().into(), NEW.to_vec().into());
        let (grant, vault_key) = (grant.clone(), vault.key.clone());
        self.signer.rotate(Rotate { grant, vault_key, old_key, new_key, values }).await
    }

    async fn stored(&self, by: &Actor, vault: &Vault, path: &str, value: &str) -> (Label, Blob) {
        let label = vault.label(path, SecretType::Note);
        let sealed = self.seal(by, vault, label.clone(), value).await.unwrap();
        (label, sealed.value.unwrap())
    }
}

#[tokio::test]
async fn values_change_from_the_old_key_to_the_new_one_long_after_the_token() {
    let w = World::new();
    let owner = w.owner().await;
    let vault = w.vault(&owner).await;
    let long = "x".repeat(700_000);
    let plain = ["", "hunter2", &long];
    let mut values = Vec::new();
    for (n, text) in plain.iter().enumerate() {
        values.push(w.stored(&owner, &vault, &format!("a/{n}"), &encrypted(&OLD, text)).await);
    }
    let grant = w.allow(&owner, &vault, DAY).await.unwrap();
    w.wait(DAY - 60);
    let changed = w.rotate(&grant, &vault, values.clone()).await.unwrap().values;
    assert_eq!(changed.len(), plain.len());
    let owner = w.actor(owner.record.clone(), owner.credential.clone()).await;
    for (((label, before), after), text) in values.into_iter().zip(changed).zip(plain) {
        assert!(before != after);
        let now = w.open(&owner, &vault, label, &after).await.unwrap();
        assert_eq!(decrypted(&NEW, &now).as_deref(), Some(text));
        assert_eq!(decrypted(&OLD, &now), None);
        assert_ne!(Encrypted::parse(now.as_bytes()).unwrap().iv, [7; 12], "each gets a fresh IV");
    }
}

#[tokio::test]
async fn a_value_of_another_key_stops_all_and_is_named_and_never_shown() {
    let w = World::new();
    let owner = w.owner().await;
    let vault = w.vault(&owner).await;
    let grant = w.allow(&owner, &vault, DAY).await.unwrap();
    let good = w.stored(&owner, &vault, "good", &encrypted(&OLD, "x")).await;
    for other in [encrypted(&[9; 32], "hunter2"), "hunter2".to_owned(), encrypted(&NEW, "hunter2")] {
        let bad = w.stored(&owner, &vault, "db/bad", &other).await;
        let Refusal { reason, detail } = w.rotate(&grant, &vault, vec![good.clone(), bad]).await.unwrap_err();
        assert_eq!((reason, detail.contains("db/bad version 1")), (Reason::Invalid, true), "{detail}");
        assert!(!detail.contains("hunter2") && !detail.contains(&other), "{detail}");
    }
}

#[tokio::test]
async fn only_who_rules_the_vault_gets_leave() {
    let w = World::new();
    let (owner, stranger) = (w.owner().await, w.owner().await);
    let (admin, member) = (w.person(&owner, Role::Admin).await, w.person(&owner, Role::Member).await);
    let agent = w.agent(&owner, settings()).await;
    let intents = w.agent(&owner, AgentSettings { intents: true, ..settings() }).await;
    let scopes = vec![domain::PathGlob::parse("scopes", "a/*").unwrap()];
    let scoped = w.agent(&owner, AgentSettings { scopes, ..settings() }).await;
    let vault = w.vault(&owner).await;
    w.allow(&owner, &vault, DAY).await.unwrap();
    w.allow(&admin, &vault, DAY).await.unwrap();
    for by in [&member, &agent, &intents, &scoped, &stranger] {
        assert_eq!(reason(w.allow(by, &vault, DAY).await), Reason::Forbidden);
    }
    // Its creator does, unless it is an agent with intents, or held to paths.
    for (creator, allowed) in [(&member, true), (&agent, true), (&intents, false), (&scoped, false)] {
        let own = w.vault(creator).await;
        let leave = w.allow(creator, &own, DAY).await;
        assert_eq!(leave.is_ok(), allowed);
    }
    assert_eq!(reason(w.allow(&owner, &vault, DAY + 1).await), Reason::Invalid);
    assert_eq!(reason(w.allow(&owner, &vault, 0).await), Reason::Invalid);
}

#[tokio::test]
async fn leave_is_for_one_vault_two_keys_and_a_day() {
    let w = World::new();
    let owner = w.owner().await;
    let (vault, other) = (w.vault(&owner).await, w.vault(&owner).await);
    let value = w.stored(&owner, &vault, "a", &encrypted(&OLD, "x")).await;
    let elsewhere = w.stored(&owner, &other, "a", &encrypted(&OLD, "x")).await;
    let grant = w.allow(&owner, &vault, DAY).await.unwrap();
    // Another vault's value, key, or both; a value that was moved.
    assert_eq!(reason(w.rotate(&grant, &vault, vec![elsewhere.clone()]).await), Reason::Tampered);
    assert_eq!(reason(w.rotate(&grant, &other, vec![value.clone()]).await), Reason::Tampered);
    assert_eq!(reason(w.rotate(&grant, &other, vec![elsewhere]).await), Reason::Tampered);
    let moved = (Label { version: 2, ..value.0.clone() }, value.1.clone());
    assert_eq!(reason(w.rotate(&grant, &vault, vec![moved]).await), Reason::Tampered);
    // A grant that was changed by hand.
    let forged = edited(&grant, &vault.id.to_string(), &VaultId::new().to_string());
    assert_eq!(reason(w.rotate(&forged, &vault, vec![value.clone()]).await), Reason::Tampered);
    // Other keys than the ones that were allowed, and none.
    for (old, new) in [(OLD, [3; 32]), ([3; 32], NEW), (NEW, OLD)] {
        let request = Rotate {
            grant: grant.clone(),
            vault_key: vault.key.clone(),
            old_key: old.to_vec().into(),
            new_key: new.to_vec().into(),
            values: vec![value.clone()],
        };
        assert_eq!(reason(w.signer.rotate(request).await), Reason::Invalid);
    }
    let many = vec![value.clone(); 101];
    assert_eq!(reason(w.rotate(&grant, &vault, many).await), Reason::Invalid);
    w.rotate(&grant, &vault, vec![value.clone(); 100]).await.unwrap();
    w.wait(DAY);
    assert_eq!(reason(w.rotate(&grant, &vault, vec![value]).await), Reason::Conflict);
}

#[tokio::test]
async fn a_vault_that_is_gone_changes_no_more() {
    let w = World::new();
    let owner = w.owner().await;
    let vault = w.vault(&owner).await;
    let value = w.stored(&owner, &vault, "a", &encrypted(&OLD, "x")).await;
    let grant = w.allow(&owner, &vault, DAY).await.unwrap();
    let request = DestroyVaultKey { by: owner.caller(), key: vault.key.clone(), passkey: None };
    w.signer.destroy_vault_key(request).await.unwrap();
    assert_eq!(reason(w.rotate(&grant, &vault, vec![value]).await), Reason::Destroyed);
    assert_eq!(reason(w.allow(&owner, &vault, DAY).await), Reason::Destroyed);
}
