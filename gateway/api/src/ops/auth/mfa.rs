//! The second factor: set up, shown at login, taken away. Seeds and codes are checked in the signer alone.

use domain::access::{self, Permit};
use domain::{Error, Kind, OrMissing as _, PrincipalId, Result, Revealed, SecretBytes, SecretText, UserId};
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use signer_protocol::mfa::{self, Mfa, MfaProof};
use signer_protocol::record::Principal;
use signer_protocol::token::IssuedToken;
use signer_protocol::wire::Secret;
use signer_protocol::{Attested, Refusal};
use store::second_factors;
use store::users::{self, User};

use super::{MAX_PASSWORD, TokenResponse, stretched};
use crate::access::{Own, Public};
use crate::cx::Cx;
use crate::operation::{Operation, Reply, Route};
use crate::ops::shares;
use crate::outside::mail::{self, Letter};
use crate::throttle::{self, Target};
use crate::{authenticate, decode, gate, refusal};

const OFF: &str = "The second factor is off; there is nothing to do.";
const WRONG: &str =
    "The code is wrong or was used, or the login has expired. Wait for the next code, or log in again.";
/// What authenticator apps show beside the code.
const ISSUER: &str = "Talon";
/// Nobody's code is longer.
const MAX_CODE: usize = 64;

#[derive(Serialize, JsonSchema)]
pub struct MfaStatusResponse {
    enabled: bool,
}

/// Whether the caller's second factor is on.
pub struct MfaStatus;

impl Operation for MfaStatus {
    const ROUTE: Route = Route::new(
        "mfaStatus",
        Method::GET,
        "/v1/auth/mfa/status",
        200,
        "Whether logging in takes a code from your authenticator app.",
    );
    type Path = ();
    type Params = ();
    type Output = MfaStatusResponse;
    type Access = Own<access::SeeFactor>;

    async fn run(
        cx: &Cx,
        _: Permit<access::SeeFactor, UserId>,
        (): (),
        (): (),
    ) -> Result<Reply<MfaStatusResponse>> {
        Ok(Reply::of(MfaStatusResponse { enabled: cx.caller()?.principal().mfa.is_some() }))
    }
}

#[derive(Serialize, JsonSchema)]
pub struct MfaSetupResponse {
    /// For a QR code (Key URI format): what authenticator apps scan.
    otpauth_uri: Revealed,
    /// The same secret in base32, to type in. Shown once.
    secret: Revealed,
}

/// A new seed for the caller.
pub struct SetUpMfa;

impl Operation for SetUpMfa {
    const ROUTE: Route = Route::new(
        "mfaSetup",
        Method::POST,
        "/v1/auth/mfa/setup",
        200,
        "Makes a secret for your authenticator app. It counts once its first code came to verify-setup, within ten minutes.",
    )
    .audited("mfa.setup", "user");
    type Path = ();
    type Params = ();
    type Output = MfaSetupResponse;
    type Access = Own<access::ChangeFactor>;

    async fn run(
        cx: &Cx,
        may: Permit<access::ChangeFactor, UserId>,
        (): (),
        (): (),
    ) -> Result<Reply<MfaSetupResponse>> {
        let user = users::facts(cx.store(), *may.on()).await?.or_missing("user")?;
        let request = mfa::SetUpMfa { by: cx.for_signer()? };
        let new = cx.signer(async |signer, context| signer.set_up_mfa(context, request).await).await?;
        let shown = Shown::of(new.seed.expose(), &user.email)?;
        let mut act = cx.begin().await?;
        second_factors::keep_pending(&mut act, &may, &new.pending).await?;
        act.commit(may.on()).await?;
        Ok(Reply::of(MfaSetupResponse {
            otpauth_uri: Revealed::new(&shown.uri),
            secret: Revealed::new(&shown.base32),
        }))
    }
}

#[derive(Deserialize, JsonSchema)]
pub struct MfaVerifySetupRequest {
    /// The six digits that the app shows.
    code: SecretText,
}

#[derive(Serialize, JsonSchema)]
pub struct MfaVerifySetupResponse {
    /// Eight, each good once in place of a code. Shown once: keep them where the phone is not.
    recovery_codes: Vec<Revealed>,
}

/// Switches the second factor on.
pub struct VerifyMfaSetup;

impl Operation for VerifyMfaSetup {
    const ROUTE: Route = Route::new(
        "mfaVerifySetup",
        Method::POST,
        "/v1/auth/mfa/verify-setup",
        200,
        "Switches the second factor on with a code of the new secret, and gives out the recovery codes, once.",
    )
    .audited("mfa.enable", "user");
    type Path = ();
    type Params = decode::From<MfaVerifySetupRequest>;
    type Output = MfaVerifySetupResponse;
    type Access = Own<access::ChangeFactor>;

