//! Personal API keys: what they are worth, and that they end.

use std::time::Duration;

use domain::{AgentId, ApiKeyId, OrgId, PathGlob, Role, SecretType, Time, VaultId};
use signer_protocol::Reason;
use signer_protocol::api_key::{ApiKey, CreateApiKey, IssueKeyToken, RevokeApiKey};
use signer_protocol::attested::Attested;
use signer_protocol::record::{Change, Credential, CredentialKind, Principal};
use signer_protocol::sealing::{DestroyVaultKey, MakeVaultKey};
use signer_protocol::token::{Claims, IssueToken, IssuedToken, RevokeToken};

use super::{Actor, World, agent_key, edited, password, reason, settings};
use crate::refuse::Result;

struct Key {
    record: Attested<ApiKey>,
    credential: Credential,
}

fn credential(seed: u8) -> Credential {
    Credential { kind: CredentialKind::ApiKey, secret: vec![b'a' + seed; 47].into() }
}

fn globs(patterns: &[&str]) -> Vec<PathGlob> {
    patterns.iter().map(|p| PathGlob::parse("scopes", p).unwrap()).collect()
}

fn wanted(by: &Actor, scopes: &[&str], expires_at: Option<Time>) -> CreateApiKey {
    let (id, scopes) = (ApiKeyId::new(), globs(scopes));
    CreateApiKey { by: by.caller(), id, credential: credential(1), scopes, expires_at, passkey: None }
}

impl World {
    async fn key(&self, by: &Actor, scopes: &[&str]) -> Key {
        let record = self.signer.create_api_key(wanted(by, scopes, None)).await.unwrap();
        Key { record, credential: credential(1) }
    }

    async fn exchange(&self, owner: &Actor, key: &Key) -> Result<IssuedToken> {
        let (record, proof) = (owner.record.clone(), key.credential.clone());
        self.signer.issue_key_token(IssueKeyToken { record, key: key.record.clone(), proof }).await
    }

    /// The person, acting through the key.
    async fn through(&self, owner: &Actor, key: &Key) -> Actor {
        let token = self.exchange(owner, key).await.unwrap().jwt;
        Actor { token, ..owner.clone() }
    }

    async fn revoke(&self, by: &Actor, key: &Key) -> Result<Attested<ApiKey>> {
        self.signer.revoke_api_key(RevokeApiKey { by: by.caller(), key: key.record.clone() }).await
    }

    async fn use_token(&self, actor: &Actor) -> Result<()> {
        let request = MakeVaultKey { by: actor.caller(), vault: VaultId::new() };
        self.signer.make_vault_key(request).await.map(drop)
    }
}

#[tokio::test]
async fn a_key_stands_for_its_person() {
    let w = World::new();
    let owner = w.owner().await;
    let key = w.key(&owner, &["api/**"]).await;
    let record = key.record.peek().unwrap();
    let Claims { sub, org, role, epoch, scopes, iat, exp, key: from, .. } =
        w.exchange(&owner, &key).await.unwrap().claims;
    assert_eq!((sub, org, role, epoch), (owner.id, owner.org, Some(Role::Owner), 1));
    assert_eq!((scopes, exp - iat), (globs(&["api/**"]), 900));
    assert_eq!(from.map(|k| (k.id, k.version)), Some((record.id, 1)));
    // What a login of their own gives says nothing of a key.
    let (record, proof) = (Some(owner.record.clone()), owner.credential.clone());
    let own = w.signer.issue_token(IssueToken { record, proof, derived_scopes: vec![] }).await.unwrap();
    assert_eq!(own.claims.key, None);
}

#[tokio::test]
async fn no_token_without_the_key() {
    let w = World::new();
    let owner = w.owner().await;
    let key = w.key(&owner, &[]).await;
    let proven = async |proof: Credential| {
        w.exchange(&owner, &Key { record: key.record.clone(), credential: proof }).await
    };
    for wrong in [credential(2), Credential { kind: CredentialKind::AgentKey, ..credential(1) }, password(1)]
    {
        assert_eq!(reason(proven(wrong).await), Reason::Unauthenticated);
    }
    // The same secret under another id comes to another code: a verifier proves nothing elsewhere.
    let twin = w.key(&owner, &[]).await;
    let code = |key: &Key| key.record.peek().unwrap().verifier.code;
    assert_ne!(code(&key), code(&twin));
    // A key is no password, and no agent's key.
    assert_eq!(reason(w.sign_in(&owner.record, &key.credential).await), Reason::Unauthenticated);
}

