//! Agents that enrol: with nothing at first, and with one key, once.

use domain::{AgentId, Role, VaultId};
use signer_protocol::Reason;
use signer_protocol::attested::Attested;
use signer_protocol::identity::{Identity, MakeIdentity, Maker};
use signer_protocol::link::LinkTo;
use signer_protocol::people::{ArmAgent, EnrolAgent, Newcomer};
use signer_protocol::record::{AgentSettings, Change, Principal};

use super::{Actor, World, address, agent_key, password, reason, settings};
use crate::refuse::Result;

impl World {
    async fn enrol(
        &self,
        person: &Actor,
        identity: Option<Attested<Identity>>,
    ) -> Result<Attested<Principal>> {
        let id = identity.as_ref().map_or_else(AgentId::new, |made| made.peek().unwrap().agent);
        self.signer.enrol_agent(EnrolAgent { person: person.record.clone(), id, identity }).await
    }

    async fn arm(&self, person: &Actor, agent: &Attested<Principal>) -> Result<Attested<Principal>> {
        let (person, agent) = (person.record.clone(), agent.clone());
        let followed =
            self.follow(LinkTo::AgentKey { person: person.clone(), agent: agent.clone() }, address()).await?;
        self.signer.arm_agent(ArmAgent { person, agent, followed, credential: agent_key(6) }).await
    }
}

#[tokio::test]
async fn an_enrolled_agent_has_no_key_no_intents_and_no_scopes() {
    let w = World::new();
    let owner = w.owner().await;
    let by = Maker::Enrolment(owner.record.clone());
    let (agent, vault) = (AgentId::new(), VaultId::new());
    let made = w.signer.make_identity(MakeIdentity { by, agent, vault, vault_key: None }).await.unwrap();
    let record = w.enrol(&owner, Some(made.identity.clone())).await.unwrap();
    let told = record.peek().unwrap();
    assert_eq!((told.org, told.created_by, told.intents), (owner.org, Some(owner.user()), false));
    assert_eq!((told.verifier, told.asserted, told.scopes.len()), (None, None, 0));
    assert!(told.identity.is_some());
    for proof in [agent_key(6), password(1)] {
        assert_eq!(reason(w.sign_in(&record, &proof).await), Reason::Unauthenticated);
    }
    // The id is taken, for pairs too.
    assert_eq!(reason(w.enrol(&owner, Some(made.identity)).await), Reason::Conflict);
    let by = Maker::Enrolment(owner.record.clone());
    let again = MakeIdentity { by, agent, vault, vault_key: Some(made.vault_key) };
    assert_eq!(reason(w.signer.make_identity(again).await), Reason::Conflict);

    let armed = w.arm(&owner, &record).await.unwrap();
    let agent = w.actor(armed.clone(), agent_key(6)).await;
    assert_eq!(reason(w.change(&agent, &agent, Change::Update(settings())).await), Reason::Forbidden);
    assert_eq!(reason(w.arm(&owner, &armed).await), Reason::Conflict);
    assert_eq!(reason(w.arm(&owner, &record).await), Reason::RolledBack);
}

#[tokio::test]
async fn pairs_of_another_organisation_or_agent_are_not_taken() {
    let w = World::new();
    let (ours, theirs) = (w.owner().await, w.owner().await);
    let make = |owner: &Actor, vault_key| {
        let (by, agent, vault) = (Maker::Enrolment(owner.record.clone()), AgentId::new(), VaultId::new());
        w.signer.make_identity(MakeIdentity { by, agent, vault, vault_key })
    };
    let made = make(&theirs, None).await.unwrap();
    assert_eq!(reason(w.enrol(&ours, Some(made.identity)).await), Reason::Tampered);
    assert_eq!(reason(make(&ours, Some(made.vault_key)).await), Reason::Forbidden);
    let agent = w.agent(&ours, settings()).await;
    assert_eq!(reason(make(&agent, None).await), Reason::Forbidden);
    assert_eq!(reason(w.enrol(&agent, None).await), Reason::Forbidden);
}

#[tokio::test]
async fn only_who_is_as_it_was_enrolled_is_armed() {
    let w = World::new();
    let owner = w.owner().await;
    let mut agent = w.agent(&owner, settings()).await;
    assert_eq!(reason(w.arm(&owner, &agent.record).await), Reason::Conflict);
    for change in [Change::Deactivate, Change::Update(settings())] {
        agent.record = w.change(&owner, &agent, change).await.unwrap();
        w.signer.confirm(agent.record.clone()).await.unwrap();
        assert_eq!(reason(w.arm(&owner, &agent.record).await), Reason::Conflict);
    }
    assert_eq!(reason(w.arm(&owner, &owner.record).await), Reason::Forbidden);
    // Whom people have paused, or given rights, nobody arms behind their backs.
    let enrolled = w.enrol(&owner, None).await.unwrap();
    w.signer.confirm(enrolled.clone()).await.unwrap();
    let mut agent = agent.with_record(enrolled.clone());
    for change in
        [AgentSettings { active: false, ..settings() }, AgentSettings { intents: true, ..settings() }]
    {
        agent.record = w.change(&owner, &agent, Change::Update(change)).await.unwrap();
        w.signer.confirm(agent.record.clone()).await.unwrap();
        assert_eq!(reason(w.arm(&owner, &agent.record).await), Reason::Conflict);
        assert_eq!(reason(w.arm(&owner, &enrolled).await), Reason::RolledBack);
    }
}

#[tokio::test]
async fn an_agent_is_armed_for_its_person_and_no_longer_than_they_are_there() {
    let w = World::new();
    let owner = w.owner().await;
    let member = w.person(&owner, Role::Member).await;
    let enrolled = w.enrol(&member, None).await.unwrap();
    w.signer.confirm(enrolled.clone()).await.unwrap();
    for other in [&owner, &w.owner().await, &w.agent(&member, settings()).await] {
        assert_eq!(reason(w.arm(other, &enrolled).await), Reason::Forbidden);
    }
    // A removed member has the link still.
    let removed = w.change(&owner, &member, Change::Deactivate).await.unwrap();
    w.signer.confirm(removed.clone()).await.unwrap();
    assert_eq!(reason(w.arm(&member, &enrolled).await), Reason::RolledBack);
    assert_eq!(reason(w.arm(&member.with_record(removed), &enrolled).await), Reason::Forbidden);
    // So has one who went elsewhere.
    let member = w.person(&owner, Role::Member).await;
    let enrolled = w.enrol(&member, None).await.unwrap();
    let elsewhere = w.invite(&w.owner().await, Role::Member).await.unwrap();
    let moved = w.join(&elsewhere, Newcomer::Existing(member.caller())).await.unwrap();
    let moved = w.again(&member, moved).await;
    assert_eq!(reason(w.arm(&moved, &enrolled).await), Reason::Forbidden);
}