    async fn run(
        cx: &Cx,
        may: Permit<access::ChangeFactor, UserId>,
        (): (),
        decode::From(given): Self::Params,
    ) -> Result<Reply<MfaVerifySetupResponse>> {
        let code = code(&given.code)?;
        let user = users::facts(cx.store(), *may.on()).await?.or_missing("user")?;
        let found = second_factors::facts(cx.store(), *may.on()).await?;
        let pending = found.pending.ok_or_else(|| {
            Error::new(Kind::Invalid, "No set-up is under way; begin with POST /v1/auth/mfa/setup.")
        })?;
        let by = cx.for_signer()?;
        let from = by.record.clone();
        let request = mfa::EnableMfa { by, pending, code, passkey: cx.passkey().await? };
        let enabled = cx.signer(async |signer, context| signer.enable_mfa(context, request).await).await;
        let enabled = enabled.map_err(wrong_is_invalid)?;
        let mut act = cx.begin().await?;
        second_factors::enable(&mut act, &may, &from, &enabled.record, &enabled.mfa).await?;
        mail::queue(&mut act, &user.email, &Letter::SecondFactor { on: true }, cx.now()).await?;
        act.commit(may.on()).await?;
        cx.gateway.confirm(&enabled.record).await?;
        let codes = enabled.recovery_codes.into_iter().map(revealed).collect::<Result<_>>()?;
        Ok(Reply::of(MfaVerifySetupResponse { recovery_codes: codes }))
    }
}

#[derive(Deserialize, JsonSchema)]
pub struct MfaVerifyRequest {
    /// From the log-in.
    mfa_token: SecretText,
    /// The six digits that the app shows, or a recovery code.
    code: SecretText,
}

/// The second half of a log-in.
pub struct VerifyMfa;

impl Operation for VerifyMfa {
    const ROUTE: Route = Route::new(
        "mfaVerify",
        Method::POST,
        "/v1/auth/mfa/verify",
        200,
        "Ends a log-in that asked for a code. The mfa_token and the code are good once; five wrong codes stop it for a \
         while.",
    )
    .audited("auth.success", "user");
    type Path = ();
    type Params = decode::From<MfaVerifyRequest>;
    type Output = TokenResponse;
    type Access = Public;

    async fn run(cx: &Cx, (): (), (): (), decode::From(given): Self::Params) -> Result<Reply<TokenResponse>> {
        let code = code(&given.code)?;
        let wrong = |why: Error| Error::unauthenticated(WRONG).because(why);
        let claims = authenticate::first_half(&cx.gateway, &given.mfa_token).await.map_err(wrong)?;
        let PrincipalId::User(user) = claims.sub else { return Err(Error::unauthenticated(WRONG)) };
        let person = users::facts(cx.store(), user).await?.ok_or_else(|| Error::unauthenticated(WRONG))?;
        let factor = second_factors::facts(cx.store(), user).await?.factor;
        let mfa = factor.ok_or_else(|| Error::unauthenticated(WRONG).because("no second factor"))?;
        let sent = (person.record.clone(), mfa);
        let newest = || async {
            let person = users::facts(cx.store(), user).await?;
            let factor = second_factors::facts(cx.store(), user).await?.factor;
            Ok(person.zip(factor).map(|(person, mfa)| (person.record, mfa)))
        };
        let verify = |(record, mfa)| verify(cx, &given.mfa_token, record, mfa, &code);
        match refusal::with_newest(sent, verify, newest).await?.map_err(refusal::error) {
            Ok(issued) => {
                gate::log_in(cx, claims.sub, person.org).await?;
                let mut act = cx.begin().await?;
                act.by(claims.sub, person.org);
                shares::claim(&mut act, &person, cx.now()).await?;
                act.note("method", "mfa");
                act.commit(user).await?;
                Ok(Reply::of(TokenResponse::new(&issued)?))
            }
            Err(error) if matches!(error.kind(), Kind::Unauthenticated | Kind::TooManyRequests { .. }) => {
                cx.auth_failure(claims.sub, person.org, "mfa");
                Err(if error.kind() == Kind::Unauthenticated { wrong(error) } else { error })
            }
            Err(error) => Err(error),
        }
    }
}

async fn verify(
    cx: &Cx,
    token: &SecretText,
    record: Attested<Principal>,
    mfa: Attested<Mfa>,
    code: &Secret,
) -> Result<IssuedToken, Refusal> {
    let request = mfa::VerifyMfa { token: Secret::from(token), record, mfa, code: code.clone() };
    cx.gateway.signer.call(async |signer, context| signer.verify_mfa(context, request).await).await
}

#[derive(Deserialize, JsonSchema)]
pub struct MfaDisableRequest {
    /// The six digits that the app shows, or a recovery code.
    #[serde(default)]
    code: Option<SecretText>,
    /// In place of a code.
    #[serde(default)]
    password: Option<SecretText>,
}

