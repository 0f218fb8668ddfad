//! A share in the making: its terms checked, its grant made by the signer, its recipient told.

use std::time::Duration;

use domain::access::ShareSecret;
use domain::limit::Window;
use domain::{
    AgentId, Error, OrMissing as _, PrincipalId, RecipientType, Result, SecretText, ShareId, Time, UserId,
    ip_rule,
};
use http::Method;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use signer_protocol::Attested;
use signer_protocol::sealing::Label;
use signer_protocol::sharing::{self, Recipient, ShareGrant};
use store::shares::{self, Share};
use store::{agents, users};

use super::access::{GrantedSecret, OnSecretId};
use super::readable;
use crate::cx::Cx;
use crate::decode::{self, NothingElse};
use crate::mailbox::{self, Mails};
use crate::operation::{Operation, Reply, Route};
use crate::ops::OfSecretId;
use crate::ops::auth::email;
use crate::ops::org::addressed_to;
use crate::outside::mail::{self, Letter};
use crate::password::{SALT, random};
use crate::throttle;
use crate::tool::{Default as Or, Effect, Tool, arg};

/// By one organisation.
const SHARES: Window = Window::new(10, Duration::from_secs(60));
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Of an ip_allowlist.
const MAX_ADDRESSES: usize = 100;

#[derive(Deserialize, JsonSchema)]
pub struct CreateShareRequest {
    recipient_type: RecipientType,
    /// Of the user or agent.
    #[serde(default)]
    recipient_id: Option<String>,
    /// For external_email.
    #[serde(default)]
    email: Option<String>,
    /// `["read"]`, which is what a share gives.
    #[serde(default)]
    permissions: Option<Vec<String>>,
    /// How often it can be opened; at least 1. Left out: any number of times.
    #[serde(default)]
    max_access_count: Option<u64>,
    /// Within a year.
    expires_at: Time,
    /// 8 to 128 characters, to be told to the recipient by another way than the link.
    #[serde(default)]
    passphrase: Option<SecretText>,
    /// Addresses and networks that it can be opened from.
    #[serde(default)]
    ip_allowlist: Option<Vec<String>>,
    #[serde(flatten)]
    _nothing_else: NothingElse,
}

#[derive(Serialize, JsonSchema)]
pub struct ShareResponse {
    id: ShareId,
    /// A page on which a person reveals the value.
    share_url: String,
    recipient_type: RecipientType,
    #[serde(skip_serializing_if = "Option::is_none")]
    recipient_email: Option<String>,
    expires_at: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_access_count: Option<u64>,
}

/// Shares a secret.
pub struct CreateShare;

impl Operation for CreateShare {
    const ROUTE: Route = Route::new(
        "createShare",
        Method::POST,
        "/v1/secrets/{secret_id}/share",
        201,
        "Shares a secret's newest version, which you must be able to read, with somebody or with whoever has the link.",
    )
    .audited("share.create", "share")
    .tool(
        Tool::new(
            "share_secret",
            Effect::Adds,
            "Shares a secret that you can read: with the person who registered you (creator), a user or an agent by id, or \
             whoever has the link (anyone_with_link). Share only what your user asked for, with as few reads as will do. \
             The answer's share_url is for the recipient. If you lack read permission, ask an owner or admin; keys are never \
             shared by link.",
        )
        .takes(&[
            arg("secret_id").about("The id that list_secrets gives."),
            arg("recipient_type"),
            arg("recipient_id"),
            arg("expires_at").about("RFC 3339, within a year."),
            arg("max_access_count").or(Or::Number(5)),
        ]),
    );
    type Path = OfSecretId;
    type Params = decode::From<CreateShareRequest>;
    type Output = ShareResponse;
    type Access = OnSecretId<ShareSecret>;

    async fn run(
        cx: &Cx,
        granted: GrantedSecret<ShareSecret>,
        _: OfSecretId,
        decode::From(asked): Self::Params,
    ) -> Result<Reply<ShareResponse>> {
        let addresses = check(cx, &asked)?;
        may_leave(cx, &granted, &asked)?;
        let named = named(cx, &asked).await?;
        throttle::take(&cx.gateway, "share.organisation", &[&granted.may.org().to_string()], SHARES).await?;
        let salt = asked.passphrase.is_some().then(random::<SALT>).transpose()?;
        let (id, record) = grant(cx, &granted, &asked, &named, addresses, salt).await?;
        // Last: what is refused takes no place in a mailbox.
        let letter = letter(cx, &named).await?;
        let share = Share {
            id,
            org: granted.may.org(),
            vault: granted.vault.id,
            secret: granted.secret.id,
            version: granted.secret.version,
            path: granted.secret.at.path.clone(),
            by: granted.may.by(),
            kind: asked.recipient_type,
            to: named.to,
            email: named.email,
            record,
            salt: salt.map(Vec::from),
            max_access_count: asked.max_access_count,
            access_count: 0,
            created_at: cx.now(),
            expires_at: asked.expires_at,
            accepted_at: None,
            ended: false,
        };
        store(cx, &granted, &share, letter).await?;
        Ok(Reply::of(ShareResponse {
            id,
            share_url: format!("{}/share/{id}", cx.gateway.public_url()),
            recipient_type: share.kind,
            recipient_email: share.email,
            expires_at: share.expires_at,
            max_access_count: share.max_access_count,
        }))
    }
}

