//! Logging in on a device without a keyboard (RFC 8628): it shows a code, a person answers elsewhere.

use std::time::Duration;

use domain::access::{self, Permit};
use domain::limit::Window;
use domain::{
    DeviceGrantId, Error, Kind, OrMissing as _, OrgId, PrincipalId, Result, Revealed, SecretText, UserId,
    secret,
};
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use signer_protocol::device::{self, DeviceGrant};
use signer_protocol::record::Principal;
use signer_protocol::token::IssuedToken;
use signer_protocol::wire::{Blob, Secret};
use signer_protocol::{Attested, Refusal};
use store::devices::{self, Device, NewDevice};
use store::users;

use super::text;
use crate::access::{Own, Public};
use crate::cx::Cx;
use crate::decode;
use crate::known::digest;
use crate::operation::{Operation, Reply, Route};
use crate::ops::{OfDevice, name};
use crate::password::random;
use crate::{gate, refusal, throttle};

/// How long both codes last.
const LIFETIME: Duration = Duration::from_secs(600);
/// Seconds between polls.
const INTERVAL: i64 = 5;
const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// Of five bits each, so a code has 40.
const LETTERS: usize = 8;
/// New codes for one address. With so few alive, and so few looks at them, 40 bits are not guessed.
const CODES: Window = Window::new(30, LIFETIME);
/// Looks at codes from one address, and answers of one person.
const LOOKS: Window = Window::new(30, LIFETIME);
/// What has ended is kept so long: nobody wonders where it went.
const KEPT: Duration = Duration::from_secs(60 * 60);
const UNBOUNDED: &str = "must be left out: a device's token may all that whoever approves may";
const ANSWERED: &str = "The device was answered already, or its code has expired. Have it show a new one.";

#[derive(Deserialize, JsonSchema)]
pub struct DeviceCodeRequest {
    /// What the device calls itself: 1 to 200 characters. Whoever approves sees it, and nobody has checked it.
    client_id: String,
    /// As RFC 8628 names it; empty or left out: the token may all that whoever approves may, and no less.
    #[serde(default)]
    scope: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub struct DeviceCodeResponse {
    /// The device keeps it to itself.
    device_code: Revealed,
    /// A person types it in, with the dash or without.
    user_code: String,
    /// Where a person goes to do that.
    verification_uri: String,
    /// Seconds.
    expires_in: u64,
    /// Seconds between polls.
    interval: i64,
}

/// Two codes for a device.
pub struct DeviceCode;

impl Operation for DeviceCode {
    const ROUTE: Route = Route::new(
        "deviceCode",
        Method::POST,
        "/v1/auth/device/code",
        200,
        "Begins a device's log-in (RFC 8628): a code for the device to poll with, one for a person to type in.",
    );
    type Path = ();
    type Params = decode::From<DeviceCodeRequest>;
    type Output = DeviceCodeResponse;
    type Access = Public;

    async fn run(
        cx: &Cx,
        (): (),
        (): (),
        decode::From(new): Self::Params,
    ) -> Result<Reply<DeviceCodeResponse>> {
        let client_id = name("client_id", &new.client_id)?;
        if new.scope.is_some_and(|scope| !scope.trim().is_empty()) {
            return Err(Error::invalid("scope", UNBOUNDED));
        }
        throttle::take(&cx.gateway, "device.code", &[&throttle::place(cx.address)], CODES).await?;
        let device_code = secret::api_key("device_", &random::<32>()?);
        let user_code = user_code()?;
        let device = NewDevice {
            id: DeviceGrantId::new(),
            code_hash: &digest(&device_code),
            user_code: &user_code,
            client_id: &client_id,
            interval: INTERVAL,
            created_at: cx.now(),
            expires_at: cx.now().plus(LIFETIME),
        };
        let mut tx = cx.store().begin().await?;
        devices::forget(&mut tx, cx.now().minus(KEPT)).await?;
        if !devices::insert(&mut tx, &device).await? {
            return Err(Error::conflict("The code that was drawn is taken; ask again."));
        }
        tx.commit().await?;
        Ok(Reply::of(DeviceCodeResponse {
            device_code: Revealed::new(&device_code),
            user_code: dashed(&user_code),
            verification_uri: format!("{}/device", cx.gateway.public_url()),
            expires_in: LIFETIME.as_secs(),
            interval: INTERVAL,
        }))
    }
}

#[derive(Deserialize, JsonSchema)]
pub struct DeviceTokenRequest {
    device_code: SecretText,
    /// `urn:ietf:params:oauth:grant-type:device_code`
    grant_type: String,
}

/// A token, or why there is none yet.
#[derive(Default, Serialize, JsonSchema)]
pub struct DeviceTokenResponse {
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<Revealed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<i64>,
    /// `authorization_pending`, `slow_down` (wait five seconds longer from now on), `access_denied` or `expired_token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    org_id: Option<OrgId>,
}

/// A device asks for its token.
pub struct DeviceToken;

impl Operation for DeviceToken {
    const ROUTE: Route = Route::new(
        "deviceToken",
        Method::POST,
        "/v1/auth/device/token",
        200,
        "A device asks whether it was let in. Its token lasts a day and is given out once.",
    )
    .audited("auth.success", "user");
    type Path = ();
    type Params = decode::From<DeviceTokenRequest>;
    type Output = DeviceTokenResponse;
    type Access = Public;

