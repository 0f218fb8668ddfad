//! A vault has one key, its first: whoever comes with another, made for the same id, gets nowhere.

use std::time::Duration;

use domain::{AgentId, Role, SecretType, VaultId};
use redb::{ReadableTable as _, TableDefinition};
use signer_protocol::Reason;
use signer_protocol::attested::Attested;
use signer_protocol::identity::{MakeIdentity, Maker, NewIdentity};
use signer_protocol::sealing::{DestroyVaultKey, Holds, Label, MakeVaultKey, VaultKey};
use signer_protocol::wire::Blob;

use super::{Actor, Vault, World, reason, settings};
use crate::ledger;
use crate::refuse::Result;

impl World {
    async fn make_key(&self, by: &Actor, vault: VaultId) -> Result<Attested<VaultKey>> {
        self.signer.make_vault_key(MakeVaultKey { by: by.caller(), vault }).await
    }

    async fn pairs(
        &self,
        by: &Actor,
        vault: VaultId,
        vault_key: Option<Attested<VaultKey>>,
    ) -> Result<NewIdentity> {
        let request =
            MakeIdentity { by: Maker::Caller(by.caller()), agent: AgentId::new(), vault, vault_key };
        self.signer.make_identity(request).await
    }

    pub async fn identities_vault(&self, by: &Actor) -> Vault {
        let id = VaultId::new();
        let key = self.pairs(by, id, None).await.unwrap().vault_key;
        Vault { id, org: by.org, key }
    }

    pub async fn destroy(&self, by: &Actor, vault: &Vault) -> Result<()> {
        let request = DestroyVaultKey { by: by.caller(), key: vault.key.clone(), passkey: None };
        self.signer.destroy_vault_key(request).await
    }

    /// The vault with another key: a genuine statement, such as a signer made that kept no list.
    pub async fn second(&self, by: &Actor, vault: &Vault, holds: Holds) -> Vault {
        let wrapped = Blob(self.signer.pool.on_keys(|keys| keys.new_vault_key()).await.unwrap());
        let key = VaultKey { org: by.org, vault: vault.id, creator: by.id, holds, wrapped };
        Vault { id: vault.id, org: by.org, key: self.signer.statements.attest(&key).await.unwrap() }
    }

    pub async fn sealed(&self, by: &Actor, vault: &Vault) -> (Label, Blob) {
        let label = vault.label("api/token", SecretType::ApiKey);
        let sealed = self.seal(by, vault, label.clone(), "hunter2").await.unwrap();
        (label, sealed.value.unwrap())
    }

    /// Ends the signer, makes its ledger one of format 1, and starts another on it.
    pub async fn on_an_old_ledger(self) -> Self {
        let Self { signer, clock, keys, folder } = self;
        drop(signer);
        tokio::time::sleep(Duration::from_millis(2)).await;
        let db = redb::Database::open(folder.path().join(ledger::FILE)).unwrap();
        let tx = db.begin_write().unwrap();
        tx.delete_table(TableDefinition::<[u8; 32], [u8; 32]>::new("vault_keys")).unwrap();
        let mut meta = tx.open_table(TableDefinition::<&str, u64>::new("meta")).unwrap();
        assert_eq!(meta.insert("format", 1).unwrap().unwrap().value(), 6);
        assert!(meta.get("vault_keys_since").unwrap().is_none(), "a new ledger has all keys");
        drop(meta);
        tx.commit().unwrap();
        drop(db);
        Self::over(folder, keys, clock)
    }
}

#[tokio::test]
async fn a_vault_gets_no_second_key() {
    let w = World::new();
    let owner = w.owner().await;
    let (vault, identities) = (w.vault(&owner).await, w.identities_vault(&owner).await);
    let (label, blob) = w.sealed(&owner, &vault).await;
    let (agent, member) = (w.agent(&owner, settings()).await, w.person(&owner, Role::Member).await);
    let w = w.restarted();
    for by in [&agent, &member, &owner] {
        assert_eq!(reason(w.make_key(by, vault.id).await), Reason::Conflict);
        assert_eq!(reason(w.make_key(by, identities.id).await), Reason::Conflict);
    }
    for by in [&member, &owner] {
        assert_eq!(reason(w.pairs(by, vault.id, None).await), Reason::Conflict);
        assert_eq!(reason(w.pairs(by, identities.id, None).await), Reason::Conflict);
    }
    assert_eq!(w.open(&owner, &vault, label, &blob).await.unwrap(), "hunter2");
    w.pairs(&owner, identities.id, Some(identities.key)).await.unwrap();
}

#[tokio::test]
async fn another_key_than_the_vaults_own_is_refused_everywhere() {
    let w = World::new();
    let owner = w.owner().await;
    let (vault, identities) = (w.vault(&owner).await, w.identities_vault(&owner).await);
    let (label, blob) = w.sealed(&owner, &vault).await;
    let (agent, member) = (w.agent(&owner, settings()).await, w.person(&owner, Role::Member).await);
    for by in [&agent, &member, &owner] {
        for vault in [&vault, &identities] {
            let second = w.second(by, vault, Holds::Values).await;
            assert_eq!(reason(w.destroy(by, &second).await), Reason::Tampered);
            assert_eq!(reason(w.destroy(&owner, &second).await), Reason::Tampered);
            let chosen = second.label("agents/a/ssh/private_key", SecretType::SshKey);
            assert_eq!(reason(w.seal(by, &second, chosen, "chosen").await), Reason::Tampered);
            let label = second.label("api/token", SecretType::ApiKey);
            assert_eq!(reason(w.open(by, &second, label, &blob).await), Reason::Tampered);
        }
    }
    let second = w.second(&owner, &identities, Holds::Identities).await;
    assert_eq!(reason(w.pairs(&owner, second.id, Some(second.key)).await), Reason::Tampered);
    w.open(&agent, &vault, label, &blob).await.unwrap();
    w.pairs(&owner, identities.id, Some(identities.key)).await.unwrap();
}

