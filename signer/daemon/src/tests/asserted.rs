//! Logins that rest on the gateway's word: for the identity that the record pins, and no other.

use domain::{AgentId, OrgId, UserId};
use signer_protocol::Reason;
use signer_protocol::people::Login;
use signer_protocol::record::{AgentLogin, Assertion, Change, ChangePrincipal, FoundOrganisation};
use signer_protocol::token::{IssueAsserted, IssuedToken};
use signer_protocol::wire::Blob;

use super::{Actor, World, address, agent_key, password, reason, settings};
use crate::refuse::Result;

pub fn google(subject: &str) -> Assertion {
    Assertion::Person { issuer: "https://accounts.example.org".into(), subject: subject.into() }
}

impl World {
    pub async fn google_owner(&self, subject: &str) -> Actor {
        let (org, owner) = (OrgId::new(), UserId::new());
        let login = Login::Asserted(google(subject));
        let record = self
            .signer
            .found_organisation(FoundOrganisation { org, owner, email: address(), login })
            .await
            .unwrap();
        let nobody = Actor {
            id: record.peek().unwrap().id,
            org,
            record,
            credential: password(1),
            token: Vec::new().into(),
        };
        let token = self.asserted(&nobody, google(subject)).await.unwrap().jwt;
        Actor { token, ..nobody }
    }

    pub async fn asserted(&self, actor: &Actor, seen: Assertion) -> Result<IssuedToken> {
        let record = actor.record.clone();
        self.signer.issue_asserted(IssueAsserted { record, seen, derived_scopes: Vec::new() }).await
    }

    async fn asserted_agent(&self, by: &Actor, assertion: Assertion) -> Result<Actor> {
        let (id, login) = (AgentId::new(), AgentLogin::Asserted(assertion));
        let change = Change::CreateAgent { id, login, identity: None, settings: settings() };
        let request = ChangePrincipal { by: by.caller(), base: None, change, passkey: None };
        let record = self.signer.change_principal(request).await?;
        Ok(Actor { id: record.peek().unwrap().id, record, ..by.clone() })
    }
}

#[tokio::test]
async fn only_the_pinned_identity_gets_a_token_and_it_says_asserted() {
    let w = World::new();
    let ada = w.google_owner("ada").await;
    assert!(w.asserted(&ada, google("ada")).await.unwrap().claims.asserted);
    let other_issuer = Assertion::Person { issuer: "https://evil.example".into(), subject: "ada".into() };
    let certificate = Assertion::Certificate { sha256: Blob(vec![1; 32]) };
    for seen in [google("eve"), other_issuer, certificate] {
        assert_eq!(reason(w.asserted(&ada, seen).await), Reason::Unauthenticated);
    }
    // No password of theirs, and no identity for who has a password.
    assert_eq!(reason(w.sign_in(&ada.record, &password(1)).await), Reason::Unauthenticated);
    let owner = w.owner().await;
    assert_eq!(reason(w.asserted(&owner, google("ada")).await), Reason::Unauthenticated);
    // The token is good for all that its person may do.
    w.vault(&ada).await;
}

#[tokio::test]
async fn an_agent_is_known_by_a_client_or_a_certificate_and_has_no_key() {
    let w = World::new();
    let owner = w.owner().await;
    let certificate = |byte| Assertion::Certificate { sha256: Blob(vec![byte; 32]) };
    let client = Assertion::Client { issuer: "https://id.example".into(), client_id: "bot".into() };
    for assertion in [certificate(1), client] {
        let agent = w.asserted_agent(&owner, assertion.clone()).await.unwrap();
        let issued = w.asserted(&agent, assertion.clone()).await.unwrap();
        assert!(issued.claims.asserted);
        assert_eq!(reason(w.asserted(&agent, certificate(2)).await), Reason::Unauthenticated);
        assert_eq!(reason(w.change(&owner, &agent, Change::RotateKey(agent_key(1))).await), Reason::Conflict);
        let ended = w.change(&owner, &agent, Change::Deactivate).await.unwrap();
        w.signer.confirm(ended.clone()).await.unwrap();
        let agent = agent.with_record(ended);
        assert_eq!(reason(w.asserted(&agent, assertion.clone()).await), Reason::Unauthenticated);
        // Nor once somebody lets it go on: what it logged in with has ended, as a key would have.
        let revived = w.change(&owner, &agent, Change::Update(settings())).await.unwrap();
        w.signer.confirm(revived.clone()).await.unwrap();
        let agent = agent.with_record(revived);
        assert_eq!(reason(w.asserted(&agent, assertion).await), Reason::Unauthenticated);
    }
    let short = Assertion::Certificate { sha256: Blob(vec![1; 31]) };
    let nameless = Assertion::Client { issuer: String::new(), client_id: "bot".into() };
    for bad in [google("ada"), short, nameless] {
        assert_eq!(reason(w.asserted_agent(&owner, bad).await), Reason::Invalid);
    }
}

#[tokio::test]
async fn a_person_is_known_by_an_issuer_and_a_subject() {
    let w = World::new();
    let nameless = Assertion::Person { issuer: "https://id.example".into(), subject: String::new() };
    for bad in [nameless, Assertion::Certificate { sha256: Blob(vec![1; 32]) }] {
        let (org, owner, login) = (OrgId::new(), UserId::new(), Login::Asserted(bad));
        let founded =
            w.signer.found_organisation(FoundOrganisation { org, owner, email: address(), login }).await;
        assert_eq!(reason(founded), Reason::Invalid);
    }
}