/// The terms; the addresses that it is good from.
fn check(cx: &Cx, asked: &CreateShareRequest) -> Result<Vec<IpNet>> {
    names_one_recipient(asked)?;
    if asked.permissions.as_ref().is_some_and(|given| given.iter().any(|p| p != "read")) {
        return Err(Error::invalid("permissions", "must be [\"read\"]: a share gives nothing else"));
    }
    if asked.max_access_count == Some(0) {
        return Err(Error::invalid("max_access_count", "must be at least 1; leave it out for no limit"));
    }
    if asked.expires_at <= cx.now() || asked.expires_at > cx.now().plus(LONGEST) {
        return Err(Error::invalid("expires_at", "must be in the future, and within a year"));
    }
    let length = asked.passphrase.as_ref().map(|passphrase| passphrase.expose().chars().count());
    if length.is_some_and(|length| !(8..=128).contains(&length)) {
        return Err(Error::invalid("passphrase", "must have 8 to 128 characters"));
    }
    let listed = asked.ip_allowlist.as_deref().unwrap_or_default();
    if listed.len() > MAX_ADDRESSES {
        return Err(Error::invalid("ip_allowlist", format!("must have at most {MAX_ADDRESSES} entries")));
    }
    let network = |text: &String| {
        ip_rule::network(text).map_err(|_| {
            Error::invalid(
                "ip_allowlist",
                "must hold addresses and networks such as 203.0.113.7 or 10.0.0.0/8",
            )
        })
    };
    listed.iter().map(network).collect()
}

/// Whoever names a recipient that this kind of share has not, means another kind.
fn names_one_recipient(asked: &CreateShareRequest) -> Result<()> {
    let kind = asked.recipient_type;
    let by_id = matches!(kind, RecipientType::User | RecipientType::Agent);
    if asked.recipient_id.is_some() && !by_id {
        let rule = format!("must be left out: recipient_type {} takes none", kind.as_str());
        return Err(Error::invalid("recipient_id", rule));
    }
    if asked.email.is_some() && kind != RecipientType::ExternalEmail {
        let rule = format!(
            "must be left out: recipient_type {} takes none; to share with a mail address, use external_email",
            kind.as_str()
        );
        return Err(Error::invalid("email", rule));
    }
    Ok(())
}

/// Whether the value may leave this way.
fn may_leave(cx: &Cx, granted: &GrantedSecret<ShareSecret>, asked: &CreateShareRequest) -> Result<()> {
    let secret = &granted.secret;
    readable(&secret.state, cx.now())?;
    if cx.caller()?.principal().intents && secret.kind.is_key() {
        return Err(Error::forbidden("An agent with intents_api_enabled may not share keys; a person must."));
    }
    if secret.kind.is_key() && asked.recipient_type == RecipientType::AnyoneWithLink {
        return Err(Error::forbidden("A key is never shared with whoever has a link; name its recipient."));
    }
    if !secret.readable {
        return Err(Error::forbidden(
            "This key is signing-only: it can sign transactions and never be read.",
        ));
    }
    Ok(())
}

/// Whom a share names.
struct Named {
    to: Option<PrincipalId>,
    email: Option<String>,
    recipient: Recipient,
}

impl Named {
    fn user(id: UserId) -> Self {
        Self { to: Some(PrincipalId::User(id)), email: None, recipient: Recipient::User(id) }
    }
}

/// A user's id is taken as it is: whether there is such a person in another organisation, nobody learns from the answer.
async fn named(cx: &Cx, asked: &CreateShareRequest) -> Result<Named> {
    let principal = cx.caller()?.principal();
    match asked.recipient_type {
        RecipientType::Creator => {
            let refused =
                || Error::invalid("recipient_type", "creator is for agents that a person registered");
            principal.created_by.map(Named::user).ok_or_else(refused)
        }
        RecipientType::User => id(asked).map(Named::user),
        RecipientType::Agent => {
            let (id, org) = (id::<AgentId>(asked)?, principal.org);
            let agent = PrincipalId::Agent(id);
            let known = cx.gateway.known.principal(cx.store(), agent, org).await?;
            known.filter(|known| known.principal.active).or_missing("agent")?;
            Ok(Named { to: Some(agent), email: None, recipient: Recipient::Agent(id) })
        }
        RecipientType::ExternalEmail => external(cx, asked).await,
        RecipientType::AnyoneWithLink => Ok(Named { to: None, email: None, recipient: Recipient::Anyone }),
    }
}

