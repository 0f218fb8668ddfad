//! The end of an account. A member leaves alone; the last owner takes the organisation along.

use domain::access::{self, Permit};
use domain::audit::Event;
use domain::{Error, EventId, OrMissing as _, OrgId, PrincipalId, Result, UserId};
use http::Method;
use schemars::JsonSchema;
use serde::Deserialize;
use signer_protocol::people::EndOrganisation;
use signer_protocol::record::{Change, ChangePrincipal};
use signer_protocol::{Reason, Refusal};
use store::users::{self, User};
use store::{Tx, organisations};

use crate::access::Own;
use crate::cx::Cx;
use crate::decode;
use crate::gateway::Gateway;
use crate::operation::{Operation, Reply, Route};
use crate::ops::org::owners;
use crate::ops::webhooks::switch_off;
use crate::outside::mail::{self, Letter};
use crate::refusal;

const CONFIRMATION: &str = "DELETE MY ACCOUNT";

#[derive(Deserialize, JsonSchema)]
pub struct DeleteAccountRequest {
    /// `DELETE MY ACCOUNT`
    #[serde(default)]
    confirmation: Option<String>,
    /// The same, by another name.
    #[serde(default)]
    confirm: Option<String>,
}

/// Deletes the caller's account.
pub struct DeleteMe;

impl Operation for DeleteMe {
    const ROUTE: Route = Route::new(
        "deleteMe",
        Method::DELETE,
        "/v1/auth/me",
        204,
        "Deletes your account. The last owner takes the organisation along: its members' accounts, its agents, its vaults and \
         all that is in them, for ever. Needs a login of your own.",
    )
    .audited("user.delete", "user");
    type Path = ();
    type Params = decode::From<DeleteAccountRequest>;
    type Output = ();
    type Access = Own<access::DeleteAccount>;

    async fn run(
        cx: &Cx,
        may: Permit<access::DeleteAccount, UserId>,
        (): (),
        decode::From(given): Self::Params,
    ) -> Result<Reply<()>> {
        if given.confirmation.or(given.confirm).as_deref() != Some(CONFIRMATION) {
            return Err(Error::invalid("confirmation", format!("must be {CONFIRMATION}")));
        }
        let user = users::facts(cx.store(), *may.on()).await?.or_missing("user")?;
        // Each is confirmed by itself: who means to leave ends nobody's organisation.
        if is_last_owner(cx, &user).await? || !leave(cx, &may, &user).await? {
            end_organisation(cx, &user).await?;
        }
        Ok(Reply::of(()))
    }
}

async fn is_last_owner(cx: &Cx, user: &User) -> Result<bool> {
    let people = users::hold_people(&mut cx.store().begin().await?, user.org).await?;
    Ok(owners::is_owner(user)? && !owners::another(&people, user.id)?)
}

/// `false`: the organisation's end was begun, and nothing was done.
async fn leave(cx: &Cx, may: &Permit<access::DeleteAccount, UserId>, user: &User) -> Result<bool> {
    let base = Some(user.record.clone());
    let (by, passkey) = (cx.for_signer()?, cx.passkey().await?);
    let request = ChangePrincipal { by, base, change: Change::Deactivate, passkey };
    // Until it is confirmed, nothing has happened.
    let proposed = cx.gateway.signer.call(async |signer, c| signer.change_principal(c, request).await).await;
    let last = match proposed {
        Ok(last) => last,
        // It is to be finished.
        Err(Refusal { reason: Reason::Destroyed, .. }) => return Ok(false),
        Err(refused) => return Err(cx.refused(refused).await),
    };
    let mut act = cx.begin().await?;
    let people = users::hold_people(&mut act, user.org).await?;
    if owners::is_owner(user)? && !owners::another(&people, user.id)? {
        return Err(Error::conflict(
            "You have become the organisation's last owner just now; repeat, and you take it along.",
        ));
    }
    if !users::delete(&mut act, may, &user.record, &last).await? {
        return Err(Error::conflict("Your account was changed just now; log in, then repeat."));
    }
    switch_off(cx, &mut act, user.org, user.id).await?;
    mail::queue(&mut act, &user.email, &Letter::AccountDeleted, cx.now()).await?;
    act.commit(user.id).await?;
    cx.gateway.known.forget_policies(PrincipalId::User(user.id)).await;
    tell(&cx.gateway, user.id, &last).await?;
    Ok(true)
}

/// Ends the organisation in the signer, then its rows. Whatever dies in between, asking again finishes it; so does the
/// job that looks after it.
async fn end_organisation(cx: &Cx, user: &User) -> Result<()> {
    owners::operate_nothing(cx, user).await?;
    let mut tx = cx.store().begin().await?;
    // Once more, now that nobody becomes an owner meanwhile.
    if owners::another(&users::hold_people(&mut tx, user.org).await?, user.id)? {
        return Err(Error::conflict(
            "Somebody else has become an owner just now; repeat, and you leave alone.",
        ));
    }
    organisations::begin_ending(&mut tx, user.org, cx.now()).await?;
    tx.commit().await?;
    let request = EndOrganisation { by: cx.for_signer()?, passkey: cx.passkey().await? };
    let ended = cx.gateway.signer.call(async |signer, c| signer.end_organisation(c, request).await).await;
    match ended {
        Ok(()) | Err(Refusal { reason: Reason::Destroyed, .. }) => {}
        // Whether it was ended or not, the job finds out.
        Err(refused) => return Err(cx.refused(refused).await),
    }
    let mut act = cx.begin().await?;
    act.note("organisation", "deleted");
    delete_rows(&mut act, user.org, cx.now()).await?;
    act.commit(user.id).await?;
    cx.gateway.known.forget_everything();
    Ok(())
}

async fn delete_rows(tx: &mut Tx, org: OrgId, now: domain::Time) -> Result<()> {
    for email in organisations::delete(tx, org).await? {
        mail::queue(tx, &email, &Letter::AccountDeleted, now).await?;
    }
    Ok(())
}

/// Finishes what a gateway that died has left: the signer knows whether it ended the organisation.
pub async fn finish(gateway: &Gateway, org: OrgId, somebody: Option<User>) -> Result<()> {
    let ended = match somebody {
        Some(user) => {
            let asked = gateway.signer.call(async |signer, c| signer.confirm(c, user.record.clone()).await);
            match asked.await {
                Ok(()) => false,
                Err(Refusal { reason: Reason::Destroyed, .. }) => true,
                Err(refused) => return Err(refusal::error(refused)),
            }
        }
        None => false,
    };
    let now = gateway.clock.now();
    let mut tx = gateway.store.begin().await?;
    if ended {
        delete_rows(&mut tx, org, now).await?;
        tx.record(Event {
            id: EventId::new(),
            org,
            action: "org.delete",
            actor: None,
            resource: ("organisation", org.to_string()),
            details: Default::default(),
            address: None,
            at: now,
        });
    } else {
        organisations::abandon_ending(&mut tx, org).await?;
    }
    tx.commit().await?;
    gateway.known.forget_everything();
    Ok(())
}

/// Tells the signer of somebody's last record, so that it refuses the earlier ones for ever.
pub async fn tell(
    gateway: &Gateway,
    id: UserId,
    last: &signer_protocol::Attested<signer_protocol::record::Principal>,
) -> Result<()> {
    gateway.confirm(last).await?;
    let mut tx = gateway.store.begin().await?;
    users::settle(&mut tx, id).await?;
    tx.commit().await
}
