//! What else takes a passkey of whoever has one: keys, people who rule, a second factor, and what ends for good.

use domain::{ApiKeyId, InvitationId, Role, UserId};
use futures::future::join_all;
use signer_protocol::Reason;
use signer_protocol::api_key::{ApiKey, CreateApiKey};
use signer_protocol::attested::Attested;
use signer_protocol::mfa::{DisableMfa, EnableMfa, EnabledMfa, MfaProof, NewMfa};
use signer_protocol::passkey::{
    Asserted, challenge_of_destruction, challenge_of_ending, challenge_of_factor, challenge_of_leaving,
    challenge_of_role, challenge_of_rotation,
};
use signer_protocol::people::{EndOrganisation, Invitation, Invite};
use signer_protocol::record::{Change, ChangePrincipal, Credential, CredentialKind, Principal};
use signer_protocol::sealing::DestroyVaultKey;
use signer_protocol::wire::Blob;

use super::approvals::{always, asking};
use super::intents::with;
use super::passkeys::{Holder, challenge};
use super::{Actor, Vault, World, agent_key, reason, settings};
use crate::refuse::Result;

impl World {
    async fn does(
        &self,
        by: &Holder,
        to: &Actor,
        change: &Change,
        passkey: Option<Asserted>,
    ) -> Result<Attested<Principal>> {
        let (by, base, change) = (by.actor.caller(), Some(to.record.clone()), change.clone());
        self.signer.change_principal(ChangePrincipal { by, base, change, passkey }).await
    }

    async fn invites(
        &self,
        by: &Holder,
        role: Role,
        email: u8,
        passkey: Option<Asserted>,
    ) -> Result<Attested<Invitation>> {
        let expires_at = self.clock.now().plus(std::time::Duration::from_secs(3600));
        let (by, id, user) = (by.actor.caller(), InvitationId::new(), UserId::new());
        let email = Blob(vec![email; 32]);
        self.signer.invite(Invite { by, id, user, role, email, expires_at, passkey }).await
    }

    async fn makes_key(
        &self,
        by: &Holder,
        scope: &str,
        passkey: Option<Asserted>,
    ) -> Result<Attested<ApiKey>> {
        let (by, id, expires_at) = (by.actor.caller(), ApiKeyId::new(), None);
        let credential = Credential { kind: CredentialKind::ApiKey, secret: vec![b'k'; 47].into() };
        let scopes = vec![domain::PathGlob::parse("scopes", scope).unwrap()];
        self.signer.create_api_key(CreateApiKey { by, id, credential, scopes, expires_at, passkey }).await
    }

    async fn ends(&self, by: &Holder, passkey: Option<Asserted>) -> Result<()> {
        self.signer.end_organisation(EndOrganisation { by: by.actor.caller(), passkey }).await
    }

    async fn switches_on(&self, by: &Holder, new: &NewMfa, passkey: Option<Asserted>) -> Result<EnabledMfa> {
        let (by, pending, code) = (by.actor.caller(), new.pending.clone(), self.code(&new.seed, 0));
        self.signer.enable_mfa(EnableMfa { by, pending, code, passkey }).await
    }

    async fn destroys(&self, by: &Actor, vault: &Vault, passkey: Option<Asserted>) -> Result<()> {
        let (by, key) = (by.caller(), vault.key.clone());
        self.signer.destroy_vault_key(DestroyVaultKey { by, key, passkey }).await
    }
}

/// Whoever has somebody's agent's key acts as that agent.
#[tokio::test]
async fn an_agents_key_is_rotated_by_a_passkey_once() {
    let w = World::new();
    let owner = w.owner().await;
    let (one, other) = (w.agent(&owner, settings()).await, w.agent(&owner, settings()).await);
    let admin = w.person(&owner, Role::Admin).await;
    let owner = w.holder(owner, 7).await;
    let rotate = Change::RotateKey(agent_key(8));
    let asked = challenge(w.does(&owner, &one, &rotate, None).await);
    assert_eq!(asked, challenge_of_rotation(&one.record));
    let confirmed = owner.signs(&asked);
    assert_ne!(challenge(w.does(&owner, &other, &rotate, confirmed.clone()).await), asked);
    let rotated = w.does(&owner, &one, &rotate, confirmed.clone()).await.unwrap();
    w.signer.confirm(rotated.clone()).await.unwrap();
    let one = one.with_record(rotated);
    assert_ne!(challenge(w.does(&owner, &one, &rotate, confirmed).await), asked);
    // To stop it takes none, nor does anything of who has none.
    w.does(&owner, &one, &Change::Deactivate, None).await.unwrap();
    w.change(&admin, &other, rotate).await.unwrap();
}

