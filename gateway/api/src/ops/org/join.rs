//! Taking up an invitation: as a new person, at sign-up, or as one who has an account. Nobody is moved into an
//! organisation without having opened the link that came to their address.

use domain::access::{JoinOrganisation, Permit};
use domain::ticket::Purpose;
use domain::{Error, OrMissing as _, OrgId, PrincipalId, Result, SecretText, Time, UserId};
use http::Method;
use schemars::JsonSchema;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use signer_protocol::link::Followed;
use signer_protocol::people;
use signer_protocol::wire::Blob;
use store::agents::{self, Agent};
use store::invitations::{self, Invitation};
use store::users::{self, User};
use store::{Tx, members, tickets};

use super::owners;
use crate::access::Own;
use crate::cx::Cx;
use crate::decode;
use crate::links;
use crate::operation::{Operation, Reply, Route};
use crate::ops::webhooks::switch_off;
use crate::outside::mail::{self, Letter};

/// The invitation that a mailed link stands for, if it came to this address and can still be taken up; and what shows that
/// to the signer.
///
/// # Errors
/// `Forbidden`.
pub async fn open(cx: &Cx, ticket: &SecretText, email: &str) -> Result<(Invitation, Followed)> {
    let (id, followed) = links::followed(cx, Purpose::Invitation, ticket).await?.ok_or_else(gone)?;
    let open = invitations::facts(cx.store(), id, cx.now()).await?.ok_or_else(gone)?;
    // The statement's address, not the row's: the signer vouches for it when it is taken up.
    if open.record.peek().map_err(Error::internal)?.email == addressed_to(email) {
        Ok((open, followed))
    } else {
        Err(Error::forbidden(
            "This invitation was sent to another address; use that one, or ask for a new invitation.",
        ))
    }
}

/// What an invitation says of the address that it goes to.
pub fn addressed_to(email: &str) -> Blob {
    Blob(Sha256::digest(email.as_bytes()).to_vec())
}

fn gone() -> Error {
    Error::forbidden("This invitation was taken up or taken back, or has expired. Ask for a new one.")
}

/// # Errors
/// `Forbidden` if somebody took it up in the meantime, or if it was taken back.
pub async fn take(tx: &mut Tx, open: &Invitation, now: Time) -> Result<()> {
    if !invitations::take(tx, open.id, now).await? {
        return Err(gone());
    }
    tickets::withdraw(tx, Purpose::Invitation, &open.id.to_string()).await
}

#[derive(Deserialize, JsonSchema)]
pub struct JoinRequest {
    /// From the link in the mail.
    invitation: SecretText,
}

/// Moves the caller into the organisation that invites.
pub struct Join;

impl Operation for Join {
    const ROUTE: Route = Route::new(
        "joinOrganisation",
        Method::POST,
        "/v1/org/join",
        204,
        "Takes up an invitation that was mailed to you: you leave your organisation for the one that invites, with \
         nothing but your account. Your tokens and API keys end; log in again.",
    )
    .audited("member.join", "user");
    type Path = ();
    type Params = decode::From<JoinRequest>;
    type Output = ();
    type Access = Own<JoinOrganisation>;

    async fn run(
        cx: &Cx,
        may: Permit<JoinOrganisation, UserId>,
        (): (),
        decode::From(JoinRequest { invitation }): Self::Params,
    ) -> Result<Reply<()>> {
        let user = users::facts(cx.store(), *may.on()).await?.or_missing("user")?;
        let (open, followed) = open(cx, &invitation, &user.email).await?;
        if open.org == user.org {
            return Err(Error::conflict("You are in this organisation already."));
        }
        let organisation =
            members::organisation_name(cx.store(), open.org).await?.or_missing("organisation")?;
        let who = people::Newcomer::Existing(cx.for_signer()?);
        // Asked again by the same person, the signer answers the same: what fails below can be repeated.
        let request = people::Join { invitation: open.record.clone(), followed, who };
        let record = cx.signer(async |signer, context| signer.join(context, request).await).await?;
        let mut act = cx.begin().await?;
        take(&mut act, &open, cx.now()).await?;
        leaves_nothing(cx, &mut act, &user).await?;
        if !members::move_to(&mut act, &may, open.org, &user.record, &record).await? {
            return Err(Error::conflict("Your account was changed just now; log in, then repeat."));
        }
        switch_off(cx, &mut act, user.org, user.id).await?;
        mail::queue(&mut act, &user.email, &Letter::Joined { organisation }, cx.now()).await?;
        act.also("member.leave", "user", user.id, Default::default())?;
        act.by(PrincipalId::User(user.id), open.org);
        act.note("role", open.role.as_str());
        act.commit(user.id).await?;
        cx.gateway.confirm(&record).await?;
        Ok(Reply::of(()))
    }
}

/// A last owner leaves only what nobody needs.
async fn leaves_nothing(cx: &Cx, tx: &mut Tx, user: &User) -> Result<()> {
    let people = users::hold_people(tx, user.org).await?;
    if !owners::is_owner(user)? || owners::another(&people, user.id)? {
        return Ok(());
    }
    owners::operate_nothing(cx, user).await?;
    if people.len() > 1 || members::has_vaults(tx, user.org).await? || has_agents(tx, user.org).await? {
        return Err(Error::conflict(
            "You are the last owner of an organisation that has vaults, agents or members. Make somebody else its \
             owner, or delete your account, then take up the invitation.",
        ));
    }
    Ok(())
}

/// Whether an agent can log in there, or could once it is resumed. Any stranger enrols one that waits for its key, and one
/// that was deleted keeps its row: neither holds anybody back.
async fn has_agents(tx: &mut Tx, org: OrgId) -> Result<bool> {
    let mut agents = agents::facts_in(tx, org).await?.into_iter();
    agents.try_fold(false, |found, agent| Ok(found || has_login(&agent)?))
}

fn has_login(agent: &Agent) -> Result<bool> {
    let record = agent.record.peek();
    let record =
        record.map_err(|e| Error::internal(format!("agent {}'s record is damaged: {e}", agent.id)))?;
    Ok(record.has_login())
}
