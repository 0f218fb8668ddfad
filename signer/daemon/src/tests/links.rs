//! Mailed links: nobody makes one by writing to the database, none goes to another address, and none opens anything else.

use domain::Role;
use signer_protocol::Reason;
use signer_protocol::attested::Attested;
use signer_protocol::link::{Followed, LinkTo, MakeLink};
use signer_protocol::people::{ArmAgent, EnrolAgent, Join, Login, Newcomer, ResetPassword};
use signer_protocol::record::{Change, Principal};
use signer_protocol::wire::Blob;

use super::{Actor, TICKET, World, address, agent_key, edited, password, reason};
use crate::encoding::sha256;
use crate::refuse::Result;

impl World {
    async fn reset(&self, of: &Actor, followed: &Followed) -> Result<Attested<Principal>> {
        let (record, followed) = (of.record.clone(), followed.clone());
        self.signer.reset_password(ResetPassword { record, followed, new: password(7) }).await
    }

    async fn link(&self, of: &Actor) -> Result<Followed> {
        self.follow(LinkTo::Password(of.record.clone()), address()).await
    }
}

#[tokio::test]
async fn a_link_goes_to_the_address_that_the_signer_knows() {
    let w = World::new();
    let owner = w.owner().await;
    let elsewhere = Blob(vec![8; 32]);
    let invitation = w.invite(&owner, Role::Admin).await.unwrap();
    let request = EnrolAgent { person: owner.record.clone(), id: domain::AgentId::new(), identity: None };
    let agent = w.signer.enrol_agent(request).await.unwrap();
    for to in [
        LinkTo::Password(owner.record.clone()),
        LinkTo::Invitation(invitation),
        LinkTo::AgentKey { person: owner.record.clone(), agent },
    ] {
        assert_eq!(reason(w.follow(to.clone(), elsewhere.clone()).await), Reason::Tampered);
        w.follow(to.clone(), address()).await.unwrap();
        let short = MakeLink { to, email: address(), ticket: Blob(vec![1; 31]) };
        assert_eq!(reason(w.signer.make_link(short).await), Reason::Invalid);
    }
    let edited = edited(&owner.record, "\"email\":\"Bw", "\"email\":\"CA");
    assert_eq!(reason(w.follow(LinkTo::Password(edited), elsewhere).await), Reason::Tampered);
}

#[tokio::test]
async fn a_link_opens_what_it_was_made_for_and_nothing_else() {
    let w = World::new();
    let (owner, other) = (w.owner().await, w.owner().await);
    let link = w.link(&owner).await.unwrap();
    let wrong = Followed { ticket: b"another".to_vec().into(), ..link.clone() };
    assert_eq!(reason(w.reset(&owner, &wrong).await), Reason::Tampered);
    assert_eq!(reason(w.reset(&other, &link).await), Reason::Tampered);
    let invitation = w.invite(&owner, Role::Owner).await.unwrap();
    let theirs = w.invite(&other, Role::Member).await.unwrap();
    let theirs = w.follow(LinkTo::Invitation(theirs), address()).await.unwrap();
    for followed in [link.clone(), theirs.clone()] {
        let who = Newcomer::New(Login::Proof(password(2)));
        let request = Join { invitation: invitation.clone(), followed, who };
        assert_eq!(reason(w.signer.join(request).await), Reason::Tampered);
    }
    let request = EnrolAgent { person: owner.record.clone(), id: domain::AgentId::new(), identity: None };
    let agent = w.signer.enrol_agent(request).await.unwrap();
    let (person, followed, credential) = (owner.record.clone(), link.clone(), agent_key(6));
    let request = ArmAgent { person, agent, followed, credential };
    assert_eq!(reason(w.signer.arm_agent(request).await), Reason::Tampered);
    assert_eq!(reason(w.reset(&owner, &theirs).await), Reason::Tampered);
    // Whoever writes to the database puts a ticket of their own into a genuine link.
    let own = sha256(b"planted").to_vec();
    let (from, to) = (Blob(sha256(TICKET).to_vec()), Blob(own));
    let text = |blob: &Blob| serde_json::to_string(blob).unwrap();
    let planted = edited(&link.link, &text(&from), &text(&to));
    let followed = Followed { link: planted, ticket: b"planted".to_vec().into() };
    assert_eq!(reason(w.reset(&owner, &followed).await), Reason::Tampered);
    w.reset(&owner, &link).await.unwrap();
}

#[tokio::test]
async fn a_link_ends_with_its_time_and_with_what_it_was_for() {
    let w = World::new();
    let owner = w.owner().await;
    let late = w.link(&owner).await.unwrap();
    w.wait(30 * 60 - 1);
    // Asked again before the answer was seen, it opens again.
    w.reset(&owner, &late).await.unwrap();
    w.wait(1);
    assert_eq!(reason(w.reset(&owner, &late).await), Reason::Conflict);
    let first = w.link(&owner).await.unwrap();
    let second = w.link(&owner).await.unwrap();
    let record = w.reset(&owner, &first).await.unwrap();
    w.signer.confirm(record.clone()).await.unwrap();
    let owner = owner.with_record(record);
    for used in [&first, &second] {
        assert_eq!(reason(w.reset(&owner, used).await), Reason::Conflict);
    }
    let w = w.restarted();
    assert_eq!(reason(w.reset(&owner, &first).await), Reason::Conflict);
    // Who was removed is mailed no link.
    let boss = w.owner().await;
    let member = w.person(&boss, Role::Member).await;
    let link = w.link(&member).await.unwrap();
    let gone = w.change(&boss, &member, Change::Deactivate).await.unwrap();
    assert_eq!(gone.peek().unwrap().email, None);
    w.signer.confirm(gone.clone()).await.unwrap();
    let member = member.with_record(gone);
    assert_eq!(reason(w.link(&member).await), Reason::Forbidden);
    assert_eq!(reason(w.reset(&member, &link).await), Reason::Forbidden);
}

#[tokio::test]
async fn an_invitation_to_another_address_moves_nobody() {
    let w = World::new();
    let (owner, guest) = (w.owner().await, w.owner().await);
    let elsewhere = w.invite_at(&owner, Role::Admin, Blob(vec![8; 32])).await.unwrap();
    assert_eq!(reason(w.join(&elsewhere, Newcomer::Existing(guest.caller())).await), Reason::Tampered);
    let own = w.invite(&owner, Role::Admin).await.unwrap();
    w.join(&own, Newcomer::Existing(guest.caller())).await.unwrap();
}

#[tokio::test]
async fn wrong_guesses_at_a_password_end_with_it() {
    let w = World::new();
    let owner = w.owner().await;
    let guess = async |by: &Actor, current| {
        let (by, current, new) = (by.caller(), password(current), password(5));
        w.signer.change_password(signer_protocol::people::ChangePassword { by, current, new }).await
    };
    for _ in 0..5 {
        assert_eq!(reason(guess(&owner, 2).await), Reason::Unauthenticated);
    }
    assert!(matches!(reason(guess(&owner, 1).await), Reason::Locked(_)));
    let record = w.reset(&owner, &w.link(&owner).await.unwrap()).await.unwrap();
    w.signer.confirm(record.clone()).await.unwrap();
    let owner = w.actor(record, password(7)).await;
    guess(&owner, 7).await.unwrap();
}