#[tokio::test]
async fn people_alone_make_keys_and_only_in_person() {
    let w = World::new();
    let owner = w.owner().await;
    let agent = w.agent(&owner, settings()).await;
    assert_eq!(reason(w.signer.create_api_key(wanted(&agent, &[], None)).await), Reason::Forbidden);
    let through = w.through(&owner, &w.key(&owner, &[]).await).await;
    assert_eq!(reason(w.signer.create_api_key(wanted(&through, &[], None)).await), Reason::Forbidden);
    let ended = Actor { token: owner.token.clone(), ..owner.clone() };
    w.signer.revoke_token(RevokeToken { token: owner.token }).await.unwrap();
    assert_eq!(reason(w.signer.create_api_key(wanted(&ended, &[], None)).await), Reason::Unauthenticated);
}

#[tokio::test]
async fn a_key_that_makes_no_sense_is_refused() {
    let w = World::new();
    let owner = w.owner().await;
    let now = w.clock.now();
    let fresh = || wanted(&owner, &[], None);
    for bad in [
        CreateApiKey { expires_at: Some(now), ..fresh() },
        CreateApiKey { credential: agent_key(1), ..fresh() },
        CreateApiKey { credential: password(1), ..fresh() },
        CreateApiKey { credential: Credential { secret: vec![b'a'; 46].into(), ..credential(1) }, ..fresh() },
        CreateApiKey { scopes: vec![PathGlob::parse("s", "a").unwrap(); 1001], ..fresh() },
    ] {
        assert_eq!(reason(w.signer.create_api_key(bad).await), Reason::Invalid);
    }
}

#[tokio::test]
async fn a_keys_id_is_used_once() {
    let w = World::new();
    let (owner, stranger) = (w.owner().await, w.owner().await);
    let id = w.key(&owner, &[]).await.record.peek().unwrap().id;
    for by in [&owner, &stranger] {
        let again = CreateApiKey { id, ..wanted(by, &[], None) };
        assert_eq!(reason(w.signer.create_api_key(again).await), Reason::Conflict);
    }
}

#[tokio::test]
async fn a_key_goes_with_its_own_persons_record() {
    let w = World::new();
    let (owner, stranger) = (w.owner().await, w.owner().await);
    let colleague = w.person(&owner, Role::Admin).await;
    let key = w.key(&owner, &[]).await;
    for other in [&stranger, &colleague] {
        assert_eq!(reason(w.exchange(other, &key).await), Reason::Tampered);
    }
    // A record of the same person, but in another organisation, as a stranger's key says.
    let moved = Principal { org: OrgId::new(), version: 2, ..owner.record.peek().unwrap() };
    let moved = owner.with_record(w.signer.statements.attest(&moved).await.unwrap());
    assert_eq!(reason(w.exchange(&moved, &key).await), Reason::Tampered);
}

#[tokio::test]
async fn an_edited_or_borrowed_key_record_is_refused() {
    let w = World::new();
    let owner = w.owner().await;
    let key = w.key(&owner, &["api/*"]).await;
    for (from, to) in [
        ("\"scopes\":[\"api/*\"]", "\"scopes\":[]"),
        ("\"expires_at\":null", "\"expires_at\":\"2100-01-01T00:00:00Z\""),
        ("\"version\":1", "\"version\":2"),
        ("\"active\":true", "\"active\":false"),
    ] {
        let forged = Key { record: edited(&key.record, from, to), credential: credential(1) };
        assert_eq!(reason(w.exchange(&owner, &forged).await), Reason::Tampered, "{to}");
        assert_eq!(reason(w.revoke(&owner, &forged).await), Reason::Tampered, "{to}");
    }
    // A person's record that calls itself a key.
    let disguised =
        Key { record: Attested::from_bytes(owner.record.as_bytes().to_vec()), credential: credential(1) };
    assert_eq!(reason(w.exchange(&owner, &disguised).await), Reason::Tampered);
}

