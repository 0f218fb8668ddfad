//! People: nobody comes in, rises or is removed but by those who may do that.

use std::time::Duration;

use domain::{InvitationId, Role, SecretType, UserId};
use signer_protocol::Reason;
use signer_protocol::api_key::{CreateApiKey, IssueKeyToken};
use signer_protocol::people::{ChangePassword, Invite, Login, Newcomer};
use signer_protocol::record::{Change, Credential, CredentialKind};
use signer_protocol::wire::Blob;

use super::{Actor, World, agent_key, edited, password, reason, settings};

const HOUR: Duration = Duration::from_secs(3600);

fn newcomer(seed: u8) -> Newcomer {
    Newcomer::New(Login::Proof(password(seed)))
}

impl World {
    /// The person, through an API key of theirs.
    pub async fn by_key(&self, owner: &Actor) -> Actor {
        let id = domain::ApiKeyId::new();
        let proof = Credential { kind: CredentialKind::ApiKey, secret: vec![b'k'; 47].into() };
        let (by, credential) = (owner.caller(), proof.clone());
        let request =
            CreateApiKey { by, id, credential, scopes: Vec::new(), expires_at: None, passkey: None };
        let key = self.signer.create_api_key(request).await.unwrap();
        let request = IssueKeyToken { record: owner.record.clone(), key, proof };
        Actor { token: self.signer.issue_key_token(request).await.unwrap().jwt, ..owner.clone() }
    }
}

#[tokio::test]
async fn an_invitation_brings_one_person_in_with_its_role() {
    let w = World::new();
    let owner = w.owner().await;
    let invitation = w.invite(&owner, Role::Admin).await.unwrap();
    let record = w.join(&invitation, newcomer(2)).await.unwrap();
    let told = record.peek().unwrap();
    assert_eq!((told.org, told.role, told.epoch), (owner.org, Some(Role::Admin), 1));
    assert_eq!(told.id, domain::PrincipalId::User(invitation.peek().unwrap().user));
    // Asked again before the answer was seen: somebody whose gateway died in between tries once more.
    let retried = w.join(&invitation, newcomer(3)).await.unwrap();
    w.actor(retried, password(3)).await;
    assert_eq!(reason(w.sign_in(&record, &password(2)).await), Reason::RolledBack);
    assert_eq!(reason(w.join(&invitation, newcomer(2)).await), Reason::Conflict);
    let guest = Newcomer::Existing(w.owner().await.caller());
    assert_eq!(reason(w.join(&invitation, guest).await), Reason::Conflict);
    let w = w.restarted();
    assert_eq!(reason(w.join(&invitation, newcomer(3)).await), Reason::Conflict);
}

#[tokio::test]
async fn owners_and_admins_invite_in_person_and_owners_alone_make_owners() {
    let w = World::new();
    let owner = w.owner().await;
    let (admin, member) = (w.person(&owner, Role::Admin).await, w.person(&owner, Role::Member).await);
    w.invite(&admin, Role::Admin).await.unwrap();
    w.invite(&owner, Role::Owner).await.unwrap();
    assert_eq!(reason(w.invite(&admin, Role::Owner).await), Reason::Forbidden);
    let agent = w.agent(&owner, settings()).await;
    for by in [&member, &agent, &w.by_key(&owner).await, &w.device(&owner).await] {
        assert_eq!(reason(w.invite(by, Role::Member).await), Reason::Forbidden);
    }
}

