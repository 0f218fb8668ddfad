//! Values and keys: who may open, who may store, and that nothing opens where it was not sealed.

use domain::{OrgId, PathGlob, SecretPath, SecretType, VaultId};
use signer_protocol::Reason;
use signer_protocol::record::{AgentSettings, Change};
use signer_protocol::sealing::{DestroyVaultKey, Label, MakeVaultKey, Seal};
use signer_protocol::wire::Blob;

use super::{Actor, World, edited, reason, settings};

const KEY: &str = "0x4646464646464646464646464646464646464646464646464646464646464646";

#[tokio::test]
async fn what_is_sealed_opens() {
    let w = World::new();
    let owner = w.owner().await;
    let vault = w.vault(&owner).await;
    for value in ["", "hunter2", &"x".repeat(1 << 20)] {
        let label = vault.label("api/token", SecretType::ApiKey);
        let sealed = w.seal(&owner, &vault, label.clone(), value).await.unwrap();
        assert!(sealed.signing_key.is_none());
        let blob = sealed.value.unwrap();
        assert_eq!(w.open(&owner, &vault, label, &blob).await.unwrap(), value);
    }
    let large = "x".repeat((1 << 20) + 1);
    let refused = w.seal(&owner, &vault, vault.label("api/token", SecretType::Note), &large).await;
    assert_eq!(reason(refused), Reason::Invalid);
}

#[tokio::test]
async fn a_value_opens_only_where_it_was_sealed() {
    let w = World::new();
    let owner = w.owner().await;
    let vault = w.vault(&owner).await;
    let label = vault.label("api/token", SecretType::ApiKey);
    let blob = w.seal(&owner, &vault, label.clone(), "hunter2").await.unwrap().value.unwrap();
    for moved in [
        Label { path: SecretPath::parse("api/tokens").unwrap(), ..label.clone() },
        Label { version: 2, ..label.clone() },
        Label { kind: SecretType::Note, ..label.clone() },
    ] {
        assert_eq!(reason(w.open(&owner, &vault, moved, &blob).await), Reason::Tampered);
    }
    let other = w.vault(&owner).await;
    let there = Label { vault: other.id, ..label.clone() };
    assert_eq!(reason(w.open(&owner, &other, there, &blob).await), Reason::Tampered);
    for at in 0..blob.0.len() {
        let mut damaged = blob.clone();
        damaged.0[at] ^= 1;
        assert_eq!(
            reason(w.open(&owner, &vault, label.clone(), &damaged).await),
            Reason::Tampered,
            "byte {at}"
        );
    }
    for length in [0, 1, 60, 61, 72, 73, blob.0.len() - 1] {
        let cut = Blob(blob.0[..length].to_vec());
        assert_eq!(
            reason(w.open(&owner, &vault, label.clone(), &cut).await),
            Reason::Tampered,
            "{length} bytes"
        );
    }
}

#[tokio::test]
async fn a_vaults_key_opens_its_own_vault_alone() {
    let w = World::new();
    let (owner, stranger) = (w.owner().await, w.owner().await);
    let (vault, other) = (w.vault(&owner).await, w.vault(&owner).await);
    let label = vault.label("a", SecretType::Note);
    let blob = w.seal(&owner, &vault, label.clone(), "x").await.unwrap().value.unwrap();
    // The other vault's key under this vault's label, and the key moved to this vault by hand.
    let swapped = super::Vault { key: other.key.clone(), ..vault };
    assert_eq!(reason(w.open(&owner, &swapped, label.clone(), &blob).await), Reason::Tampered);
    let moved = edited(&other.key, &other.id.to_string(), &swapped.id.to_string());
    let moved = super::Vault { key: moved, ..swapped };
    assert_eq!(reason(w.open(&owner, &moved, label.clone(), &blob).await), Reason::Tampered);
    // A stranger makes a key for our vault's id: it is his organisation's, and opens nothing of ours.
    let request = MakeVaultKey { by: stranger.caller(), vault: moved.id };
    let key = w.signer.make_vault_key(request).await.unwrap();
    let his = super::Vault { key, ..moved };
    assert_eq!(reason(w.open(&stranger, &his, label, &blob).await), Reason::Tampered);
}

#[tokio::test]
async fn another_organisations_vault_is_out_of_reach() {
    let w = World::new();
    let (owner, stranger) = (w.owner().await, w.owner().await);
    let vault = w.vault(&owner).await;
    let label = vault.label("a", SecretType::Note);
    let blob = w.seal(&owner, &vault, label.clone(), "x").await.unwrap().value.unwrap();
    assert_eq!(reason(w.open(&stranger, &vault, label.clone(), &blob).await), Reason::Forbidden);
    assert_eq!(reason(w.seal(&stranger, &vault, label.clone(), "x").await), Reason::Forbidden);
    let posing = Label { org: stranger.org, ..label };
    assert_eq!(reason(w.open(&stranger, &vault, posing, &blob).await), Reason::Tampered);
    let request = DestroyVaultKey { by: stranger.caller(), key: vault.key.clone(), passkey: None };
    assert_eq!(reason(w.signer.destroy_vault_key(request).await), Reason::Forbidden);
}