/// A policy that wants a passkey wants it for what it lets pass, not for a new key: whoever has none can still replace a key
/// that leaked.
#[tokio::test]
async fn a_leaked_key_is_replaced_by_who_has_no_passkey() {
    let w = World::new();
    let owner = w.owner().await;
    let strict = asking(signer_protocol::approval::ApprovalPolicy { passkey: true, ..always() });
    let agent = w.agent(&owner, with(strict)).await;
    w.change(&owner, &agent, Change::RotateKey(agent_key(8))).await.unwrap();
}

/// A compromised gateway makes no second admin with what a person has signed for one.
#[tokio::test]
async fn an_answer_invites_one_who_rules() {
    let w = World::new();
    let owner = w.holder(w.owner().await, 7).await;
    w.invites(&owner, Role::Member, 1, None).await.unwrap();
    let asked = challenge(w.invites(&owner, Role::Admin, 1, None).await);
    let confirmed = owner.signs(&asked);
    for (role, email) in [(Role::Owner, 1), (Role::Admin, 2)] {
        assert_ne!(challenge(w.invites(&owner, role, email, confirmed.clone()).await), asked);
    }
    let at_once = (0..20).map(|_| w.invites(&owner, Role::Admin, 1, confirmed.clone()));
    assert_eq!(join_all(at_once).await.iter().filter(|answer| answer.is_ok()).count(), 1);
    let w = w.after_power_cut();
    assert_ne!(challenge(w.invites(&owner, Role::Admin, 1, confirmed).await), asked);
}

#[tokio::test]
async fn a_person_is_raised_by_a_passkey_and_lowered_without() {
    let w = World::new();
    let owner = w.owner().await;
    let (bob, eve) = (w.person(&owner, Role::Member).await, w.person(&owner, Role::Member).await);
    let owner = w.holder(owner, 7).await;
    let admin = Change::SetRole(Role::Admin);
    let asked = challenge(w.does(&owner, &bob, &admin, None).await);
    assert_eq!(asked, challenge_of_role(&bob.record, Role::Admin));
    let confirmed = owner.signs(&asked);
    let other = w.does(&owner, &bob, &Change::SetRole(Role::Owner), confirmed.clone()).await;
    assert_ne!(challenge(other), asked);
    assert_ne!(challenge(w.does(&owner, &eve, &admin, confirmed.clone()).await), asked);
    let raised = w.does(&owner, &bob, &admin, confirmed.clone()).await.unwrap();
    let bob = w.again(&bob, raised).await;
    let lowered = w.does(&owner, &bob, &Change::SetRole(Role::Member), None).await.unwrap();
    let bob = w.again(&bob, lowered).await;
    assert_ne!(challenge(w.does(&owner, &bob, &admin, confirmed).await), asked);
    w.does(&owner, &bob, &Change::Deactivate, None).await.unwrap();
}

#[tokio::test]
async fn an_answer_makes_one_api_key() {
    let w = World::new();
    let owner = w.holder(w.owner().await, 7).await;
    let asked = challenge(w.makes_key(&owner, "a/**", None).await);
    let confirmed = owner.signs(&asked);
    assert_ne!(challenge(w.makes_key(&owner, "**", confirmed.clone()).await), asked);
    w.makes_key(&owner, "a/**", confirmed.clone()).await.unwrap();
    assert_ne!(challenge(w.makes_key(&owner, "a/**", confirmed).await), asked);
}

