//! Organisations that end, and agents that are stopped: at once, and whatever was accepted before.

use domain::{AgentId, Role, SecretType};
use signer_protocol::Reason;
use signer_protocol::people::{EndOrganisation, Login, Newcomer, SuspendAgents};
use signer_protocol::record::{AgentLogin, Change, ChangePrincipal};

use super::intents::{Desk, daily, pay};
use super::{Actor, World, agent_key, password, reason, settings};
use crate::refuse::Result;

impl World {
    pub async fn end(&self, by: &Actor) -> Result<()> {
        self.signer.end_organisation(EndOrganisation { by: by.caller(), passkey: None }).await
    }

    async fn suspend(&self, by: &Actor, suspended: bool) -> Result<()> {
        self.signer.suspend_agents(SuspendAgents { by: by.caller(), suspended }).await
    }
}

#[tokio::test]
async fn an_ended_organisation_is_refused_in_everything() {
    let mut d = Desk::new(daily("1")).await;
    let (owner, agent) = (d.owner.clone(), d.agent.clone());
    let member = d.w.person(&owner, Role::Admin).await;
    for by in [&member, &agent, &d.w.by_key(&owner).await, &d.w.device(&owner).await] {
        assert_eq!(reason(d.w.end(by).await), Reason::Forbidden);
    }
    let label = d.vault.label("api/token", SecretType::ApiKey);
    let sealed = d.w.seal(&owner, &d.vault, label.clone(), "x").await.unwrap().value.unwrap();
    let intent = d.submit(pay("0.1")).await.unwrap();
    let invitation = d.w.invite(&owner, Role::Member).await.unwrap();
    let elsewhere = d.w.owner().await;

    d.w.end(&owner).await.unwrap();
    for restart in [false, true] {
        if restart {
            d.w = d.w.restarted();
        }
        let w = &d.w;
        for actor in [&owner, &member, &agent] {
            assert_eq!(reason(w.sign_in(&actor.record, &actor.credential).await), Reason::Destroyed);
            assert_eq!(reason(w.signer.confirm(actor.record.clone()).await), Reason::Destroyed);
        }
        assert_eq!(reason(w.open(&owner, &d.vault, label.clone(), &sealed).await), Reason::Destroyed);
        assert_eq!(reason(w.seal(&owner, &d.vault, label.clone(), "y").await), Reason::Destroyed);
        assert_eq!(reason(d.submit(pay("0.1")).await), Reason::Destroyed);
        assert_eq!(reason(d.sign(&intent, 1).await), Reason::Destroyed);
        assert_eq!(reason(w.invite(&owner, Role::Member).await), Reason::Destroyed);
        let new = Newcomer::New(Login::Proof(password(4)));
        assert_eq!(reason(w.join(&invitation, new).await), Reason::Destroyed);
        let existing = Newcomer::Existing(elsewhere.caller());
        assert_eq!(reason(w.join(&invitation, existing).await), Reason::Destroyed);
    }
    // What it was may still be told, and others go on.
    d.w.signer.vouch(vec![owner.record]).await.unwrap();
    d.w.vault(&elsewhere).await;
}

#[tokio::test]
async fn suspended_agents_get_no_token_use_none_and_sign_nothing() {
    let mut d = Desk::new(daily("1")).await;
    let (owner, agent) = (d.owner.clone(), d.agent.clone());
    let reader = d.w.agent(&owner, settings()).await;
    let (admin, member) = (d.w.person(&owner, Role::Admin).await, d.w.person(&owner, Role::Member).await);
    let intent = d.submit(pay("0.1")).await.unwrap();
    let signed = d.submit(pay("0.1")).await.unwrap();
    let answered = d.sign(&signed, 0).await.unwrap();
    for by in [&member, &agent] {
        assert_eq!(reason(d.w.suspend(by, true).await), Reason::Forbidden);
    }
    // To stop them needs no login: a program may pull the switch.
    d.w.suspend(&d.w.by_key(&owner).await, true).await.unwrap();
    for restart in [false, true] {
        if restart {
            d.w = d.w.restarted();
        }
        let w = &d.w;
        for agent in [&agent, &reader] {
            assert_eq!(reason(w.sign_in(&agent.record, &agent.credential).await), Reason::Forbidden);
            assert_eq!(reason(w.signer.caller(&agent.caller()).await.map(drop)), Reason::Forbidden);
        }
        // Only who proves to be the agent learns why.
        assert_eq!(reason(w.sign_in(&agent.record, &agent_key(9)).await), Reason::Unauthenticated);
        assert_eq!(reason(d.submit(pay("0.1")).await), Reason::Forbidden);
        assert_eq!(reason(d.sign(&intent, 1).await), Reason::Forbidden);
        assert_eq!(d.sign(&signed, 0).await.unwrap().raw, answered.raw, "what left once is no secret");
    }
    // People go on, and see to their agents.
    d.w.change(&owner, &reader, Change::Deactivate).await.unwrap();
    let (id, login) = (AgentId::new(), AgentLogin::Key(agent_key(3)));
    let change = Change::CreateAgent { id, login, identity: None, settings: settings() };
    let made = ChangePrincipal { by: owner.caller(), base: None, change, passkey: None };
    let made = d.w.signer.change_principal(made).await.unwrap();
    assert_eq!(reason(d.w.sign_in(&made, &agent_key(3)).await), Reason::Forbidden);

    for by in [&d.w.by_key(&owner).await, &d.w.device(&owner).await, &member] {
        assert_eq!(reason(d.w.suspend(by, false).await), Reason::Forbidden);
    }
    d.w.suspend(&admin, false).await.unwrap();
    d.sign(&intent, 1).await.unwrap();
    d.w.sign_in(&made, &agent_key(3)).await.unwrap();
}

#[tokio::test]
async fn one_organisations_switch_stops_no_others_agents() {
    let w = World::new();
    let (ours, theirs) = (w.owner().await, w.owner().await);
    let agent = w.agent(&theirs, settings()).await;
    w.suspend(&ours, true).await.unwrap();
    w.vault(&agent).await;
}