#[tokio::test]
async fn an_agent_stays_in_its_vaults_and_scopes() {
    let w = World::new();
    let owner = w.owner().await;
    let (inside, outside) = (w.vault(&owner).await, w.vault(&owner).await);
    let scopes = vec![PathGlob::parse("scopes", "api/*").unwrap()];
    let bound = AgentSettings { vault_ids: vec![inside.id], scopes, ..settings() };
    let agent = w.agent(&owner, bound).await;
    for (vault, path, allowed) in [
        (&inside, "api/token", true),
        (&inside, "api/deep/token", false),
        (&inside, "db", false),
        (&outside, "api/token", false),
    ] {
        let label = vault.label(path, SecretType::ApiKey);
        let blob = w.seal(&owner, vault, label.clone(), "x").await.unwrap().value.unwrap();
        let opened = w.open(&agent, vault, label.clone(), &blob).await;
        let stored = w.seal(&agent, vault, label, "y").await;
        if allowed {
            opened.unwrap();
            stored.unwrap();
        } else {
            assert_eq!((reason(opened), reason(stored)), (Reason::Forbidden, Reason::Forbidden), "{path}");
        }
    }
    let made = w.signer.make_vault_key(MakeVaultKey { by: agent.caller(), vault: VaultId::new() }).await;
    assert_eq!(reason(made), Reason::Forbidden);
}

#[tokio::test]
async fn narrowing_an_agent_counts_at_once() {
    let w = World::new();
    let owner = w.owner().await;
    let vault = w.vault(&owner).await;
    let label = vault.label("a", SecretType::Note);
    let blob = w.seal(&owner, &vault, label.clone(), "x").await.unwrap().value.unwrap();
    let agent = w.agent(&owner, settings()).await;
    w.open(&agent, &vault, label.clone(), &blob).await.unwrap();
    let elsewhere = AgentSettings { vault_ids: vec![VaultId::new()], ..settings() };
    let narrowed = w.change(&owner, &agent, Change::Update(elsewhere)).await.unwrap();
    let agent = agent.with_record(narrowed);
    assert_eq!(reason(w.open(&agent, &vault, label.clone(), &blob).await), Reason::Forbidden);
    // Widening needs a new token: the old one is bound still.
    let bound = w.agent(&owner, AgentSettings { vault_ids: vec![VaultId::new()], ..settings() }).await;
    let widened = w.change(&owner, &bound, Change::Update(settings())).await.unwrap();
    assert_eq!(reason(w.open(&bound.with_record(widened), &vault, label, &blob).await), Reason::Forbidden);
}

#[tokio::test]
async fn an_intents_agent_neither_reads_nor_writes_keys() {
    let w = World::new();
    let owner = w.owner().await;
    let vault = w.vault(&owner).await;
    let agent = w.agent(&owner, AgentSettings { intents: true, ..settings() }).await;
    let plain = w.agent(&owner, settings()).await;
    for kind in SecretType::ALL {
        let label = vault.label("keys/base-signer", kind);
        let blob = w.seal(&owner, &vault, label.clone(), KEY).await.unwrap().value.unwrap();
        let (opened, stored) = (
            w.open(&agent, &vault, label.clone(), &blob).await,
            w.seal(&agent, &vault, label.clone(), KEY).await,
        );
        if matches!(kind, SecretType::PrivateKey | SecretType::SshKey) {
            assert_eq!((reason(opened), reason(stored)), (Reason::Forbidden, Reason::Forbidden), "{kind:?}");
            // Nor by calling it something else: the type is part of what it is bound to.
            let renamed = Label { kind: SecretType::Note, ..label.clone() };
            assert_eq!(reason(w.open(&agent, &vault, renamed, &blob).await), Reason::Tampered);
        } else {
            assert_eq!(opened.unwrap(), KEY);
            stored.unwrap();
        }
        assert_eq!(w.open(&plain, &vault, label, &blob).await.unwrap(), KEY);
    }
}

#[tokio::test]
async fn switching_intents_on_or_off_does_not_open_keys_to_an_old_token() {
    let w = World::new();
    let owner = w.owner().await;
    let vault = w.vault(&owner).await;
    let label = vault.label("keys/base-signer", SecretType::PrivateKey);
    let blob = w.seal(&owner, &vault, label.clone(), KEY).await.unwrap().value.unwrap();
    for (before, after) in [(false, true), (true, false)] {
        let agent = w.agent(&owner, AgentSettings { intents: before, ..settings() }).await;
        let change = Change::Update(AgentSettings { intents: after, ..settings() });
        let changed = w.change(&owner, &agent, change).await.unwrap();
        let agent = agent.with_record(changed);
        assert_eq!(reason(w.open(&agent, &vault, label.clone(), &blob).await), Reason::Forbidden);
    }
}

