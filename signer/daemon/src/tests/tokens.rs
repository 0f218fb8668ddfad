//! Tokens: issued against proof alone, and worth nothing once anything about them is wrong.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{PathGlob, Time, VaultId};
use ed25519_dalek::Signer as _;
use signer_protocol::Reason;
use signer_protocol::record::{AgentSettings, Change, CredentialKind};
use signer_protocol::sealing::MakeVaultKey;
use signer_protocol::token::{Claims, IssueToken, RevokeToken};
use signer_protocol::wire::Secret;

use super::{Actor, World, agent_key, password, reason, settings};

/// Any request that a caller makes.
async fn use_token(w: &World, actor: &Actor) -> Result<(), Reason> {
    let request = MakeVaultKey { by: actor.caller(), vault: VaultId::new() };
    w.signer.make_vault_key(request).await.map(|_| ()).map_err(|refusal| refusal.reason)
}

fn with_token(actor: &Actor, token: String) -> Actor {
    Actor { token: token.into_bytes().into(), ..actor.clone() }
}

fn text(token: &Secret) -> String {
    String::from_utf8(token.expose().to_vec()).unwrap()
}

#[tokio::test]
async fn no_token_without_proof() {
    let w = World::new();
    let owner = w.owner().await;
    let agent = w.agent(&owner, settings()).await;
    for wrong in [agent_key(4), password(3)] {
        assert_eq!(reason(w.sign_in(&agent.record, &wrong).await), Reason::Unauthenticated);
    }
    // Nobody's is wrong as any other: no rule is broken, and the log tells of none.
    for proof in [agent.credential.clone(), password(3)] {
        let request = IssueToken { record: None, proof, derived_scopes: Vec::new() };
        let refused = w.signer.issue_token(request).await.unwrap_err();
        assert_eq!(refused, w.sign_in(&agent.record, &agent_key(4)).await.unwrap_err());
        assert_eq!(refused.reason.rule(), None);
    }
    // The right secret, said to be of another kind.
    let mut disguised = agent.credential.clone();
    disguised.kind = CredentialKind::Password;
    assert_eq!(reason(w.sign_in(&agent.record, &disguised).await), Reason::Unauthenticated);
    // The same secret proves only the one whose it is.
    let twin = w.agent(&owner, settings()).await;
    let verifier = |actor: &Actor| actor.record.peek().unwrap().verifier.unwrap().code;
    assert_ne!(verifier(&agent), verifier(&twin), "a verifier moved between rows would pass");
}

