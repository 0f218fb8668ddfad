//! Passkeys: listed, added, taken away. What they sign is checked in the signer alone.

use domain::access::{self, Permit};
use domain::{Error, Kind, OrMissing as _, Result, Time, UserId};
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use signer_protocol::passkey::{AddPasskey as Add, BeginPasskey, Passkey, RemovePasskey as Remove};
use signer_protocol::wire::Blob;
use store::{passkeys, users};

use crate::access::Own;
use crate::cx::Cx;
use crate::decode;
use crate::operation::{Operation, Reply, Route};
use crate::ops::OfPasskey;
use crate::outside::mail::{self, Letter};
use crate::passkey::{decoded, encoded};

/// ES256 (RFC 9053 §2.1): the one kind that the signer knows.
const ES256: i32 = -7;
/// How long a browser waits for its person, in milliseconds.
const PATIENCE: u32 = 300_000;

#[derive(Serialize, JsonSchema)]
pub struct PasskeyResponse {
    /// base64url
    id: String,
    name: String,
    created_at: Time,
}

impl PasskeyResponse {
    fn new(key: &Passkey) -> Self {
        Self { id: encoded(&key.id), name: key.name.clone(), created_at: key.added_at }
    }
}

#[derive(Serialize, JsonSchema)]
pub struct PasskeyListResponse {
    passkeys: Vec<PasskeyResponse>,
}

/// The caller's own passkeys.
pub struct ListPasskeys;

impl Operation for ListPasskeys {
    const ROUTE: Route =
        Route::new("listPasskeys", Method::GET, "/v1/auth/passkeys", 200, "Your own passkeys, oldest first.");
    type Path = ();
    type Params = ();
    type Output = PasskeyListResponse;
    type Access = Own<access::SeeFactor>;

    async fn run(
        cx: &Cx,
        may: Permit<access::SeeFactor, UserId>,
        (): (),
        (): (),
    ) -> Result<Reply<PasskeyListResponse>> {
        let keys = keys(cx, *may.on()).await?;
        Ok(Reply::of(PasskeyListResponse { passkeys: keys.iter().map(PasskeyResponse::new).collect() }))
    }
}

/// The options of `navigator.credentials.create`, in JSON (WebAuthn Level 3 §5.1.8).
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PasskeyChallengeResponse {
    rp: RelyingParty,
    user: Owner,
    /// base64url; good once, for ten minutes.
    challenge: String,
    pub_key_cred_params: [Algorithm; 1],
    /// Milliseconds.
    timeout: u32,
    exclude_credentials: Vec<Descriptor>,
    authenticator_selection: Selection,
    attestation: &'static str,
}

#[derive(Serialize, JsonSchema)]
struct RelyingParty {
    id: String,
    name: &'static str,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Owner {
    /// base64url
    id: String,
    name: String,
    display_name: String,
}

#[derive(Serialize, JsonSchema)]
struct Algorithm {
    r#type: &'static str,
    alg: i32,
}

#[derive(Serialize, JsonSchema)]
struct Descriptor {
    r#type: &'static str,
    id: String,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Selection {
    resident_key: &'static str,
    user_verification: &'static str,
}

const KIND: &str = "public-key";

/// A challenge for a new passkey of the caller's.
pub struct PasskeyChallenge;

impl Operation for PasskeyChallenge {
    const ROUTE: Route = Route::new(
        "passkeyChallenge",
        Method::POST,
        "/v1/auth/passkeys/challenge",
        200,
        "Begins a new passkey: the options for navigator.credentials.create. It counts once its answer came to POST \
         /v1/auth/passkeys, within ten minutes.",
    )
    .audited("passkey.challenge", "user");
    type Path = ();
    type Params = ();
    type Output = PasskeyChallengeResponse;
    type Access = Own<access::ChangeFactor>;