#[tokio::test]
async fn a_destroyed_vault_is_gone() {
    let w = World::new();
    let owner = w.owner().await;
    let vault = w.vault(&owner).await;
    let label = vault.label("a", SecretType::Note);
    let blob = w.seal(&owner, &vault, label.clone(), "x").await.unwrap().value.unwrap();
    let request = DestroyVaultKey { by: owner.caller(), key: vault.key.clone(), passkey: None };
    w.signer.destroy_vault_key(request).await.unwrap();
    let w = w.restarted();
    assert_eq!(reason(w.open(&owner, &vault, label.clone(), &blob).await), Reason::Destroyed);
    assert_eq!(reason(w.seal(&owner, &vault, label, "x").await), Reason::Destroyed);
    let again = MakeVaultKey { by: owner.caller(), vault: vault.id };
    assert_eq!(reason(w.signer.make_vault_key(again).await), Reason::Destroyed);
}

#[tokio::test]
async fn an_agent_destroys_no_vault_but_its_own() {
    let w = World::new();
    let owner = w.owner().await;
    let vault = w.vault(&owner).await;
    let agent = w.agent(&owner, settings()).await;
    let destroy =
        |by: &Actor, key| w.signer.destroy_vault_key(DestroyVaultKey { by: by.caller(), key, passkey: None });
    assert_eq!(reason(destroy(&agent, vault.key.clone()).await), Reason::Forbidden);
    let own = w.vault(&agent).await;
    destroy(&agent, own.key.clone()).await.unwrap();
    let sends = w.agent(&owner, AgentSettings { intents: true, ..settings() }).await;
    let own = w.vault(&sends).await;
    assert_eq!(reason(destroy(&sends, own.key.clone()).await), Reason::Forbidden);
    destroy(&owner, own.key.clone()).await.unwrap();
}

/// Organisations can't destroy each other's vaults by making a key of the same id.
#[tokio::test]
async fn destroying_ones_own_key_leaves_anothers_vault_of_that_id() {
    let w = World::new();
    let (owner, stranger) = (w.owner().await, w.owner().await);
    let vault = w.vault(&owner).await;
    let label = vault.label("a", SecretType::Note);
    let blob = w.seal(&owner, &vault, label.clone(), "x").await.unwrap().value.unwrap();
    let request = MakeVaultKey { by: stranger.caller(), vault: vault.id };
    let key = w.signer.make_vault_key(request).await.unwrap();
    w.signer.destroy_vault_key(DestroyVaultKey { by: stranger.caller(), key, passkey: None }).await.unwrap();
    w.open(&owner, &vault, label, &blob).await.unwrap();
}

#[tokio::test]
async fn a_private_key_comes_with_a_signing_key() {
    let w = World::new();
    let owner = w.owner().await;
    let vault = w.vault(&owner).await;
    let label = vault.label("keys/base-signer", SecretType::PrivateKey);
    let sealed = w.seal(&owner, &vault, label.clone(), &format!(" {KEY}\n")).await.unwrap();
    let key = sealed.signing_key.unwrap().peek().unwrap();
    assert_eq!((key.org, key.vault, &key.path, key.version), (owner.org, vault.id, &label.path, 1));
    // The address of EIP-155's example.
    assert_eq!(key.address.to_string().to_lowercase(), "0x9d8a62f656a8d1615c1294fd71e9cfb3e4855a4f");
    assert_eq!(key.public_key.0.len(), 65);
    // What is no key is stored, and can't sign.
    let stored = w.seal(&owner, &vault, label, "-----BEGIN EC PRIVATE KEY-----").await.unwrap();
    assert!(stored.value.is_some() && stored.signing_key.is_none());
}

#[tokio::test]
async fn a_signing_only_key_has_no_way_out() {
    let w = World::new();
    let owner = w.owner().await;
    let vault = w.vault(&owner).await;
    let seal = |label, value: &str| {
        w.signer.seal(Seal {
            by: owner.caller(),
            vault_key: vault.key.clone(),
            label,
            value: value.as_bytes().to_vec().into(),
            signing_only: true,
        })
    };
    let sealed = seal(vault.label("k", SecretType::PrivateKey), KEY).await.unwrap();
    assert!(sealed.value.is_none() && sealed.signing_key.is_some());
    for (kind, value) in
        [(SecretType::PrivateKey, "no key"), (SecretType::Note, KEY), (SecretType::SshKey, KEY)]
    {
        assert_eq!(reason(seal(vault.label("k", kind), value).await), Reason::Invalid);
    }
}

#[tokio::test]
async fn labels_of_no_organisation_open_nothing() {
    let w = World::new();
    let owner = w.owner().await;
    let vault = w.vault(&owner).await;
    let label = Label { org: OrgId::new(), ..vault.label("a", SecretType::Note) };
    assert_eq!(reason(w.seal(&owner, &vault, label, "x").await), Reason::Tampered);
}