#[tokio::test]
async fn claims_come_from_the_record() {
    let w = World::new();
    let owner = w.owner().await;
    let bound = VaultId::new();
    let end = w.clock.now().plus(std::time::Duration::from_secs(100));
    let agent = w
        .agent(
            &owner,
            AgentSettings { intents: true, vault_ids: vec![bound], token_ttl_seconds: 600, ..settings() },
        )
        .await;
    let derived = vec![PathGlob::parse("scopes", "keys/**").unwrap()];
    let issue = async |actor: &Actor| {
        let (record, proof) = (Some(actor.record.clone()), actor.credential.clone());
        w.signer.issue_token(IssueToken { record, proof, derived_scopes: derived.clone() }).await.unwrap()
    };
    let issued = issue(&agent).await;
    let claims = issued.claims;
    assert_eq!((claims.sub, claims.org, claims.intents_api_enabled), (agent.id, agent.org, true));
    assert_eq!((&claims.vault_ids, &claims.scopes), (&vec![bound], &derived));
    assert_eq!(claims.exp - claims.iat, 600);
    assert_eq!((claims.role, claims.asserted), (None, false));
    let payload =
        text(&issued.jwt).split('.').nth(1).map(|part| URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    assert_eq!(serde_json::from_slice::<Claims>(&payload).unwrap(), claims);

    let explicit = vec![PathGlob::parse("scopes", "api/*").unwrap()];
    let mortal = AgentSettings { scopes: explicit.clone(), expires_at: Some(end), ..settings() };
    let claims = issue(&w.agent(&owner, mortal).await).await.claims;
    assert_eq!(claims.scopes, explicit);
    assert_eq!(claims.exp, end.seconds(), "outlives its agent");
    let claims = issue(&owner).await.claims;
    assert_eq!(claims.exp - claims.iat, 900);
}

#[tokio::test]
async fn a_forged_token_is_refused() {
    let w = World::new();
    let owner = w.owner().await;
    use_token(&w, &owner).await.unwrap();
    let good = text(&owner.token);
    let [header, payload, signature]: [&str; 3] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    let encode = |json: &str| URL_SAFE_NO_PAD.encode(json);
    let key_id = w.signer.tokens.key_id();
    let claims = URL_SAFE_NO_PAD.decode(payload).unwrap();
    let richer = String::from_utf8(claims).unwrap().replace("\"epoch\":1", "\"epoch\":2");

    // Signed by a key of the attacker's own, under every header that might be taken for ours.
    let stranger = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
    let signed = |header: &str, payload: &str| {
        let text = format!("{header}.{payload}");
        let signature = URL_SAFE_NO_PAD.encode(stranger.sign(text.as_bytes()).to_bytes());
        format!("{text}.{signature}")
    };
    let mac = {
        use hmac::{Hmac, KeyInit as _, Mac as _};
        let text =
            format!("{}.{payload}", encode(&format!(r#"{{"alg":"HS256","typ":"JWT","kid":"{key_id}"}}"#)));
        // The classic confusion: the public key as the secret of an HMAC.
        let public = crate::keys::Keystore::token_public_key(&*w.keys);
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&public).unwrap();
        mac.update(text.as_bytes());
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    };
    for bad in [
        format!("{}.{payload}.", encode(r#"{"alg":"none","typ":"JWT"}"#)),
        format!("{header}.{payload}."),
        format!("{header}.{payload}"),
        format!("{header}.{payload}.{signature}.{signature}"),
        format!("{header}.{}.{signature}", encode(&richer)),
        format!("{}.{payload}.{signature}", encode(r#"{"alg":"EdDSA","typ":"JWT","kid":"other"}"#)),
        signed(header, payload),
        signed(&encode(r#"{"alg":"EdDSA","typ":"JWT","kid":"other"}"#), payload),
        mac,
        good.replace('.', ". "),
        format!("{good}="),
        String::new(),
        "..".to_owned(),
        "a".repeat(100_000),
    ] {
        assert_eq!(
            use_token(&w, &with_token(&owner, bad.clone())).await,
            Err(Reason::Unauthenticated),
            "{bad}"
        );
    }
}

/// What the signer's own key signed counts only if it is an access token of ours.
#[tokio::test]
async fn a_token_of_another_kind_is_refused() {
    let w = World::new();
    let owner = w.owner().await;
    let good = text(&owner.token);
    let (header, rest) = good.split_once('.').unwrap();
    let claims = URL_SAFE_NO_PAD.decode(rest.split_once('.').unwrap().0).unwrap();
    let claims = String::from_utf8(claims).unwrap();
    let minted_under = |header: &str, claims: &str| {
        let text = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
        let signature = crate::keys::Keystore::sign_token(&*w.keys, text.as_bytes()).unwrap();
        with_token(&owner, format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
    };
    let minted = |claims: &str| minted_under(header, claims);
    use_token(&w, &minted(&claims)).await.unwrap();
    for other in [r#"{"alg":"EdDSA","typ":"JWT","kid":"other"}"#, r#"{"alg":"none","typ":"JWT"}"#, "{}"] {
        let other = minted_under(&URL_SAFE_NO_PAD.encode(other), &claims);
        assert_eq!(use_token(&w, &other).await, Err(Reason::Unauthenticated));
    }
    for (from, to) in [
        ("\"kind\":\"access\"", "\"kind\":\"session\""),
        ("\"iss\":\"talon\"", "\"iss\":\"other\""),
        ("\"aud\":\"talon\"", "\"aud\":\"other\""),
        ("\"epoch\":1", "\"epoch\":2"),
    ] {
        assert!(claims.contains(from), "{claims}");
        let other = minted(&claims.replace(from, to));
        assert_eq!(use_token(&w, &other).await, Err(Reason::Unauthenticated), "{to}");
    }
}

#[tokio::test]
async fn a_token_goes_with_its_own_record() {
    let w = World::new();
    let (ours, theirs) = (w.owner().await, w.owner().await);
    let agent = w.agent(&ours, settings()).await;
    for record in [&theirs.record, &agent.record] {
        assert_eq!(use_token(&w, &ours.with_record(record.clone())).await, Err(Reason::Tampered));
    }
}

#[tokio::test]
async fn tokens_expire() {
    let w = World::new();
    let owner = w.owner().await;
    w.wait(899);
    use_token(&w, &owner).await.unwrap();
    w.wait(2);
    assert_eq!(use_token(&w, &owner).await, Err(Reason::Unauthenticated));
}

#[tokio::test]
async fn a_revoked_token_stays_revoked() {
    let w = World::new();
    let owner = w.owner().await;
    use_token(&w, &owner).await.unwrap();
    let revoked = w.signer.revoke_token(RevokeToken { token: owner.token.clone() }).await.unwrap();
    assert!(revoked.expires_at > w.clock.now());
    assert_eq!(use_token(&w, &owner).await, Err(Reason::Unauthenticated));
    let w = w.restarted();
    assert_eq!(use_token(&w, &owner).await, Err(Reason::Unauthenticated));
    // Another token of the same person is not touched.
    let token = w.sign_in(&owner.record, &owner.credential).await.unwrap();
    use_token(&w, &Actor { token, ..owner }).await.unwrap();
}

#[tokio::test]
async fn an_earlier_epochs_token_is_refused() {
    let w = World::new();
    let owner = w.owner().await;
    let agent = w.agent(&owner, settings()).await;
    use_token(&w, &agent).await.unwrap();
    let rotated = w.change(&owner, &agent, Change::RotateKey(agent_key(8))).await.unwrap();
    assert_eq!(use_token(&w, &agent.with_record(rotated)).await, Err(Reason::Unauthenticated));
    assert_eq!(use_token(&w, &agent).await, Err(Reason::RolledBack), "the old row was brought back");
}

#[tokio::test]
async fn a_stopped_agents_token_is_refused() {
    let w = World::new();
    let owner = w.owner().await;
    let paused = AgentSettings { active: false, ..settings() };
    for change in [Change::Deactivate, Change::Update(paused)] {
        let agent = w.agent(&owner, settings()).await;
        let stopped = w.change(&owner, &agent, change).await.unwrap();
        assert_eq!(use_token(&w, &agent.with_record(stopped.clone())).await, Err(Reason::Unauthenticated));
        assert_eq!(reason(w.sign_in(&stopped, &agent.credential).await), Reason::Unauthenticated);
    }
    // Coming back does not bring back the tokens from before.
    let agent = w.agent(&owner, settings()).await;
    let mut back = agent.clone();
    for active in [false, true] {
        back.record =
            w.change(&owner, &back, Change::Update(AgentSettings { active, ..settings() })).await.unwrap();
    }
    assert_eq!(use_token(&w, &agent.with_record(back.record)).await, Err(Reason::Unauthenticated));

    let end = Time::from_millis(w.clock.now().millis() + 10_000);
    let mortal = w.agent(&owner, AgentSettings { expires_at: Some(end), ..settings() }).await;
    w.wait(11);
    assert_eq!(use_token(&w, &mortal).await, Err(Reason::Unauthenticated));
    assert_eq!(reason(w.sign_in(&mortal.record, &mortal.credential).await), Reason::Unauthenticated);
}

/// Reading again and again must not cost the HSM a call each time.
#[tokio::test]
async fn a_known_caller_costs_the_keystore_nothing() {
    let w = World::new();
    let owner = w.owner().await;
    w.signer.caller(&owner.caller()).await.unwrap();
    let before = w.keys.macs.load(std::sync::atomic::Ordering::Relaxed);
    for _ in 0..100 {
        w.signer.caller(&owner.caller()).await.unwrap();
    }
    assert_eq!(w.keys.macs.load(std::sync::atomic::Ordering::Relaxed), before);
}