/// Switches the second factor off.
pub struct DisableMfa;

impl Operation for DisableMfa {
    const ROUTE: Route = Route::new(
        "mfaDisable",
        Method::DELETE,
        "/v1/auth/mfa",
        204,
        "Switches the second factor off, with a code, a recovery code, or your password.",
    )
    .audited("mfa.disable", "user");
    type Path = ();
    type Params = decode::From<MfaDisableRequest>;
    type Output = ();
    type Access = Own<access::ChangeFactor>;

    async fn run(
        cx: &Cx,
        may: Permit<access::ChangeFactor, UserId>,
        (): (),
        decode::From(given): Self::Params,
    ) -> Result<Reply<()>> {
        let user = users::facts(cx.store(), *may.on()).await?.or_missing("user")?;
        let factor = second_factors::facts(cx.store(), *may.on()).await?.factor;
        let mfa = factor.ok_or_else(|| Error::new(Kind::Invalid, OFF))?;
        let from = cx.for_signer()?.record;
        let record = match (given.code, given.password) {
            (Some(shown), None) => off(cx, mfa, MfaProof::Code(code(&shown)?)).await,
            (None, Some(password)) => off_by_password(cx, &user, mfa, &password).await,
            _ => return Err(Error::new(Kind::Invalid, "Send either code or password.")),
        };
        if record.as_ref().is_err_and(|error| error.kind() == Kind::Unauthenticated) {
            cx.auth_failure(may.by(), may.org(), "mfa");
        }
        let record = record.map_err(wrong_is_invalid)?;
        let mut act = cx.begin().await?;
        second_factors::disable(&mut act, &may, &from, &record).await?;
        mail::queue(&mut act, &user.email, &Letter::SecondFactor { on: false }, cx.now()).await?;
        act.commit(may.on()).await?;
        cx.gateway.confirm(&record).await?;
        Ok(Reply::of(()))
    }
}

/// The record without a second factor.
async fn off(cx: &Cx, mfa: Attested<Mfa>, proof: MfaProof) -> Result<Attested<Principal>> {
    let request = mfa::DisableMfa { by: cx.for_signer()?, mfa, proof };
    cx.signer(async |signer, context| signer.disable_mfa(context, request).await).await
}

/// A guess at the password, as a login is: one that is refused costs no hash.
async fn off_by_password(
    cx: &Cx,
    user: &User,
    mfa: Attested<Mfa>,
    password: &SecretText,
) -> Result<Attested<Principal>> {
    if password.expose().len() > MAX_PASSWORD {
        return Err(Error::unauthenticated("The password is wrong.").because("too long to be one"));
    }
    let guess = async {
        let proof = stretched(&cx.gateway, password, &user.salt).await?;
        off(cx, mfa, MfaProof::Password(proof)).await
    };
    throttle::guard(&cx.gateway, Target::Account(&user.email), cx.address, guess).await
}

fn code(given: &SecretText) -> Result<Secret> {
    match given.expose().trim() {
        "" => Err(Error::invalid("code", "must be the code that the app shows, or a recovery code")),
        text if text.len() > MAX_CODE => Err(Error::invalid("code", "is too long to be one")),
        text => Ok(Secret::from(text.as_bytes().to_vec())),
    }
}

/// The caller is who they are; what they have shown is wrong.
fn wrong_is_invalid(error: Error) -> Error {
    if error.kind() == Kind::Unauthenticated { Error::new(Kind::Invalid, error.detail()) } else { error }
}

fn revealed(code: Secret) -> Result<Revealed> {
    let code = SecretBytes::from(code);
    let text = std::str::from_utf8(code.expose()).map_err(|_| Error::internal("a code that is not text"))?;
    Ok(Revealed::new(&SecretText::from(text.to_owned())))
}

/// A seed as authenticator apps take it.
struct Shown {
    /// In the Key URI format.
    uri: SecretText,
    /// RFC 4648 §6, without padding.
    base32: SecretText,
}

impl Shown {
    fn of(seed: &[u8], email: &str) -> Result<Self> {
        let app =
            totp_rs::Builder::new().with_secret(seed).with_account_name(email).with_issuer(Some(ISSUER));
        let app = app.build().map_err(Error::internal)?;
        let uri = app.to_url().map_err(Error::internal)?;
        Ok(Self { uri: SecretText::from(uri), base32: SecretText::from(app.secret().to_base32()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apps_are_told_whose_it_is() {
        let shown = Shown::of(b"12345678901234567890", "a+b@example.org").unwrap();
        assert_eq!(shown.base32.expose(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert_eq!(
            shown.uri.expose(),
            "otpauth://totp/Talon:a%2Bb%40example.org?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Talon"
        );
    }
}