#[tokio::test]
async fn an_invitation_ends_with_its_time_and_with_its_giver() {
    let w = World::new();
    let owner = w.owner().await;
    let admin = w.person(&owner, Role::Admin).await;
    let late = w.invite(&owner, Role::Member).await.unwrap();
    w.wait(3600);
    assert_eq!(reason(w.join(&late, newcomer(2)).await), Reason::Conflict);

    let (owner, admin) =
        (w.again(&owner, owner.record.clone()).await, w.again(&admin, admin.record.clone()).await);
    for change in [Change::SetRole(Role::Member), Change::Deactivate] {
        let given = w.invite(&admin, Role::Member).await.unwrap();
        let demoted = w.change(&owner, &admin, change).await.unwrap();
        w.signer.confirm(demoted.clone()).await.unwrap();
        assert_eq!(reason(w.join(&given, newcomer(2)).await), Reason::Forbidden);
        if demoted.peek().unwrap().active {
            let back =
                w.change(&owner, &admin.with_record(demoted), Change::SetRole(Role::Admin)).await.unwrap();
            let admin = w.again(&admin, back).await;
            w.join(&given, newcomer(2)).await.unwrap();
            let removed = w.change(&owner, &admin, Change::Deactivate).await.unwrap();
            w.signer.confirm(removed).await.unwrap();
            break;
        }
    }
    // An owner who is an admin now makes no owner by an invitation from before.
    let second = w.person(&owner, Role::Owner).await;
    let given = w.invite(&second, Role::Owner).await.unwrap();
    let lowered = w.change(&owner, &second, Change::SetRole(Role::Admin)).await.unwrap();
    w.signer.confirm(lowered).await.unwrap();
    assert_eq!(reason(w.join(&given, newcomer(2)).await), Reason::Forbidden);
    // Neither lasts longer than a month, nor is a role written into one.
    let expires_at = w.clock.now().plus(Duration::from_secs(31 * 86_400));
    let (id, user, role) = (InvitationId::new(), UserId::new(), Role::Member);
    let email = Blob(vec![7; 32]);
    let request = Invite { by: owner.caller(), id, user, role, email, expires_at, passkey: None };
    assert_eq!(reason(w.signer.invite(request.clone()).await), Reason::Invalid);
    let request = Invite { email: Blob(vec![7; 31]), expires_at: w.clock.now().plus(HOUR), ..request };
    assert_eq!(reason(w.signer.invite(request).await), Reason::Invalid);
    let given = w.invite(&owner, Role::Member).await.unwrap();
    for (from, to) in [("\"member\"", "\"owner\""), ("\"email\":\"Bw", "\"email\":\"CA")] {
        assert_eq!(reason(w.join(&edited(&given, from, to), newcomer(2)).await), Reason::Tampered);
    }
}

/// Whoever was let in, lowered, and has gone elsewhere is not let in once more by the same letter.
#[tokio::test]
async fn a_used_invitation_brings_nobody_back() {
    let w = World::new();
    let (first, second) = (w.owner().await, w.owner().await);
    let guest = w.owner().await;
    let invitation = w.invite(&first, Role::Admin).await.unwrap();
    let joined = w.join(&invitation, Newcomer::Existing(guest.caller())).await.unwrap();
    let guest = w.again(&guest, joined).await;
    let lowered = w.change(&first, &guest, Change::SetRole(Role::Member)).await.unwrap();
    let guest = w.again(&guest, lowered).await;
    let elsewhere = w.invite(&second, Role::Member).await.unwrap();
    let moved = w.join(&elsewhere, Newcomer::Existing(guest.caller())).await.unwrap();
    let guest = w.again(&guest, moved).await;
    assert_eq!(reason(w.join(&invitation, Newcomer::Existing(guest.caller())).await), Reason::Conflict);
    // Nor whom it made.
    let w = w.restarted();
    let invitation = w.invite(&first, Role::Admin).await.unwrap();
    let made = w.actor(w.join(&invitation, newcomer(2)).await.unwrap(), password(2)).await;
    let elsewhere = w.invite(&second, Role::Member).await.unwrap();
    let moved = w.join(&elsewhere, Newcomer::Existing(made.caller())).await.unwrap();
    let made = w.again(&made, moved).await;
    assert_eq!(reason(w.join(&invitation, Newcomer::Existing(made.caller())).await), Reason::Conflict);
}

