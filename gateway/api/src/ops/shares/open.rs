//! A shared value on its way out: for whom it is meant, from where, with the passphrase; counted before it leaves.

use std::time::Duration;

use domain::audit::Event;
use domain::limit::Window;
use domain::{
    Error, EventId, Kind, OrMissing as _, PrincipalId, RecipientType, Result, Revealed, SecretBytes,
    SecretText, SecretType, ShareId, UserId,
};
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use signer_protocol::sharing::OpenShared;
use signer_protocol::wire::Secret;
use store::shares::{self, Access, Counted, Share, Shared};
use store::{Tx, users};

use super::{gone, named, readable, stands};
use crate::access::Visitors;
use crate::cx::Cx;
use crate::decode;
use crate::known::KnownPrincipal;
use crate::operation::{Operation, Reply, Route};
use crate::ops::OfShare;
use crate::outside::mail::{self, Letter};
use crate::throttle::{self, Target};

/// The header.
pub const PASSPHRASE: &str = "x-share-passphrase";
/// Of a passphrase that may be one, in bytes: 128 characters.
const MAX_PASSPHRASE: usize = 512;
/// Mails to the sharer of one share. Accesses beyond are told of with the next.
const MAILS: Window = Window::new(20, Duration::from_secs(60 * 60));

const WRONG: &str = "The passphrase is wrong. Whoever shared this knows it.";
const MISSING: &str =
    "This share has a passphrase: send it as X-Share-Passphrase. Whoever shared this knows it.";
const SIGN_IN: &str = "This share names who may open it: sign in, and send your token.";
const ANOTHERS: &str = "This share is for somebody else. Sign in as whom it was shared with; of a mail address, with an \
                        account of that address.";
const ACCEPT: &str = "Accept this share first: POST /v1/shares/{share_id}/accept.";
const ELSEWHERE: &str = "This share can't be opened from your address.";

#[derive(Deserialize, JsonSchema)]
pub struct OpenShareQuery {
    /// Better sent as the header X-Share-Passphrase: addresses are kept in many places.
    #[serde(default)]
    passphrase: Option<SecretText>,
}

#[derive(Serialize, JsonSchema)]
pub struct SharedSecretResponse {
    id: ShareId,
    path: String,
    #[serde(rename = "type")]
    kind: SecretType,
    value: Revealed,
    /// The value is encrypted with a key of the customer's, as a read of the secret says it.
    cmek_encrypted: bool,
    access_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_access_count: Option<u64>,
}

/// Opens a share.
pub struct OpenShare;

impl Operation for OpenShare {
    const ROUTE: Route = Route::new(
        "accessShare",
        Method::GET,
        "/v1/share/{share_id}",
        200,
        "The value that is shared. Each access is counted and audited. A token is needed where the share names a recipient.",
    )
    .audited("share.access", "share");
    type Path = OfShare;
    type Params = decode::From<OpenShareQuery>;
    type Output = SharedSecretResponse;
    type Access = Visitors;

    async fn run(
        cx: &Cx,
        (): (),
        OfShare { share_id }: OfShare,
        decode::From(query): Self::Params,
    ) -> Result<Reply<SharedSecretResponse>> {
        let share = shares::facts(cx.store(), share_id).await?.filter(|share| !share.ended);
        let share = share.or_missing("share")?;
        let claimed_by = admit(cx, &share).await?;
        let sharer = cx.gateway.known.principal(cx.store(), share.by, share.org).await?;
        let sharer = sharer.filter(|sharer| sharer.principal.active).or_missing("share")?;
        let version = shares::facts_of_version(cx.store(), &share).await?.ok_or_else(gone)?;
        readable(&version.state, cx.now())?;
        stands(cx, &share, &sharer).await?;
        let passphrase = given(cx, query)?;
        let value = reveal(cx, &share, &sharer, &version, passphrase).await?;
        let counted = record(cx, &share, &sharer, claimed_by).await?;
        Ok(Reply::of(SharedSecretResponse {
            id: share.id,
            path: share.path.to_string(),
            kind: version.kind,
            value: Revealed::from_bytes(&value)?,
            cmek_encrypted: version.cmek,
            access_count: counted.accesses,
            max_access_count: share.max_access_count,
        }))
    }
}

/// Whether the caller may open it now, the passphrase aside. Who claims it by opening it.
async fn admit(cx: &Cx, share: &Share) -> Result<Option<UserId>> {
    let claimed_by = recipient(cx, share).await?;
    if cx.now() >= share.expires_at {
        return Err(Error::gone("This share has expired; ask for another."));
    }
    if share.max_access_count.is_some_and(|most| share.access_count >= most) {
        return Err(used_up());
    }
    let waits = share.accepted_at.is_none() && claimed_by.is_none();
    if waits && share.kind != RecipientType::AnyoneWithLink {
        return Err(Error::forbidden(ACCEPT).with("needs", "acceptance"));
    }
    let grant = share.record.peek().map_err(Error::internal)?;
    if grant.admits(cx.address) { Ok(claimed_by) } else { Err(Error::forbidden(ELSEWHERE)) }
}

async fn recipient(cx: &Cx, share: &Share) -> Result<Option<UserId>> {
    if share.kind == RecipientType::AnyoneWithLink {
        return Ok(None);
    }
    let caller = cx.caller().map_err(|_| Error::unauthenticated(SIGN_IN))?.principal().id;
    if named(cx, share).await? != Some(caller) {
        return Err(Error::forbidden(ANOTHERS));
    }
    match (share.to, caller) {
        (None, PrincipalId::User(user)) => Ok(Some(user)),
        _ => Ok(None),
    }
}