fn id<T: std::str::FromStr>(asked: &CreateShareRequest) -> Result<T> {
    let rule =
        || Error::invalid("recipient_id", "must be the recipient's UUID, or use external_email and an email");
    asked.recipient_id.as_deref().and_then(|text| text.parse().ok()).ok_or_else(rule)
}

async fn external(cx: &Cx, asked: &CreateShareRequest) -> Result<Named> {
    if let PrincipalId::Agent(_) = cx.caller()?.principal().id {
        return Err(Error::forbidden("Agents share with no mail address; a person must."));
    }
    let given = asked.email.as_deref().ok_or_else(|| Error::invalid("email", "is missing"))?;
    let email = email(given)?;
    let digest = addressed_to(&email).0;
    let digest = digest.try_into().map_err(|_| Error::internal("a SHA-256 that is none"))?;
    Ok(Named { to: None, email: Some(email), recipient: Recipient::Email(digest) })
}

/// To whom the recipient's mail goes, and by whom the secret is shared. A share with a user whose mailbox has no room comes
/// without a mail: a refusal would tell whose address it is.
async fn letter(cx: &Cx, named: &Named) -> Result<Option<(String, String)>> {
    let to = match (&named.email, named.to) {
        (Some(email), _) => {
            mailbox::take(&cx.gateway, Mails::OthersAskFor, email).await?;
            Some(email.clone())
        }
        (None, Some(PrincipalId::User(user))) => match users::facts(cx.store(), user).await? {
            Some(user) if mailbox::has_room(&cx.gateway, Mails::OthersAskFor, &user.email).await? => {
                Some(user.email)
            }
            _ => None,
        },
        _ => None,
    };
    let Some(to) = to else { return Ok(None) };
    let by = match cx.caller()?.principal().id {
        PrincipalId::User(id) => {
            users::facts(cx.store(), id).await?.map(|user| user.display_name.unwrap_or(user.email))
        }
        PrincipalId::Agent(id) => agents::facts(cx.store(), id).await?.map(|agent| agent.name),
    };
    Ok(Some((to, by.or_missing("sharer")?)))
}

async fn grant(
    cx: &Cx,
    granted: &GrantedSecret<ShareSecret>,
    asked: &CreateShareRequest,
    named: &Named,
    addresses: Vec<IpNet>,
    salt: Option<[u8; SALT]>,
) -> Result<(ShareId, Attested<ShareGrant>)> {
    let passphrase = match (&asked.passphrase, salt) {
        (Some(passphrase), Some(salt)) => Some(cx.gateway.hasher.stretch(passphrase, &salt).await?),
        _ => None,
    };
    let label = Label {
        org: granted.may.org(),
        vault: granted.vault.id,
        path: granted.secret.at.path.clone(),
        version: granted.secret.version,
        kind: granted.secret.kind,
    };
    let id = ShareId::unguessable();
    let request = sharing::Share {
        by: cx.for_signer()?,
        id,
        vault_key: granted.vault.key.clone(),
        label,
        recipient: named.recipient,
        passphrase,
        addresses,
        expires_at: asked.expires_at,
    };
    let record = cx.signer(async |signer, context| signer.share(context, request).await).await?;
    Ok((id, record))
}

async fn store(
    cx: &Cx,
    granted: &GrantedSecret<ShareSecret>,
    share: &Share,
    letter: Option<(String, String)>,
) -> Result<()> {
    let mut act = cx.begin().await?;
    shares::insert(&mut act, &granted.may, share).await?;
    if let Some((to, by)) = letter {
        mail::queue(&mut act, &to, &Letter::Shared { share: share.id, by }, cx.now()).await?;
    }
    act.note("path", share.path.as_str());
    act.note("version", share.version);
    act.note("vault_id", share.vault.to_string());
    act.note("recipient_type", share.kind.as_str());
    act.note("recipient_id", share.to.map(PrincipalId::uuid));
    act.note("recipient_email", share.email.clone());
    act.note("max_access_count", share.max_access_count);
    act.note("expires_at", share.expires_at.to_string());
    act.commit(share.kind.shown(share.id)).await
}