#[tokio::test]
async fn somebody_who_exists_moves_with_their_login_and_nothing_else() {
    let w = World::new();
    let (ours, theirs) = (w.owner().await, w.owner().await);
    let vault = w.vault(&theirs).await;
    let label = vault.label("api/token", SecretType::ApiKey);
    let sealed = w.seal(&theirs, &vault, label.clone(), "hunter2").await.unwrap().value.unwrap();
    let invitation = w.invite(&ours, Role::Member).await.unwrap();
    for by in [w.by_key(&theirs).await, w.device(&theirs).await, w.agent(&theirs, settings()).await] {
        assert_eq!(reason(w.join(&invitation, Newcomer::Existing(by.caller())).await), Reason::Forbidden);
    }
    let record = w.join(&invitation, Newcomer::Existing(theirs.caller())).await.unwrap();
    assert_eq!(w.join(&invitation, Newcomer::Existing(theirs.caller())).await.unwrap(), record);
    let stranger = Newcomer::Existing(w.owner().await.caller());
    assert_eq!(reason(w.join(&invitation, stranger).await), Reason::Conflict);
    // Until it is confirmed, they are where they were.
    w.open(&theirs, &vault, label.clone(), &sealed).await.unwrap();
    let moved = w.again(&theirs, record.clone()).await;
    let told = record.peek().unwrap();
    assert_eq!((told.org, told.role, told.epoch, told.version), (ours.org, Some(Role::Member), 2, 2));
    assert_eq!(reason(w.open(&theirs, &vault, label.clone(), &sealed).await), Reason::RolledBack);
    assert_eq!(reason(w.open(&moved, &vault, label, &sealed).await), Reason::Forbidden);
    let again = w.join(&invitation, Newcomer::Existing(moved.caller())).await;
    assert_eq!(reason(again), Reason::Conflict);
    let own = w.invite(&ours, Role::Member).await.unwrap();
    assert_eq!(reason(w.join(&own, Newcomer::Existing(ours.caller())).await), Reason::Conflict);
}

#[tokio::test]
async fn of_many_who_take_up_an_invitation_at_once_one_comes_in() {
    let w = World::new();
    let owner = w.owner().await;
    let invitation = w.invite(&owner, Role::Member).await.unwrap();
    let guests = futures::future::join_all((0..8).map(|_| w.owner())).await;
    let taken = guests.iter().map(|guest| w.join(&invitation, Newcomer::Existing(guest.caller())));
    let taken = futures::future::join_all(taken).await;
    assert_eq!(taken.iter().filter(|joined| joined.is_ok()).count(), 1);
}

#[tokio::test]
async fn roles_are_set_and_people_removed_by_those_who_may() {
    let w = World::new();
    let owner = w.owner().await;
    let (admin, member) = (w.person(&owner, Role::Admin).await, w.person(&owner, Role::Member).await);
    let other = w.person(&owner, Role::Member).await;
    let stranger = w.owner().await;
    for change in [Change::SetRole(Role::Admin), Change::Deactivate] {
        let (key, device) = (w.by_key(&owner).await, w.device(&owner).await);
        for by in [&member, &stranger, &key, &device, &w.agent(&owner, settings()).await] {
            assert_eq!(reason(w.change(by, &other, change.clone()).await), Reason::Forbidden);
        }
        assert_eq!(reason(w.change(&admin, &owner, change.clone()).await), Reason::Forbidden);
        w.change(&admin, &other, change.clone()).await.unwrap();
        w.change(&owner, &owner, change).await.unwrap();
    }
    assert_eq!(reason(w.change(&admin, &admin, Change::SetRole(Role::Owner)).await), Reason::Forbidden);
    assert_eq!(reason(w.change(&member, &member, Change::SetRole(Role::Admin)).await), Reason::Forbidden);

    // Their tokens say the role that they had, and end with it.
    let risen = w.change(&owner, &member, Change::SetRole(Role::Admin)).await.unwrap();
    w.signer.confirm(risen.clone()).await.unwrap();
    assert_eq!(
        reason(w.invite(&member.with_record(risen.clone()), Role::Member).await),
        Reason::Unauthenticated
    );
    let risen = w.again(&member, risen).await;
    w.invite(&risen, Role::Member).await.unwrap();

    // Everybody may go, and whoever is gone is not coming back by a role.
    let gone = w.change(&other, &other, Change::Deactivate).await.unwrap();
    w.signer.confirm(gone.clone()).await.unwrap();
    assert_eq!(reason(w.sign_in(&gone, &other.credential).await), Reason::Unauthenticated);
    let other = other.with_record(gone);
    assert_eq!(reason(w.invite(&other, Role::Member).await), Reason::Unauthenticated);
    assert_eq!(reason(w.change(&owner, &other, Change::SetRole(Role::Owner)).await), Reason::Conflict);
    assert_eq!(reason(w.change(&owner, &other, Change::Update(settings())).await), Reason::Forbidden);
}