/// Who means to leave alone ends nobody's organisation.
#[tokio::test]
async fn leaving_and_ending_take_a_passkey_each_its_own() {
    let w = World::new();
    let owner = w.owner().await;
    let other = w.person(&owner, Role::Owner).await;
    let owner = w.holder(owner, 7).await;
    let end = challenge(w.ends(&owner, None).await);
    let leave = challenge(w.does(&owner, &owner.actor, &Change::Deactivate, None).await);
    assert_eq!(end, challenge_of_ending(&owner.actor.record));
    assert_eq!(leave, challenge_of_leaving(&owner.actor.record));
    assert_eq!(challenge(w.ends(&owner, owner.signs(&leave)).await), end);
    let wrong = w.does(&owner, &owner.actor, &Change::Deactivate, owner.signs(&end)).await;
    assert_eq!(challenge(wrong), leave);
    w.does(&owner, &owner.actor, &Change::Deactivate, owner.signs(&leave)).await.unwrap();
    w.ends(&owner, owner.signs(&end)).await.unwrap();
    assert_eq!(reason(w.signer.confirm(other.record).await), Reason::Destroyed);
}

/// With a stolen session nobody locks its person out by an authenticator of his own.
#[tokio::test]
async fn a_second_factor_is_switched_on_by_a_passkey_once() {
    let w = World::new();
    let owner = w.owner().await;
    let admin = w.person(&owner, Role::Admin).await;
    let mut owner = w.holder(owner, 7).await;
    let (own, other) = (w.set_up(&owner.actor).await.unwrap(), w.set_up(&owner.actor).await.unwrap());
    let asked = challenge(w.switches_on(&owner, &own, None).await);
    assert_eq!(asked, challenge_of_factor(&owner.actor.record, &own.pending));
    let confirmed = owner.signs(&asked);
    assert_ne!(challenge(w.switches_on(&owner, &other, confirmed.clone()).await), asked);
    // To be asked has not used the code up.
    let on = w.switches_on(&owner, &own, confirmed.clone()).await.unwrap();
    w.signer.confirm(on.record.clone()).await.unwrap();
    owner.actor = owner.actor.with_record(on.record);
    w.wait(30);
    let (by, proof) = (owner.actor.caller(), MfaProof::Code(w.code(&own.seed, 0)));
    let off = w.signer.disable_mfa(DisableMfa { by, mfa: on.mfa, proof }).await.unwrap();
    w.signer.confirm(off.clone()).await.unwrap();
    owner.actor = owner.actor.with_record(off);
    w.wait(30);
    assert_ne!(challenge(w.switches_on(&owner, &own, confirmed).await), asked);
    // Whoever has no passkey is asked for none.
    w.guarded(admin).await;
}

/// What a vault held is gone with it: by a login, a key or a device of whoever has a passkey, it takes one.
#[tokio::test]
async fn a_vault_is_destroyed_by_a_passkey_whatever_the_token() {
    let w = World::new();
    let owner = w.owner().await;
    let (one, other) = (w.vault(&owner).await, w.vault(&owner).await);
    let (label, blob) = w.sealed(&owner, &one).await;
    let (agent, admin) = (w.agent(&owner, settings()).await, w.person(&owner, Role::Admin).await);
    let program = w.by_key(&owner).await;
    let owner = w.holder(owner, 7).await;
    let program = program.with_record(owner.actor.record.clone());
    let device = w.device(&owner.actor).await;
    let asked = challenge_of_destruction(&owner.actor.record, &one.key);
    for by in [&owner.actor, &program, &device] {
        assert_eq!(challenge(w.destroys(by, &one, None).await), asked);
    }
    let confirmed = owner.signs(&asked);
    assert_ne!(challenge(w.destroys(&owner.actor, &other, confirmed.clone()).await), asked);
    w.open(&owner.actor, &one, label.clone(), &blob).await.unwrap();
    w.destroys(&program, &one, confirmed).await.unwrap();
    assert_eq!(reason(w.open(&owner.actor, &one, label, &blob).await), Reason::Destroyed);
    // Agents, and people who have none, are asked for none.
    let own = w.vault(&agent).await;
    w.destroys(&agent, &own, None).await.unwrap();
    w.destroys(&admin, &other, None).await.unwrap();
}
