//! Agents' identity pairs: they belong together, they open where they were sealed, and nobody slips in another.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{AgentId, SecretPath, SecretType, VaultId};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use signer_protocol::attested::Attested;
use signer_protocol::identity::{Identity, MakeIdentity, Maker, NewIdentity, PublicHalves, SealedHalf};
use signer_protocol::record::{AgentLogin, AgentSettings, Change, ChangePrincipal, Principal};
use signer_protocol::sealing::{DestroyVaultKey, Holds, Label, Seal, VaultKey};
use signer_protocol::{Reason, Refusal};

use super::{Actor, Vault, World, agent_key, edited, reason, settings};
use crate::refuse::Result;

/// An agent with its pairs, and the vault that holds them.
struct Known {
    agent: Actor,
    made: NewIdentity,
    vault: Vault,
    halves: PublicHalves,
}

impl World {
    async fn identity(
        &self,
        by: &Actor,
        agent: AgentId,
        vault: VaultId,
        vault_key: Option<Attested<VaultKey>>,
    ) -> Result<NewIdentity> {
        self.signer
            .make_identity(MakeIdentity { by: Maker::Caller(by.caller()), agent, vault, vault_key })
            .await
    }

    async fn registered(
        &self,
        by: &Actor,
        id: AgentId,
        identity: Attested<Identity>,
        settings: AgentSettings,
    ) -> Result<Attested<Principal>> {
        let change = Change::CreateAgent {
            id,
            login: AgentLogin::Key(agent_key(3)),
            identity: Some(identity),
            settings,
        };
        self.signer
            .change_principal(ChangePrincipal { by: by.caller(), base: None, change, passkey: None })
            .await
    }

    async fn known(&self, by: &Actor, vault: Option<&Vault>, settings: AgentSettings) -> Known {
        let (agent, id) = (AgentId::new(), vault.map_or_else(VaultId::new, |v| v.id));
        let made = self.identity(by, agent, id, vault.map(|v| v.key.clone())).await.unwrap();
        let record = self.registered(by, agent, made.identity.clone(), settings).await.unwrap();
        let halves = record.peek().unwrap().identity.unwrap();
        let vault = Vault { id, org: by.org, key: made.vault_key.clone() };
        Known { agent: self.actor(record, agent_key(3)).await, made, vault, halves }
    }

    async fn private(&self, by: &Actor, vault: &Vault, half: &SealedHalf) -> Result<[u8; 32]> {
        let text = self.open(by, vault, half.label.clone(), &half.value).await?;
        Ok(STANDARD.decode(text).unwrap().try_into().unwrap())
    }
}

#[tokio::test]
async fn the_halves_belong_together() {
    let w = World::new();
    let owner = w.owner().await;
    let one = w.known(&owner, None, settings()).await;
    let two = w.known(&owner, Some(&one.vault), settings()).await;
    assert_eq!(one.made.vault_key.peek().unwrap().holds, Holds::Identities);

    let seed = w.private(&one.agent, &one.vault, &one.made.ssh).await.unwrap();
    let signature = SigningKey::from_bytes(&seed).sign(b"who am I?");
    let verifies = |halves: &PublicHalves, signature: &Signature| {
        let public: [u8; 32] = halves.ssh.0.clone().try_into().unwrap();
        VerifyingKey::from_bytes(&public).unwrap().verify_strict(b"who am I?", signature).is_ok()
    };
    assert!(verifies(&one.halves, &signature) && !verifies(&two.halves, &signature));

    let (a, b) = (
        w.private(&one.agent, &one.vault, &one.made.ecdh).await.unwrap(),
        w.private(&two.agent, &two.vault, &two.made.ecdh).await.unwrap(),
    );
    assert_eq!((one.halves.ecdh.0.len(), one.halves.ecdh.0[0]), (65, 4));
    let agreed = |private: &[u8; 32], public: &PublicHalves| {
        let private = p256::SecretKey::from_slice(private).unwrap();
        let public = p256::PublicKey::from_sec1_bytes(&public.ecdh.0).unwrap();
        *p256::ecdh::diffie_hellman(private.to_nonzero_scalar(), public.as_affine()).raw_secret_bytes()
    };
    assert_eq!(agreed(&a, &two.halves), agreed(&b, &one.halves));
    assert_ne!(agreed(&a, &two.halves), agreed(&b, &two.halves));
    assert!(seed != a && a != b);
}