impl World {
    async fn change_password(&self, by: &Actor, current: u8, new: Credential) -> super::Result<Actor> {
        let (current, credential) = (password(current), new.clone());
        let record = self.signer.change_password(ChangePassword { by: by.caller(), current, new }).await?;
        Ok(Actor { credential, ..by.with_record(record) })
    }
}

#[tokio::test]
async fn a_password_changes_for_its_person_and_ends_all_tokens() {
    let w = World::new();
    let owner = w.owner().await;
    let (key, device) = (w.by_key(&owner).await, w.device(&owner).await);
    for by in [&key, &device, &w.agent(&owner, settings()).await] {
        assert_eq!(reason(w.change_password(by, 1, password(5)).await), Reason::Forbidden);
    }
    assert_eq!(reason(w.change_password(&owner, 2, password(5)).await), Reason::Unauthenticated);
    assert_eq!(reason(w.change_password(&owner, 1, agent_key(5)).await), Reason::Invalid);
    let changed = w.change_password(&owner, 1, password(5)).await.unwrap();
    let changed = w.again(&changed, changed.record.clone()).await;
    assert_eq!(reason(w.sign_in(&changed.record, &password(1)).await), Reason::Unauthenticated);
    for old in [&owner, &key, &device] {
        let old = old.with_record(changed.record.clone());
        assert_eq!(reason(w.invite(&old, Role::Member).await), Reason::Unauthenticated);
    }
    // The same again is a change too.
    let same = w.change_password(&changed, 5, password(5)).await.unwrap();
    w.again(&same, same.record.clone()).await;
}

#[tokio::test]
async fn guesses_at_a_password_are_limited_where_it_is_asked_for_again() {
    let w = World::new();
    let owner = w.owner().await;
    for _ in 0..5 {
        assert_eq!(reason(w.change_password(&owner, 2, password(5)).await), Reason::Unauthenticated);
    }
    assert_eq!(reason(w.change_password(&owner, 1, password(5)).await), Reason::Locked(900));
    w.wait(900);
    let owner = w.again(&owner, owner.record.clone()).await;
    w.change_password(&owner, 1, password(5)).await.unwrap();
}

#[tokio::test]
async fn a_password_is_reset_where_there_is_one() {
    let w = World::new();
    let owner = w.owner().await;
    let reset = |record, new| w.reset_password(record, new);
    let record = reset(owner.record.clone(), password(7)).await.unwrap();
    w.actor(record.clone(), password(7)).await;
    let old = owner.with_record(record);
    assert_eq!(reason(w.invite(&old, Role::Member).await), Reason::Unauthenticated);
    assert_eq!(reason(reset(owner.record.clone(), password(8)).await), Reason::RolledBack);
    let agent = w.agent(&w.owner().await, settings()).await;
    assert_eq!(reason(reset(agent.record, agent_key(8)).await), Reason::Forbidden);
    let asserted = w.google_owner("ada").await;
    assert_eq!(reason(reset(asserted.record, password(8)).await), Reason::Forbidden);
}
