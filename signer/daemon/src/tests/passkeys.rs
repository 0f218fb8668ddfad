//! Passkeys: whoever has one confirms by it what matters, and what was confirmed is that and nothing else.

use domain::{AgentId, Role};
use futures::future::join_all;
use signer_protocol::approval::{ApprovalPolicy, ApproveIntent, Approved};
use signer_protocol::attested::Attested;
use signer_protocol::intent::Intent;
use signer_protocol::passkey::{
    AddPasskey, Asserted, BeginPasskey, ChangedPasskeys, Passkeys, PendingPasskey, RemovePasskey,
    challenge_of_intent, challenge_of_settings,
};
use signer_protocol::record::{AgentLogin, AgentSettings, Change, ChangePrincipal, Guardrails, Principal};
use signer_protocol::wire::Blob;
use signer_protocol::{Reason, Refusal};

use super::approvals::{always, asking};
use super::intents::{Desk, daily, pay, with};
use super::{Actor, World, agent_key, edited, password, reason, settings};
use crate::refuse::Result;
use crate::webauthn::tests::Device;

/// A person with a passkey.
#[derive(Clone)]
pub struct Holder {
    pub actor: Actor,
    passkeys: Attested<Passkeys>,
    device: Device,
}

impl World {
    async fn begin(&self, by: &Actor) -> Result<Attested<PendingPasskey>> {
        self.signer.begin_passkey(BeginPasskey { by: by.caller() }).await
    }

    async fn add(
        &self,
        by: &Actor,
        device: &Device,
        pending: &Attested<PendingPasskey>,
        passkey: Option<Asserted>,
    ) -> Result<ChangedPasskeys> {
        let (client_data, attestation) = device.make(&pending.peek().unwrap().challenge.0);
        let (client_data, attestation) = (Blob(client_data), Blob(attestation));
        let (by, pending, name) = (by.caller(), pending.clone(), "phone".to_owned());
        self.signer.add_passkey(AddPasskey { by, pending, name, client_data, attestation, passkey }).await
    }

    pub async fn holder(&self, actor: Actor, seed: u8) -> Holder {
        let device = Device::new(seed);
        let pending = self.begin(&actor).await.unwrap();
        let changed = self.add(&actor, &device, &pending, None).await.unwrap();
        self.signer.confirm(changed.record.clone()).await.unwrap();
        let passkeys = changed.passkeys.unwrap();
        Holder { actor: Actor { record: changed.record, ..actor }, passkeys, device }
    }

    async fn remove(&self, by: &Holder, id: &[u8], passkey: Option<Asserted>) -> Result<ChangedPasskeys> {
        let (by, id) = (by.actor.caller(), Blob(id.to_vec()));
        self.signer.remove_passkey(RemovePasskey { by, id, passkey }).await
    }

    async fn changes(
        &self,
        by: &Actor,
        base: &Actor,
        settings: AgentSettings,
        passkey: Option<Asserted>,
    ) -> Result<Attested<Principal>> {
        let (base, change) = (Some(base.record.clone()), Change::Update(settings));
        self.signer.change_principal(ChangePrincipal { by: by.caller(), base, change, passkey }).await
    }

    async fn makes(
        &self,
        by: &Actor,
        settings: AgentSettings,
        passkey: Option<Asserted>,
    ) -> Result<Attested<Principal>> {
        let (id, login) = (AgentId::new(), AgentLogin::Key(agent_key(4)));
        let change = Change::CreateAgent { id, login, identity: None, settings };
        self.signer.change_principal(ChangePrincipal { by: by.caller(), base: None, change, passkey }).await
    }
}

impl Holder {
    pub fn signs(&self, challenge: &[u8]) -> Option<Asserted> {
        Some(Asserted { passkeys: self.passkeys.clone(), assertion: self.device.assert(challenge) })
    }
}

impl Desk {
    async fn confirm(
        &self,
        by: &Actor,
        intent: &Attested<Intent>,
        passkey: Option<Asserted>,
    ) -> Result<Approved, Refusal> {
        let (by, intent) = (by.caller(), intent.clone());
        self.w.signer.approve_intent(ApproveIntent { by, intent, passkey }).await
    }
}