#[tokio::test]
async fn they_are_keys_at_the_places_of_the_contract_and_sign_no_transaction() {
    let w = World::new();
    let owner = w.owner().await;
    let Known { agent, made, vault, .. } = w.known(&owner, None, settings()).await;
    let id = agent.agent_id();
    let ssh = vault.label(&format!("agents/{id}/ssh/private_key"), SecretType::SshKey);
    let ecdh = vault.label(&format!("agents/{id}/ecdh/private_key"), SecretType::PrivateKey);
    assert_eq!((&made.ssh.label, &made.ecdh.label), (&ssh, &ecdh));
    // Neither by storing one there: nothing that signs transactions ever comes into this vault.
    let secp256k1 = format!("{:064x}", 7);
    for kind in SecretType::ALL {
        for by in [&owner, &agent] {
            let stored = w.seal(by, &vault, Label { kind, ..ecdh.clone() }, &secp256k1).await;
            assert_eq!(reason(stored), Reason::Forbidden, "{kind:?}");
        }
    }
    let signing_only = Seal {
        by: owner.caller(),
        vault_key: vault.key.clone(),
        label: ecdh,
        value: secp256k1.into_bytes().into(),
        signing_only: true,
    };
    assert_eq!(reason(w.signer.seal(signing_only).await), Reason::Forbidden);
}

#[tokio::test]
async fn an_intents_agent_does_not_open_its_own_pair() {
    let w = World::new();
    let owner = w.owner().await;
    let intents = |on| AgentSettings { intents: on, ..settings() };
    let mut known = w.known(&owner, None, intents(true)).await;
    for (on, allowed) in [(true, false), (false, true), (true, false)] {
        let change = Change::Update(intents(on));
        let record = w.change(&owner, &known.agent, change).await.unwrap();
        // The token from before the change, and one from after it.
        let before = known.agent.with_record(record.clone());
        known.agent = w.actor(record, agent_key(3)).await;
        for half in [&known.made.ssh, &known.made.ecdh] {
            let opened = w.private(&known.agent, &known.vault, half).await;
            assert_eq!(opened.is_ok(), allowed, "{half:?}");
            assert_eq!(reason(w.private(&before, &known.vault, half).await), Reason::Forbidden);
        }
    }
}

#[tokio::test]
async fn an_agent_opens_its_own_pair_alone() {
    let w = World::new();
    let owner = w.owner().await;
    let one = w.known(&owner, None, settings()).await;
    let two = w.known(&owner, Some(&one.vault), settings()).await;
    let spy = w.agent(&owner, settings()).await;
    for half in [&one.made.ssh, &one.made.ecdh] {
        assert_eq!(reason(w.private(&two.agent, &one.vault, half).await), Reason::Forbidden);
        assert_eq!(reason(w.private(&spy, &one.vault, half).await), Reason::Forbidden);
        // A person does, if the gateway finds a policy for it.
        w.private(&owner, &one.vault, half).await.unwrap();
    }
}

#[tokio::test]
async fn a_swapped_half_is_refused() {
    let w = World::new();
    let owner = w.owner().await;
    let one = w.known(&owner, None, settings()).await;
    let two = w.known(&owner, Some(&one.vault), settings()).await;
    for (label, other) in [
        (&one.made.ssh.label, &one.made.ecdh),
        (&one.made.ecdh.label, &one.made.ssh),
        (&one.made.ssh.label, &two.made.ssh),
        (&one.made.ecdh.label, &two.made.ecdh),
    ] {
        let opened = w.open(&one.agent, &one.vault, label.clone(), &other.value).await;
        assert_eq!(reason(opened), Reason::Tampered, "{label:?}");
    }
    // Nor by calling a key something else, or under the key of an ordinary vault.
    let note = Label { kind: SecretType::Note, ..one.made.ssh.label.clone() };
    assert_eq!(reason(w.open(&one.agent, &one.vault, note, &one.made.ssh.value).await), Reason::Tampered);
    let (mac, body) = one.vault.key.parts().unwrap();
    let open = String::from_utf8(body.to_vec()).unwrap().replacen("identities", "values", 1);
    let posing = Vault { key: Attested::from_parts(*mac, open.as_bytes()), ..one.vault };
    assert_eq!(reason(w.seal(&owner, &posing, one.made.ssh.label, "x").await), Reason::Tampered);
}