#[tokio::test]
async fn the_scopes_of_a_key_are_a_ceiling() {
    let w = World::new();
    let owner = w.owner().await;
    let vault = w.vault(&owner).await;
    let label = |path: &str| vault.label(path, SecretType::Generic);
    let inside = w.seal(&owner, &vault, label("api/a"), "in").await.unwrap().value.unwrap();
    let outside = w.seal(&owner, &vault, label("root/a"), "out").await.unwrap().value.unwrap();
    let scoped = w.through(&owner, &w.key(&owner, &["api/*"]).await).await;
    assert_eq!(w.open(&scoped, &vault, label("api/a"), &inside).await.unwrap(), "in");
    assert_eq!(reason(w.open(&scoped, &vault, label("root/a"), &outside).await), Reason::Forbidden);
    w.seal(&scoped, &vault, label("api/b"), "x").await.unwrap();
    assert_eq!(reason(w.seal(&scoped, &vault, label("root/b"), "x").await), Reason::Forbidden);
    // A key without scopes reaches what its person does.
    let free = w.through(&owner, &w.key(&owner, &[]).await).await;
    assert_eq!(w.open(&free, &vault, label("root/a"), &outside).await.unwrap(), "out");
}

/// Neither through the key's scopes nor through a key without any.
#[tokio::test]
async fn a_key_reaches_no_further_than_its_person() {
    let w = World::new();
    let owner = w.owner().await;
    let vault = w.vault(&owner).await;
    let label = |path: &str| vault.label(path, SecretType::Generic);
    let bounded = Principal { scopes: globs(&["api/*"]), version: 2, ..owner.record.peek().unwrap() };
    let bounded = owner.with_record(w.signer.statements.attest(&bounded).await.unwrap());
    for scopes in [&["root/*"][..], &["**"], &[]] {
        let through = w.through(&bounded, &w.key(&bounded, scopes).await).await;
        assert_eq!(reason(w.seal(&through, &vault, label("root/a"), "x").await), Reason::Forbidden);
        let within = w.seal(&through, &vault, label("api/a"), "x").await;
        assert_eq!(within.is_ok(), scopes != ["root/*"]);
    }
}

/// An agent's new key, or a new agent, would lead around the scopes.
#[tokio::test]
async fn a_key_with_scopes_changes_nobody_and_destroys_no_vault() {
    let w = World::new();
    let owner = w.owner().await;
    let agent = w.agent(&owner, settings()).await;
    let vault = w.vault(&owner).await;
    let scoped = w.through(&owner, &w.key(&owner, &["api/*"]).await).await;
    for change in [Change::Update(settings()), Change::RotateKey(agent_key(7)), Change::Deactivate] {
        assert_eq!(reason(w.change(&scoped, &agent, change).await), Reason::Forbidden);
    }
    let made = w.create_agent(&scoped, AgentId::new(), &agent_key(7), settings()).await;
    assert_eq!(reason(made), Reason::Forbidden);
    let destroy = |by: &Actor| DestroyVaultKey { by: by.caller(), key: vault.key.clone(), passkey: None };
    assert_eq!(reason(w.signer.destroy_vault_key(destroy(&scoped)).await), Reason::Forbidden);

    let free = w.through(&owner, &w.key(&owner, &[]).await).await;
    w.create_agent(&free, AgentId::new(), &agent_key(7), settings()).await.unwrap();
    w.change(&free, &agent, Change::RotateKey(agent_key(7))).await.unwrap();
    w.signer.destroy_vault_key(destroy(&free)).await.unwrap();
}

#[tokio::test]
async fn revoking_a_key_ends_it_and_its_tokens_at_once_and_for_good() {
    let w = World::new();
    let owner = w.owner().await;
    let (key, other) = (w.key(&owner, &[]).await, w.key(&owner, &[]).await);
    let (ended, lives) = (w.through(&owner, &key).await, w.through(&owner, &other).await);
    w.use_token(&ended).await.unwrap();
    let last = w.revoke(&owner, &key).await.unwrap();
    assert_eq!(reason(w.use_token(&ended).await), Reason::Unauthenticated);
    assert_eq!(reason(w.exchange(&owner, &key).await), Reason::RolledBack, "the old row was brought back");
    let revoked = Key { record: last.clone(), credential: credential(1) };
    assert_eq!(reason(w.exchange(&owner, &revoked).await), Reason::Unauthenticated);
    // A gateway that lost the answer asks again, with either record.
    assert!(w.revoke(&owner, &key).await.unwrap() == last);
    assert!(w.revoke(&owner, &revoked).await.unwrap() == last);
    w.use_token(&owner).await.unwrap();
    w.use_token(&lives).await.unwrap();
    let w = w.restarted();
    assert_eq!(reason(w.use_token(&ended).await), Reason::Unauthenticated);
    assert_eq!(reason(w.exchange(&owner, &key).await), Reason::RolledBack);
    w.use_token(&lives).await.unwrap();
}