    async fn run(
        cx: &Cx,
        (): (),
        (): (),
        decode::From(given): Self::Params,
    ) -> Result<Reply<DeviceTokenResponse>> {
        if given.grant_type != GRANT_TYPE {
            return Err(Error::invalid("grant_type", format!("must be {GRANT_TYPE}")));
        }
        let mut tx = cx.store().begin().await?;
        let device = devices::poll(&mut tx, &digest(&given.device_code), cx.now()).await?;
        tx.commit().await?;
        // Of a code that there never was, no more is told than of one that has ended.
        let Some(device) = device else { return no("expired_token") };
        match device.status.as_str() {
            "pending" if device.hurried => no("slow_down"),
            "pending" => no("authorization_pending"),
            "denied" => no("access_denied"),
            "approved" => let_in(cx, device, &given.device_code).await,
            _ => no("expired_token"),
        }
    }
}

fn no(error: &'static str) -> Result<Reply<DeviceTokenResponse>> {
    Ok(Reply::of(DeviceTokenResponse { error: Some(error), ..Default::default() }))
}

async fn ask(
    cx: &Cx,
    record: Attested<Principal>,
    grant: &Attested<DeviceGrant>,
    code: &SecretText,
) -> Result<IssuedToken, Refusal> {
    let request = device::IssueDeviceToken { record, grant: grant.clone(), code: Secret::from(code) };
    cx.gateway.signer.call(async |signer, context| signer.issue_device_token(context, request).await).await
}

/// The signer gives a grant's token out once, however many ask at once.
async fn let_in(cx: &Cx, device: Device, code: &SecretText) -> Result<Reply<DeviceTokenResponse>> {
    let (Some(user), Some(grant)) = (device.user, device.permission) else {
        return Err(Error::internal(format!("device {} is approved by nobody", device.id)));
    };
    let Some(user) = users::facts(cx.store(), user).await? else { return no("access_denied") };
    let id = PrincipalId::User(user.id);
    gate::pass(&cx.gateway, id, user.org, cx.address).await?;
    let newest = || async { Ok(users::facts(cx.store(), user.id).await?.map(|user| user.record)) };
    let ask = |record| ask(cx, record, &grant, code);
    let issued = refusal::with_newest(user.record.clone(), ask, newest).await?.map_err(refusal::error);
    let issued = match issued {
        Ok(issued) => issued,
        // Given out already, or the person's tokens have ended since they approved.
        Err(error) if matches!(error.kind(), Kind::Conflict | Kind::Unauthenticated) => {
            return no("expired_token");
        }
        Err(error) => return Err(error),
    };
    let mut act = cx.begin().await?;
    act.by(id, user.org);
    act.note("method", "device");
    act.note("client_id", device.client_id);
    devices::issue(&mut act, device.id).await?;
    act.commit(user.id).await?;
    Ok(Reply::of(DeviceTokenResponse {
        access_token: Some(Revealed::new(&text(&issued)?)),
        token_type: Some("Bearer"),
        expires_in: Some(issued.claims.exp - issued.claims.iat),
        error: None,
        email: Some(user.email),
        user_id: Some(user.id),
        org_id: Some(user.org),
    }))
}

#[derive(Serialize, JsonSchema)]
pub struct DeviceStatusResponse {
    user_code: String,
    /// What the device calls itself; nobody has checked it.
    client_id: String,
    /// `pending`, `approved` or `denied`.
    status: String,
    /// Seconds.
    expires_in: i64,
}

/// What a user code stands for.
pub struct DeviceStatus;

impl Operation for DeviceStatus {
    const ROUTE: Route = Route::new(
        "deviceCodeStatus",
        Method::GET,
        "/v1/auth/device/code/{user_code}",
        200,
        "What a device's code stands for, before a person answers. Few looks are allowed, so that codes can't be guessed.",
    );
    type Path = OfDevice;
    type Params = ();
    type Output = DeviceStatusResponse;
    type Access = Public;