#[tokio::test]
async fn of_keys_made_at_once_one_wins() {
    let w = World::new();
    let owner = w.owner().await;
    let agent = w.agent(&owner, settings()).await;
    let id = VaultId::new();
    let asked = (0..20).map(|n| w.make_key(if n % 2 == 0 { &owner } else { &agent }, id));
    let (made, refused): (Vec<_>, Vec<_>) =
        futures::future::join_all(asked).await.into_iter().partition(Result::is_ok);
    assert_eq!(made.len(), 1);
    assert!(refused.into_iter().all(|no| reason(no) == Reason::Conflict));
    // What was answered is on the disk.
    let w = w.after_power_cut();
    let vault = Vault { id, org: owner.org, key: made.into_iter().next().unwrap().unwrap() };
    w.sealed(&owner, &vault).await;
    assert_eq!(reason(w.make_key(&owner, id).await), Reason::Conflict);
}

#[tokio::test]
async fn a_key_from_before_is_kept_at_its_first_use() {
    let w = World::new();
    let owner = w.owner().await;
    let (vault, identities) = (w.vault(&owner).await, w.identities_vault(&owner).await);
    let (label, blob) = w.sealed(&owner, &vault).await;
    let agent = w.agent(&owner, settings()).await;
    let bound = super::AgentSettings { vault_ids: vec![VaultId::new()], ..settings() };
    let bound = w.agent(&owner, bound).await;
    let w = w.on_an_old_ledger().await;
    // Not seen yet, and no other can be made for it; whoever may not touch it has nothing kept.
    assert_eq!(reason(w.make_key(&agent, vault.id).await), Reason::Conflict);
    assert_eq!(reason(w.make_key(&owner, identities.id).await), Reason::Conflict);
    assert_eq!(reason(w.pairs(&owner, identities.id, None).await), Reason::Conflict);
    let second = w.second(&bound, &vault, Holds::Values).await;
    assert_eq!(reason(w.open(&bound, &second, label.clone(), &blob).await), Reason::Forbidden);

    assert_eq!(w.open(&agent, &vault, label.clone(), &blob).await.unwrap(), "hunter2");
    w.pairs(&owner, identities.id, Some(identities.key.clone())).await.unwrap();
    let kept = w.signer.ledger.commits();
    w.open(&agent, &vault, label.clone(), &blob).await.unwrap();
    w.sealed(&owner, &vault).await;
    assert_eq!(w.signer.ledger.commits(), kept, "a key that is kept costs no write");

    let w = w.restarted();
    assert_eq!(reason(w.open(&agent, &second, label.clone(), &blob).await), Reason::Tampered);
    assert_eq!(reason(w.destroy(&owner, &second).await), Reason::Tampered);
    let posing = w.second(&owner, &identities, Holds::Values).await;
    assert_eq!(reason(w.destroy(&owner, &posing).await), Reason::Tampered);
    w.open(&owner, &vault, label, &blob).await.unwrap();
    // New ones are made as ever.
    let fresh = w.vault(&agent).await;
    w.destroy(&agent, &fresh).await.unwrap();
}

#[tokio::test]
async fn of_two_keys_from_before_one_is_kept() {
    let w = World::new();
    let owner = w.owner().await;
    let vault = w.vault(&owner).await;
    let second = w.second(&owner, &vault, Holds::Values).await;
    let w = w.on_an_old_ledger().await;
    let label = vault.label("a", SecretType::Note);
    let asked = (0..20).map(|n| {
        let vault = if n % 2 == 0 { &vault } else { &second };
        w.seal(&owner, vault, label.clone(), "x")
    });
    let answers = futures::future::join_all(asked).await;
    let wins = answers.iter().map(Result::is_ok).collect::<Vec<_>>();
    assert!(wins[0] != wins[1] && wins.chunks(2).all(|pair| pair == &wins[..2]), "{wins:?}");
}

#[tokio::test]
async fn an_unused_vault_from_before_is_destroyed_by_who_manages() {
    let w = World::new();
    let owner = w.owner().await;
    let agent = w.agent(&owner, settings()).await;
    let (unused, used) = (w.vault(&agent).await, w.vault(&agent).await);
    let (label, blob) = w.sealed(&agent, &unused).await;
    let w = w.on_an_old_ledger().await;
    // The creator is whoever the key names, and any key could be shown: only one that was seen in use is believed.
    assert_eq!(reason(w.destroy(&agent, &unused).await), Reason::Forbidden);
    w.sealed(&agent, &used).await;
    w.destroy(&agent, &used).await.unwrap();

    for _ in 0..2 {
        w.destroy(&owner, &unused).await.unwrap();
    }
    assert_eq!(reason(w.open(&owner, &unused, label, &blob).await), Reason::Destroyed);
    assert_eq!(reason(w.make_key(&owner, unused.id).await), Reason::Destroyed);
}