fn used_up() -> Error {
    Error::gone("This share's accesses are used up; ask for another.")
}

/// The passphrase as it came, from the header before the query.
fn given(cx: &Cx, query: OpenShareQuery) -> Result<Option<SecretText>> {
    let Some(header) = cx.headers.get(PASSPHRASE) else { return Ok(query.passphrase) };
    let text = std::str::from_utf8(header.as_bytes());
    let text = text.map_err(|_| Error::invalid("X-Share-Passphrase", "must be UTF-8"))?;
    Ok(Some(SecretText::from(text.to_owned())))
}

async fn reveal(
    cx: &Cx,
    share: &Share,
    sharer: &KnownPrincipal,
    version: &Shared,
    passphrase: Option<SecretText>,
) -> Result<SecretBytes> {
    let Some(salt) = &share.salt else { return open(cx, share, sharer, version, None).await };
    let passphrase = passphrase.ok_or_else(|| Error::forbidden(MISSING).with("needs", "passphrase"))?;
    let id = share.id.to_string();
    let guess = async {
        if passphrase.expose().len() > MAX_PASSPHRASE {
            return Err(Error::unauthenticated(WRONG));
        }
        let stretched = cx.gateway.hasher.stretch(&passphrase, salt).await?;
        open(cx, share, sharer, version, Some(stretched)).await
    };
    let opened = throttle::guard(&cx.gateway, Target::Passphrase(&id), cx.address, guess).await;
    opened.map_err(|error| match error.kind() {
        Kind::Unauthenticated => {
            cx.gateway.notes.guessed(refused(cx, share));
            Error::forbidden(WRONG).with("needs", "passphrase").because(error)
        }
        _ => error,
    })
}

/// Somebody guesses at the passphrase: on the trail of whoever shares.
fn refused(cx: &Cx, share: &Share) -> Event {
    Event {
        id: EventId::new(),
        org: share.org,
        action: "share.refused",
        actor: cx.caller().ok().map(|caller| caller.principal().id),
        resource: ("share", share.kind.shown(share.id)),
        details: Map::from_iter([
            ("reason".to_owned(), Value::from("passphrase")),
            ("path".to_owned(), share.path.as_str().into()),
            ("vault_id".to_owned(), share.vault.to_string().into()),
        ]),
        address: cx.address.map(|address| address.to_string()),
        at: cx.now(),
    }
}

async fn open(
    cx: &Cx,
    share: &Share,
    sharer: &KnownPrincipal,
    version: &Shared,
    passphrase: Option<Secret>,
) -> Result<SecretBytes> {
    let vault = cx.vault(share.vault).await?.or_missing("share")?;
    let request = OpenShared {
        grant: share.record.clone(),
        sharer: sharer.record.clone(),
        vault_key: vault.key.clone(),
        sealed: version.sealed.clone().ok_or_else(gone)?,
        // Where nobody is named, it is nobody's business who opens it.
        by: match share.kind {
            RecipientType::AnyoneWithLink => None,
            _ => Some(cx.for_signer()?),
        },
        passphrase,
        address: cx.address,
    };
    let value = cx.signer(async |signer, context| signer.open_shared(context, request).await).await?;
    Ok(value.into())
}

/// The access is counted and on the trail, with the mail that tells of it, before the value leaves.
async fn record(
    cx: &Cx,
    share: &Share,
    sharer: &KnownPrincipal,
    claimed_by: Option<UserId>,
) -> Result<Counted> {
    let creator = match share.by {
        PrincipalId::User(id) => Some(id),
        PrincipalId::Agent(_) => sharer.principal.created_by,
    };
    let creator = match creator {
        Some(id) => users::facts(cx.store(), id).await?,
        None => None,
    };
    let mut act = cx.begin().await?;
    act.within(share.org);
    if let Some(user) = claimed_by
        && !shares::claim_one(&mut act, share.id, user, cx.now()).await?
    {
        return Err(Error::missing("share"));
    }
    let counted = match shares::count(&mut act, share, cx.now()).await? {
        Access::Counted(counted) => counted,
        Access::Ended => return Err(Error::missing("share")),
        Access::Gone => return Err(gone()),
        Access::UsedUp => return Err(used_up()),
    };
    if let Some(creator) = creator {
        tell(cx, &mut act, share, &counted, &creator.email).await?;
    }
    act.note("path", share.path.as_str());
    act.note("version", share.version);
    act.note("vault_id", share.vault.to_string());
    act.note("recipient_type", share.kind.as_str());
    act.note("access_count", counted.accesses);
    act.commit(share.kind.shown(share.id)).await?;
    Ok(counted)
}

async fn tell(cx: &Cx, tx: &mut Tx, share: &Share, counted: &Counted, to: &str) -> Result<()> {
    let id = share.id.to_string();
    if !throttle::has_room_within(tx, "share.told", &[&id], MAILS, cx.now()).await? {
        return Ok(());
    }
    let times = counted.accesses.saturating_sub(counted.told);
    let letter = Letter::ShareAccessed { path: share.path.to_string(), times, in_all: counted.accesses };
    mail::queue(tx, to, &letter, cx.now()).await?;
    shares::tell(tx, share.id, counted.accesses).await
}