    async fn run(
        cx: &Cx,
        may: Permit<access::ChangeFactor, UserId>,
        (): (),
        (): (),
    ) -> Result<Reply<PasskeyChallengeResponse>> {
        let user = users::facts(cx.store(), *may.on()).await?.or_missing("user")?;
        let known = keys(cx, *may.on()).await?;
        let request = BeginPasskey { by: cx.for_signer()? };
        let pending = cx.signer(async |signer, context| signer.begin_passkey(context, request).await).await?;
        let begun = pending.peek().map_err(Error::internal)?;
        let mut act = cx.begin().await?;
        passkeys::keep_pending(&mut act, &may, &pending).await?;
        act.commit(may.on()).await?;
        let display_name = user.display_name.unwrap_or_else(|| user.email.clone());
        Ok(Reply::of(PasskeyChallengeResponse {
            rp: RelyingParty { id: begun.rp_id, name: "Talon" },
            user: Owner { id: encoded(&Blob(may.on().as_bytes().to_vec())), name: user.email, display_name },
            challenge: encoded(&begun.challenge),
            pub_key_cred_params: [Algorithm { r#type: KIND, alg: ES256 }],
            timeout: PATIENCE,
            exclude_credentials: known
                .iter()
                .map(|key| Descriptor { r#type: KIND, id: encoded(&key.id) })
                .collect(),
            authenticator_selection: Selection { resident_key: "preferred", user_verification: "required" },
            attestation: "none",
        }))
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddPasskeyRequest {
    /// 1 to 64 characters, to tell yours apart.
    name: String,
    /// The credential's `id`, base64url.
    id: String,
    /// The response's `clientDataJSON`, base64url.
    #[serde(rename = "clientDataJSON")]
    client_data: String,
    /// The response's `attestationObject`, base64url.
    attestation_object: String,
}

/// Adds a passkey.
pub struct AddPasskey;

impl Operation for AddPasskey {
    const ROUTE: Route = Route::new(
        "addPasskey",
        Method::POST,
        "/v1/auth/passkeys",
        201,
        "Adds a passkey that navigator.credentials.create made over the challenge. Once you have one, another must be \
         confirmed by it. From then on approving transactions, loosening what holds agents, and making agents that submit \
         transactions need one.",
    )
    .audited("passkey.add", "user");
    type Path = ();
    type Params = decode::From<AddPasskeyRequest>;
    type Output = PasskeyResponse;
    type Access = Own<access::ChangeFactor>;

    async fn run(
        cx: &Cx,
        may: Permit<access::ChangeFactor, UserId>,
        (): (),
        decode::From(given): Self::Params,
    ) -> Result<Reply<PasskeyResponse>> {
        let field = |name, text: &str| decoded(text).ok_or_else(|| Error::invalid(name, "must be base64url"));
        let (id, client_data) = (field("id", &given.id)?, field("clientDataJSON", &given.client_data)?);
        let attestation = field("attestationObject", &given.attestation_object)?;
        let user = users::facts(cx.store(), *may.on()).await?.or_missing("user")?;
        let pending = passkeys::facts(cx.store(), *may.on()).await?.pending.ok_or_else(|| {
            Error::new(Kind::Invalid, "No passkey was begun; begin with POST /v1/auth/passkeys/challenge.")
        })?;
        let by = cx.for_signer()?;
        let (from, name) = (by.record.clone(), given.name);
        let request = Add { by, pending, name, client_data, attestation, passkey: cx.passkey().await? };
        let changed = cx.signer(async |signer, context| signer.add_passkey(context, request).await).await?;
        let all = changed.passkeys.as_ref().map(|all| all.peek()).transpose().map_err(Error::internal)?;
        let added = all.as_ref().and_then(|all| all.keys.last()).filter(|key| key.id == id);
        let added = added.ok_or_else(|| Error::invalid("id", "is not the one in attestationObject"))?;
        let mut act = cx.begin().await?;
        passkeys::change(&mut act, &may, &from, &changed).await?;
        let letter = Letter::Passkey { name: added.name.clone(), added: true };
        mail::queue(&mut act, &user.email, &letter, cx.now()).await?;
        act.note("passkey", encoded(&added.id));
        act.note("name", added.name.as_str());
        act.commit(may.on()).await?;
        cx.gateway.confirm(&changed.record).await?;
        Ok(Reply::of(PasskeyResponse::new(added)))
    }
}

/// Takes a passkey away.
pub struct RemovePasskey;

impl Operation for RemovePasskey {
    const ROUTE: Route = Route::new(
        "removePasskey",
        Method::DELETE,
        "/v1/auth/passkeys/{passkey_id}",
        204,
        "Takes one of your passkeys away, confirmed by any of them. Lost all of them? An operator forgets them at the \
         signer.",
    )
    .audited("passkey.remove", "user");
    type Path = OfPasskey;
    type Params = ();
    type Output = ();
    type Access = Own<access::ChangeFactor>;

    async fn run(
        cx: &Cx,
        may: Permit<access::ChangeFactor, UserId>,
        at: OfPasskey,
        (): (),
    ) -> Result<Reply<()>> {
        let id = decoded(&at.passkey_id).ok_or_else(|| Error::missing("passkey"))?;
        let known = keys(cx, *may.on()).await?;
        let removed = known.iter().find(|key| key.id == id).or_missing("passkey")?;
        let user = users::facts(cx.store(), *may.on()).await?.or_missing("user")?;
        let by = cx.for_signer()?;
        let from = by.record.clone();
        let request = Remove { by, id, passkey: cx.passkey().await? };
        let changed =
            cx.signer(async |signer, context| signer.remove_passkey(context, request).await).await?;
        let mut act = cx.begin().await?;
        passkeys::change(&mut act, &may, &from, &changed).await?;
        let letter = Letter::Passkey { name: removed.name.clone(), added: false };
        mail::queue(&mut act, &user.email, &letter, cx.now()).await?;
        act.note("passkey", at.passkey_id);
        act.note("name", removed.name.as_str());
        act.commit(may.on()).await?;
        cx.gateway.confirm(&changed.record).await?;
        Ok(Reply::of(()))
    }
}

async fn keys(cx: &Cx, user: UserId) -> Result<Vec<Passkey>> {
    let stored = passkeys::facts(cx.store(), user).await?.passkeys;
    let all = stored.map(|all| all.peek()).transpose().map_err(Error::internal)?;
    Ok(all.map_or_else(Vec::new, |all| all.keys))
}