#[tokio::test]
async fn a_key_that_was_never_used_ends_as_well() {
    let w = World::new();
    let owner = w.owner().await;
    let key = w.key(&owner, &[]).await;
    w.revoke(&owner, &key).await.unwrap();
    assert_eq!(reason(w.exchange(&owner, &key).await), Reason::RolledBack);
    let w = w.after_power_cut();
    assert_eq!(reason(w.exchange(&owner, &key).await), Reason::RolledBack);
}

#[tokio::test]
async fn who_revokes_a_key() {
    let w = World::new();
    let (owner, stranger) = (w.owner().await, w.owner().await);
    let mia = w.person(&owner, Role::Member).await;
    let agent = w.agent(&mia, settings()).await;
    let (key, second) = (w.key(&mia, &["a"]).await, w.key(&mia, &[]).await);
    let neighbour = w.through(&mia, &second).await;
    let device = w.device(&mia).await;
    for other in [&owner, &stranger, &agent, &neighbour, &device] {
        assert_eq!(reason(w.revoke(other, &key).await), Reason::Forbidden);
    }
    w.exchange(&mia, &key).await.unwrap();
    // A program ends its own key; a person any of theirs.
    let itself = w.through(&mia, &key).await;
    w.revoke(&itself, &key).await.unwrap();
    assert_eq!(reason(w.use_token(&itself).await), Reason::Unauthenticated);
    w.revoke(&mia, &second).await.unwrap();
}

#[tokio::test]
async fn a_key_ends_with_its_time_and_its_tokens_with_it() {
    let w = World::new();
    let owner = w.owner().await;
    let end = Time::from_seconds(w.clock.now().plus(Duration::from_secs(100)).seconds());
    let record = w.signer.create_api_key(wanted(&owner, &[], Some(end))).await.unwrap();
    let key = Key { record, credential: credential(1) };
    let issued = w.exchange(&owner, &key).await.unwrap();
    assert_eq!(issued.claims.exp, end.seconds(), "outlives its key");
    let through = w.through(&owner, &key).await;
    w.use_token(&through).await.unwrap();
    w.wait(101);
    assert_eq!(reason(w.use_token(&through).await), Reason::Unauthenticated);
    assert_eq!(reason(w.exchange(&owner, &key).await), Reason::Unauthenticated);
    w.use_token(&owner).await.unwrap();
}

#[tokio::test]
async fn what_ends_a_persons_tokens_ends_those_of_their_keys() {
    let w = World::new();
    let owner = w.owner().await;
    let key = w.key(&owner, &[]).await;
    let through = w.through(&owner, &key).await;
    let genuine = owner.record.peek().unwrap();
    let changed = Principal { epoch: 2, version: 2, ..genuine.clone() };
    let changed = owner.with_record(w.signer.statements.attest(&changed).await.unwrap());
    w.signer.confirm(changed.record.clone()).await.unwrap();
    assert_eq!(reason(w.use_token(&through).await), Reason::RolledBack);
    let late = through.with_record(changed.record.clone());
    assert_eq!(reason(w.use_token(&late).await), Reason::Unauthenticated);
    assert_eq!(reason(w.exchange(&owner, &key).await), Reason::RolledBack);
    w.use_token(&w.through(&changed, &key).await).await.unwrap();

    let gone = Principal { active: false, epoch: 3, version: 3, ..genuine };
    let gone = owner.with_record(w.signer.statements.attest(&gone).await.unwrap());
    assert_eq!(reason(w.exchange(&gone, &key).await), Reason::Unauthenticated);
}