    async fn run(cx: &Cx, (): (), at: OfDevice, (): ()) -> Result<Reply<DeviceStatusResponse>> {
        throttle::take(&cx.gateway, "device.status", &[&throttle::place(cx.address)], LOOKS).await?;
        let device = find(cx, &at.user_code).await?;
        Ok(Reply::of(DeviceStatusResponse {
            user_code: dashed(&device.user_code),
            client_id: device.client_id,
            status: if device.status == "issued" { "approved".to_owned() } else { device.status },
            expires_in: device.expires_at.seconds() - cx.now().seconds(),
        }))
    }
}

#[derive(Deserialize, JsonSchema)]
pub struct DeviceApproveRequest {
    /// As the device shows it, with the dash or without.
    user_code: String,
}

/// What became of a device.
#[derive(Serialize, JsonSchema)]
pub struct DeviceAnswerResponse {
    /// `approved` or `denied`.
    status: &'static str,
    client_id: String,
}

/// Lets a device in.
pub struct ApproveDevice;

impl Operation for ApproveDevice {
    const ROUTE: Route = Route::new(
        "deviceApprove",
        Method::POST,
        "/v1/auth/device/approve",
        200,
        "Lets a device in as you, for a day. Approve only what you have begun yourself, on a device in front of you.",
    )
    .audited("device.approve", "device");
    type Path = ();
    type Params = decode::From<DeviceApproveRequest>;
    type Output = DeviceAnswerResponse;
    type Access = Own<access::AnswerDevice>;

    async fn run(
        cx: &Cx,
        may: Permit<access::AnswerDevice, UserId>,
        (): (),
        decode::From(given): Self::Params,
    ) -> Result<Reply<DeviceAnswerResponse>> {
        let device = waiting(cx, &may, &given.user_code).await?;
        let request = device::ApproveDevice {
            by: cx.for_signer()?,
            id: device.id,
            code: Blob(device.code_hash),
            expires_at: device.expires_at,
        };
        let grant = cx.signer(async |signer, context| signer.approve_device(context, request).await).await?;
        let mut act = cx.begin().await?;
        if !devices::approve(&mut act, &may, device.id, &grant, cx.now()).await? {
            return Err(Error::conflict(ANSWERED));
        }
        act.note("client_id", device.client_id.as_str());
        act.commit(device.id).await?;
        Ok(Reply::of(DeviceAnswerResponse { status: "approved", client_id: device.client_id }))
    }
}

/// Keeps a device out.
pub struct DenyDevice;

impl Operation for DenyDevice {
    const ROUTE: Route = Route::new(
        "deviceDeny",
        Method::POST,
        "/v1/auth/device/deny",
        200,
        "Keeps a device out that shows this code.",
    )
    .audited("device.deny", "device");
    type Path = ();
    type Params = decode::From<DeviceApproveRequest>;
    type Output = DeviceAnswerResponse;
    type Access = Own<access::AnswerDevice>;

    async fn run(
        cx: &Cx,
        may: Permit<access::AnswerDevice, UserId>,
        (): (),
        decode::From(given): Self::Params,
    ) -> Result<Reply<DeviceAnswerResponse>> {
        let device = waiting(cx, &may, &given.user_code).await?;
        let mut act = cx.begin().await?;
        if !devices::deny(&mut act, &may, device.id, cx.now()).await? {
            return Err(Error::conflict(ANSWERED));
        }
        act.note("client_id", device.client_id.as_str());
        act.commit(device.id).await?;
        Ok(Reply::of(DeviceAnswerResponse { status: "denied", client_id: device.client_id }))
    }
}

/// The device that waits for an answer under this code. So many tries a person has.
async fn waiting(cx: &Cx, may: &Permit<access::AnswerDevice, UserId>, user_code: &str) -> Result<Device> {
    throttle::take(&cx.gateway, "device.answer", &[&may.on().to_string()], LOOKS).await?;
    let device = find(cx, user_code).await?;
    if device.status == "pending" { Ok(device) } else { Err(Error::conflict(ANSWERED)) }
}

async fn find(cx: &Cx, user_code: &str) -> Result<Device> {
    let typed: String = user_code.chars().filter(|c| !matches!(c, ' ' | '-')).take(LETTERS + 1).collect();
    devices::facts(cx.store(), &typed.to_uppercase(), cx.now()).await?.or_missing("device code")
}

fn user_code() -> Result<String> {
    Ok(secret::letters(random::<LETTERS>()?).map(char::from).iter().collect())
}

/// `ABCD-EFGH`.
fn dashed(code: &str) -> String {
    let (left, right) = code.split_at_checked(LETTERS / 2).unwrap_or((code, ""));
    format!("{left}-{right}")
}
