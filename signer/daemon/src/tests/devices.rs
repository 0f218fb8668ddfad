//! Devices: let in by a person, once, with what only the device knows.

use domain::{DeviceGrantId, PrincipalId, Role};
use signer_protocol::Reason;
use signer_protocol::attested::Attested;
use signer_protocol::device::{ApproveDevice, DeviceGrant, IssueDeviceToken};
use signer_protocol::record::Change;
use signer_protocol::token::IssuedToken;
use signer_protocol::wire::Blob;

use super::{Actor, World, edited, password, reason, settings};
use crate::encoding::sha256;
use crate::refuse::Result;

const CODE: &[u8] = b"what only the device knows";

impl World {
    async fn approve(&self, by: &Actor, seconds: u64) -> Result<Attested<DeviceGrant>> {
        let expires_at = self.clock.now().plus(std::time::Duration::from_secs(seconds));
        let code = Blob(sha256(CODE).to_vec());
        let (by, id) = (by.caller(), DeviceGrantId::new());
        self.signer.approve_device(ApproveDevice { by, id, code, expires_at }).await
    }

    async fn let_in(&self, whose: &Actor, grant: &Attested<DeviceGrant>, code: &[u8]) -> Result<IssuedToken> {
        let (record, grant, code) = (whose.record.clone(), grant.clone(), code.to_vec().into());
        self.signer.issue_device_token(IssueDeviceToken { record, grant, code }).await
    }

    /// The person, on a device that they let in.
    pub async fn device(&self, whose: &Actor) -> Actor {
        let grant = self.approve(whose, 600).await.unwrap();
        let token = self.let_in(whose, &grant, CODE).await.unwrap().jwt;
        Actor { token, ..whose.clone() }
    }
}

#[tokio::test]
async fn a_device_that_was_let_in_is_its_person_for_a_day() {
    let w = World::new();
    let owner = w.owner().await;
    let grant = w.approve(&owner, 600).await.unwrap();
    let issued = w.let_in(&owner, &grant, CODE).await.unwrap();
    let claims = &issued.claims;
    assert_eq!((claims.sub, claims.exp - claims.iat, claims.device), (owner.id, 86_400, true));
    let device = Actor { token: issued.jwt, ..owner.clone() };
    w.wait(86_000);
    w.vault(&device).await;
    // One device lets no other in.
    assert_eq!(reason(w.approve(&device, 600).await), Reason::Forbidden);
    w.wait(400);
    assert_eq!(reason(w.invite(&device, Role::Member).await), Reason::Unauthenticated);
}

#[tokio::test]
async fn people_alone_let_devices_in_and_not_for_long() {
    let w = World::new();
    let owner = w.owner().await;
    let agent = w.agent(&owner, settings()).await;
    for by in [&agent, &w.by_key(&owner).await] {
        assert_eq!(reason(w.approve(by, 600).await), Reason::Forbidden);
    }
    for seconds in [0, 601] {
        assert_eq!(reason(w.approve(&owner, seconds).await), Reason::Invalid);
    }
}

#[tokio::test]
async fn a_grant_is_for_its_persons_device_alone() {
    let w = World::new();
    let (owner, stranger) = (w.owner().await, w.owner().await);
    let grant = w.approve(&owner, 600).await.unwrap();
    assert_eq!(reason(w.let_in(&owner, &grant, b"a guess").await), Reason::Unauthenticated);
    assert_eq!(reason(w.let_in(&stranger, &grant, CODE).await), Reason::Tampered);
    let PrincipalId::User(theirs) = stranger.id else { panic!("no person") };
    let forged = edited(&grant, &owner.user().to_string(), &theirs.to_string());
    assert_eq!(reason(w.let_in(&stranger, &forged, CODE).await), Reason::Tampered);
    let agent = w.agent(&owner, settings()).await;
    assert_eq!(reason(w.let_in(&agent, &grant, CODE).await), Reason::Forbidden);
    w.let_in(&owner, &grant, CODE).await.unwrap();
}

#[tokio::test]
async fn a_grant_is_good_once_however_many_ask_at_once() {
    let w = World::new();
    let owner = w.owner().await;
    let grant = w.approve(&owner, 600).await.unwrap();
    let asked = futures::future::join_all((0..20).map(|_| w.let_in(&owner, &grant, CODE))).await;
    assert_eq!(asked.iter().filter(|issued| issued.is_ok()).count(), 1);
    let w = w.after_power_cut();
    assert_eq!(reason(w.let_in(&owner, &grant, CODE).await), Reason::Conflict);
}

#[tokio::test]
async fn a_grant_ends_with_its_time_and_with_its_persons_tokens() {
    let w = World::new();
    let owner = w.owner().await;
    let member = w.person(&owner, Role::Member).await;
    let late = w.approve(&owner, 60).await.unwrap();
    let before = w.approve(&member, 600).await.unwrap();
    w.wait(60);
    assert_eq!(reason(w.let_in(&owner, &late, CODE).await), Reason::Conflict);
    let risen = w.change(&owner, &member, Change::SetRole(Role::Admin)).await.unwrap();
    let member = w.actor(risen, password(2)).await;
    assert_eq!(reason(w.let_in(&member, &before, CODE).await), Reason::Unauthenticated);
}