#[tokio::test]
async fn public_halves_come_from_the_signer_and_stay() {
    let w = World::new();
    let owner = w.owner().await;
    let known = w.known(&owner, None, settings()).await;
    let Known { agent, made, vault, halves } = known;
    w.signer.vouch(vec![owner.record.clone(), agent.record.clone()]).await.unwrap();
    let other = w.known(&owner, Some(&vault), settings()).await;
    let (mine, theirs) = (STANDARD.encode(&halves.ssh.0), STANDARD.encode(&other.halves.ssh.0));
    let swapped = edited(&agent.record, &mine, &theirs);
    assert_eq!(reason(w.signer.vouch(vec![agent.record.clone(), swapped.clone()]).await), Reason::Tampered);
    assert_eq!(reason(w.private(&agent.with_record(swapped), &vault, &made.ssh).await), Reason::Tampered);

    // Another agent's, or edited: no record comes of it.
    let id = AgentId::new();
    let borrowed = w.registered(&owner, id, made.identity.clone(), settings()).await;
    assert_eq!(reason(borrowed), Reason::Tampered);
    let fresh = w.identity(&owner, id, vault.id, Some(vault.key.clone())).await.unwrap();
    let own = STANDARD.encode(&fresh.identity.peek().unwrap().halves.ecdh.0);
    let edited = edited(&fresh.identity, &own, &STANDARD.encode(&other.halves.ecdh.0));
    assert_eq!(reason(w.registered(&owner, id, edited, settings()).await), Reason::Tampered);
    let stranger = w.owner().await;
    let abroad = w.registered(&stranger, id, fresh.identity, settings()).await;
    assert_eq!(reason(abroad), Reason::Tampered);

    // Whatever is changed later, they are the same; and there is no second pair.
    for change in [Change::Update(settings()), Change::RotateKey(agent_key(4)), Change::Deactivate] {
        let record = w.change(&owner, &agent, change).await.unwrap();
        assert_eq!(record.peek().unwrap().identity.as_ref(), Some(&halves));
    }
    let again = w.identity(&owner, agent.agent_id(), vault.id, Some(vault.key)).await;
    assert_eq!(reason(again), Reason::Conflict);
}

#[tokio::test]
async fn a_person_of_the_organisation_makes_them_in_its_vault_for_them() {
    let w = World::new();
    let (owner, stranger) = (w.owner().await, w.owner().await);
    let known = w.known(&owner, None, settings()).await;
    let (key, vault) = (Some(known.vault.key.clone()), known.vault.id);
    let id = AgentId::new();
    let refused = |outcome: Result<NewIdentity, Refusal>| reason(outcome);
    assert_eq!(refused(w.identity(&known.agent, id, vault, key.clone()).await), Reason::Forbidden);
    assert_eq!(refused(w.identity(&known.agent, id, VaultId::new(), None).await), Reason::Forbidden);
    assert_eq!(refused(w.identity(&stranger, id, vault, key.clone()).await), Reason::Forbidden);
    assert_eq!(refused(w.identity(&owner, id, VaultId::new(), key.clone()).await), Reason::Forbidden);
    let ordinary = w.vault(&owner).await;
    let misplaced = w.identity(&owner, id, ordinary.id, Some(ordinary.key.clone())).await;
    assert_eq!(refused(misplaced), Reason::Forbidden);
    let forged = edited(&ordinary.key, "\"values\"", "\"identities\"");
    assert_eq!(refused(w.identity(&owner, id, ordinary.id, Some(forged)).await), Reason::Tampered);
    let tokenless = owner.with_record(stranger.record.clone());
    assert_eq!(refused(w.identity(&tokenless, id, vault, key).await), Reason::Tampered);
}

#[tokio::test]
async fn the_vault_of_identities_is_not_destroyed() {
    let w = World::new();
    let owner = w.owner().await;
    let known = w.known(&owner, None, settings()).await;
    for by in [&owner, &known.agent] {
        let request = DestroyVaultKey { by: by.caller(), key: known.vault.key.clone(), passkey: None };
        assert_eq!(reason(w.signer.destroy_vault_key(request).await), Reason::Forbidden);
    }
    w.private(&known.agent, &known.vault, &known.made.ssh).await.unwrap();
}

/// A vault's key from before there were identities is an ordinary one, and a record without pairs a whole one.
#[test]
fn statements_from_before_read_as_they_were_meant() {
    let (org, vault, user) = (domain::OrgId::new(), VaultId::new(), domain::UserId::new());
    let body = format!(r#"{{"org":"{org}","vault":"{vault}","creator":"user:{user}","wrapped":"AA=="}}"#);
    let key = Attested::<VaultKey>::from_parts([0; 32], body.as_bytes()).peek().unwrap();
    assert_eq!(key.holds, Holds::Values);
    let agent = AgentId::new();
    let body = format!(
        r#"{{"id":"agent:{agent}","org":"{org}","role":null,"verifier":null,"intents":false,"scopes":[],
        "vault_ids":[],"token_ttl_seconds":3600,"guardrails":{{"allowed_chains":[],"to_allowlist":[],
        "max_value":null,"daily_limit":null,"max_fee":null}},"active":true,"expires_at":null,
        "created_by":"{user}","epoch":1,"version":1}}"#
    );
    assert_eq!(Attested::<Principal>::from_parts([0; 32], body.as_bytes()).peek().unwrap().identity, None);
    assert!(SecretPath::parse(&format!("agents/{agent}/ssh/private_key")).is_ok());
}