/// What a refusal asks to be signed.
pub fn challenge<T>(outcome: Result<T>) -> [u8; 32] {
    match reason(outcome) {
        Reason::PasskeyRequired(challenge) => challenge,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn with_a_passkey_a_person_approves_by_it_alone() {
    let d = Desk::new(asking(always())).await;
    let [intent, other] = [d.submit(pay("1")).await.unwrap(), d.submit(pay("2")).await.unwrap()];
    let owner = d.w.holder(d.owner.clone(), 7).await;
    let asked = challenge(d.confirm(&owner.actor, &intent, None).await);
    assert_eq!(asked, challenge_of_intent(&intent));
    // For another transaction, by a stranger's key, from another site, by an older list.
    let stranger = d.w.holder(d.w.owner().await, 8).await;
    let mut phished = owner.clone();
    phished.device.says.origin = "https://ta1on.example".to_owned();
    let mut foreign = owner.clone();
    foreign.device = stranger.device.clone();
    for wrong in [owner.signs(&challenge_of_intent(&other)), phished.signs(&asked), foreign.signs(&asked)] {
        assert_eq!(challenge(d.confirm(&owner.actor, &intent, wrong).await), asked);
    }
    assert_eq!(reason(d.confirm(&owner.actor, &intent, stranger.signs(&asked)).await), Reason::Tampered);
    assert_eq!(reason(d.sign(&intent, 0).await), Reason::ApprovalRequired);
    assert!(d.confirm(&owner.actor, &intent, owner.signs(&asked)).await.unwrap().is_enough());
    let again = d.confirm(&owner.actor, &intent, owner.signs(&asked)).await.unwrap();
    assert_eq!(again, Approved { given: 1, needed: 1 }, "it is one yes");
    d.sign(&intent, 0).await.unwrap();
    // To say no takes none.
    d.deny(&owner.actor, &other).await.unwrap();
}

#[tokio::test]
async fn where_the_policy_asks_for_passkeys_nobody_approves_or_loosens_without() {
    let strict = asking(ApprovalPolicy { passkey: true, ..always() });
    let d = Desk::new(strict.clone()).await;
    let admin = d.w.person(&d.owner, Role::Admin).await;
    let intent = d.submit(pay("1")).await.unwrap();
    let refusal = d.approve(&admin, &intent).await.unwrap_err();
    assert!(matches!(refusal.reason, Reason::PasskeyRequired(_)) && refusal.detail.contains("add one"));
    let looser = with(Guardrails::default());
    let refused = d.w.changes(&admin, &d.agent, looser.clone(), None).await;
    assert!(matches!(reason(refused), Reason::PasskeyRequired(_)));
    let owner = d.w.holder(d.owner.clone(), 7).await;
    let asked = challenge(d.confirm(&owner.actor, &intent, None).await);
    d.confirm(&owner.actor, &intent, owner.signs(&asked)).await.unwrap();
    d.sign(&intent, 0).await.unwrap();
    let asked = challenge(d.w.changes(&owner.actor, &d.agent, looser.clone(), None).await);
    d.w.changes(&owner.actor, &d.agent, looser, owner.signs(&asked)).await.unwrap();
}

#[tokio::test]
async fn loosening_takes_a_passkey_and_tightening_none() {
    let mut d = Desk::new(daily("1")).await;
    let program = d.w.by_key(&d.owner).await;
    let owner = d.w.holder(d.owner.clone(), 7).await;
    let (tight, loose, looser) = (with(daily("0.5")), with(daily("2")), with(daily("3")));
    d.w.changes(&owner.actor, &d.agent, tight, None).await.unwrap();
    let asked = challenge(d.w.changes(&owner.actor, &d.agent, loose.clone(), None).await);
    assert_eq!(asked, challenge_of_settings(&d.agent.record, &loose));
    let confirmed = owner.signs(&asked);
    // What was signed is good for that change alone.
    let other = d.w.changes(&owner.actor, &d.agent, looser, confirmed.clone()).await;
    assert_ne!(challenge(other), asked);
    d.agent.record = d.w.changes(&owner.actor, &d.agent, loose.clone(), confirmed.clone()).await.unwrap();
    d.w.signer.confirm(d.agent.record.clone()).await.unwrap();
    // And for that once: tightened since, it is asked anew.
    d.agent.record = d.w.changes(&owner.actor, &d.agent, with(daily("1")), None).await.unwrap();
    d.w.signer.confirm(d.agent.record.clone()).await.unwrap();
    assert_ne!(challenge(d.w.changes(&owner.actor, &d.agent, loose.clone(), confirmed).await), asked);
    // To stop takes none; to let go on does.
    d.agent.record = d.w.change(&owner.actor, &d.agent, Change::Deactivate).await.unwrap();
    d.w.signer.confirm(d.agent.record.clone()).await.unwrap();
    challenge(d.w.changes(&owner.actor, &d.agent, with(daily("1")), None).await);
    // Nor does a program of the person's get around it.
    let program = program.with_record(owner.actor.record.clone());
    let agent = d.w.agent(&d.w.person(&owner.actor, Role::Member).await, with(daily("1"))).await;
    challenge(d.w.changes(&program, &agent, loose, None).await);
}

/// A compromised gateway makes no second agent with what a person has signed for one.
#[tokio::test]
async fn an_answer_makes_one_agent_that_submits() {
    let w = World::new();
    let owner = w.holder(w.owner().await, 7).await;
    w.makes(&owner.actor, settings(), None).await.unwrap();
    let wanted = with(daily("1"));
    let asked = challenge(w.makes(&owner.actor, wanted.clone(), None).await);
    let confirmed = owner.signs(&asked);
    let other = w.makes(&owner.actor, with(daily("9")), confirmed.clone()).await;
    assert_ne!(challenge(other), asked);
    let at_once = (0..20).map(|_| w.makes(&owner.actor, wanted.clone(), confirmed.clone()));
    let made = join_all(at_once).await;
    assert_eq!(made.iter().filter(|answer| answer.is_ok()).count(), 1);
    let w = w.after_power_cut();
    let next = challenge(w.makes(&owner.actor, wanted.clone(), confirmed).await);
    assert_ne!(next, asked);
    w.makes(&owner.actor, wanted, owner.signs(&next)).await.unwrap();
}

#[tokio::test]
async fn a_second_passkey_is_confirmed_by_the_first() {
    let w = World::new();
    let owner = w.holder(w.owner().await, 7).await;
    let second = Device::new(9);
    let pending = w.begin(&owner.actor).await.unwrap();
    let asked = challenge(w.add(&owner.actor, &second, &pending, None).await);
    // What was signed for one adds no other over the same challenge.
    let other = challenge(w.add(&owner.actor, &Device::new(11), &pending, owner.signs(&asked)).await);
    assert_ne!(other, asked);
    let again = challenge(w.add(&owner.actor, &owner.device, &pending, None).await);
    let again = w.add(&owner.actor, &owner.device, &pending, owner.signs(&again)).await;
    assert_eq!(reason(again), Reason::Conflict);
    let changed = w.add(&owner.actor, &second, &pending, owner.signs(&asked)).await.unwrap();
    w.signer.confirm(changed.record.clone()).await.unwrap();
    let actor = Actor { record: changed.record, ..owner.actor.clone() };
    let both = Holder { actor, passkeys: changed.passkeys.unwrap(), device: second.clone() };
    // An older list is none any more.
    let asked = challenge(w.remove(&both, &owner.device.id, None).await);
    let old = Holder { passkeys: owner.passkeys.clone(), ..both.clone() };
    assert_eq!(reason(w.remove(&both, &owner.device.id, old.signs(&asked)).await), Reason::Tampered);
    // What takes one away takes no other.
    assert_ne!(challenge(w.remove(&both, &second.id, both.signs(&asked)).await), asked);
    let changed = w.remove(&both, &owner.device.id, both.signs(&asked)).await.unwrap();
    w.signer.confirm(changed.record.clone()).await.unwrap();
    let actor = Actor { record: changed.record, ..both.actor };
    let last = Holder { actor, passkeys: changed.passkeys.unwrap(), device: second };
    let unknown = challenge(w.remove(&last, &[1], None).await);
    assert_eq!(reason(w.remove(&last, &[1], last.signs(&unknown)).await), Reason::Conflict);
    let asked = challenge(w.remove(&last, &last.device.id, None).await);
    let changed = w.remove(&last, &last.device.id, last.signs(&asked)).await.unwrap();
    assert!(changed.passkeys.is_none() && changed.record.peek().unwrap().passkeys.is_none());
}

#[tokio::test]
async fn who_adds_a_passkey_and_by_which_challenge() {
    let w = World::new();
    let (owner, other) = (w.owner().await, w.owner().await);
    let agent = w.agent(&owner, settings()).await;
    for by in [&agent, &w.by_key(&owner).await, &w.device(&owner).await] {
        assert_eq!(reason(w.begin(by).await), Reason::Forbidden);
    }
    let (device, pending) = (Device::new(7), w.begin(&owner).await.unwrap());
    assert_eq!(reason(w.add(&other, &device, &pending, None).await), Reason::Tampered);
    let forged = edited(&pending, "talon.example", "evil1.example");
    assert_eq!(reason(w.add(&owner, &device, &forged, None).await), Reason::Tampered);
    let later = w.begin(&owner).await.unwrap();
    let (client_data, attestation) = device.make(&later.peek().unwrap().challenge.0);
    let crossed = |name: &str| AddPasskey {
        by: owner.caller(),
        pending: pending.clone(),
        name: name.to_owned(),
        client_data: Blob(client_data.clone()),
        attestation: Blob(attestation.clone()),
        passkey: None,
    };
    assert_eq!(reason(w.signer.add_passkey(crossed("phone")).await), Reason::Invalid, "another challenge");
    for name in ["", " ", "a\nb", &"x".repeat(65)] {
        assert_eq!(reason(w.signer.add_passkey(crossed(name)).await), Reason::Invalid, "{name}");
    }
    let mut elsewhere = device.clone();
    elsewhere.says.origin = "https://evil.example".to_owned();
    assert_eq!(reason(w.add(&owner, &elsewhere, &pending, None).await), Reason::Invalid);
    w.wait(600);
    let owner = w.actor(owner.record.clone(), owner.credential.clone()).await;
    assert_eq!(reason(w.add(&owner, &device, &pending, None).await), Reason::Conflict, "too late");
}

/// A gateway that resets a password, or edits what it stores, has no passkey by that.
#[tokio::test]
async fn passkeys_stay_over_a_reset_password_and_are_not_edited() {
    let d = Desk::new(asking(always())).await;
    let intent = d.submit(pay("1")).await.unwrap();
    let owner = d.w.holder(d.owner.clone(), 7).await;
    let edited = edited(&owner.passkeys, "phone", "paper");
    let asked = challenge_of_intent(&intent);
    let forged = Holder { passkeys: edited, ..owner.clone() };
    assert_eq!(reason(d.confirm(&owner.actor, &intent, forged.signs(&asked)).await), Reason::Tampered);
    let (record, new) = (owner.actor.record.clone(), password(9));
    let record = d.w.reset_password(record, new.clone()).await.unwrap();
    let taken = d.w.actor(record, new).await;
    challenge(d.confirm(&taken, &intent, None).await);
    let pending = d.w.begin(&taken).await.unwrap();
    challenge(d.w.add(&taken, &Device::new(9), &pending, None).await);
}

#[tokio::test]
async fn lost_passkeys_are_forgotten_by_the_operator_and_later_ones_are_not() {
    let d = Desk::new(asking(always())).await;
    let intent = d.submit(pay("1")).await.unwrap();
    let lost = d.w.holder(d.owner.clone(), 7).await;
    let Desk { w, owner, agent, vault, key } = d;
    let World { signer, clock, keys, folder } = w;
    drop(signer);
    let options = crate::ForgetOptions { user: lost.actor.user(), data: folder.path().to_owned() };
    let forgotten = tokio::task::spawn_blocking(move || crate::recovery::forget_passkeys(&options)).await;
    forgotten.unwrap().unwrap();
    let d = Desk { w: World::over(folder, keys, clock), owner, agent, vault, key };
    // Without one, as before; with another, by that one, also after a restart.
    d.confirm(&lost.actor, &intent, None).await.unwrap();
    let found = d.w.holder(lost.actor.clone(), 9).await;
    assert_eq!(found.passkeys.peek().unwrap().keys.len(), 1, "the lost one is not carried on");
    let Desk { w, owner, agent, vault, key } = d;
    let d = Desk { w: w.restarted(), owner, agent, vault, key };
    let intent = d.submit(pay("2")).await.unwrap();
    let asked = challenge(d.confirm(&found.actor, &intent, None).await);
    d.confirm(&found.actor, &intent, found.signs(&asked)).await.unwrap();
}

#[tokio::test]
async fn what_is_forgotten_before_there_was_a_passkey_takes_none_later() {
    let w = World::new();
    let owner = w.owner().await;
    w.signer.ledger.forget_passkeys(owner.user()).await.unwrap();
    let owner = w.holder(owner, 7).await;
    challenge(w.makes(&owner.actor, with(daily("1")), None).await);
}

#[tokio::test]
async fn a_person_has_ten_at_most() {
    let w = World::new();
    let mut owner = w.holder(w.owner().await, 20).await;
    for n in 1..=10_u8 {
        let pending = w.begin(&owner.actor).await.unwrap();
        let asked = challenge(w.add(&owner.actor, &Device::new(20 + n), &pending, None).await);
        let added = w.add(&owner.actor, &Device::new(20 + n), &pending, owner.signs(&asked)).await;
        if n == 10 {
            assert_eq!(reason(added), Reason::Conflict);
            break;
        }
        let added = added.unwrap();
        w.signer.confirm(added.record.clone()).await.unwrap();
        owner.actor.record = added.record;
        owner.passkeys = added.passkeys.unwrap();
    }
}

/// Fails closed: whoever has one is not let through because the signer has forgotten its site.
#[tokio::test]
async fn without_an_origin_passkeys_are_refused_clearly() {
    let w = World::new();
    let owner = w.holder(w.owner().await, 7).await;
    let World { signer, clock, keys, folder } = w;
    drop(signer);
    let w = World::limited(folder, keys, clock, crate::Limits::default());
    let refusal = w.begin(&owner.actor).await.unwrap_err();
    assert!(refusal.detail.contains("TALON_SIGNER_ORIGIN"), "{refusal}");
    assert_eq!(reason(w.makes(&owner.actor, with(daily("1")), None).await), Reason::Conflict);
}
