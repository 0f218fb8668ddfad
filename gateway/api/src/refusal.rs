//! The signer's refusals, as the API's errors.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{Error, Kind};
use signer_protocol::{Reason, Refusal};

/// What a commit takes, and more.
const MOMENT: Duration = Duration::from_millis(300);

pub fn error(refusal: Refusal) -> Error {
    match refusal.reason.rule() {
        Some(rule) => plain(refusal).refused_for(rule),
        None => plain(refusal),
    }
}

fn plain(refusal: Refusal) -> Error {
    let Refusal { reason, detail } = refusal;
    match reason {
        Reason::Invalid => Error::new(Kind::Invalid, detail),
        Reason::Unauthenticated => Error::unauthenticated(detail),
        Reason::Forbidden => Error::forbidden(detail),
        // As WebAuthn writes it.
        Reason::PasskeyRequired(challenge) => Error::forbidden(detail)
            .with("type", "passkey_required")
            .with("challenge", URL_SAFE_NO_PAD.encode(challenge)),
        Reason::ApprovalRequired => Error::conflict(detail),
        // Without leave to create contracts, there is no transaction without `to`.
        Reason::Guardrail(name) if name == "tx_contract_creation" => {
            Error::invalid("to", detail).with("guardrail", name)
        }
        Reason::Guardrail(name) => Error::forbidden(detail).with("guardrail", name),
        Reason::Tampered | Reason::RolledBack => {
            tracing::error!(?reason, detail, "the signer refused what the database holds");
            Error::forbidden(
                "The signer refused what the database holds for this request; an operator must look into it.",
            )
            .because(detail)
        }
        Reason::Destroyed => Error::gone(detail),
        Reason::Conflict | Reason::NonceUsed => Error::conflict(detail),
        Reason::Locked(retry_after) => Error::new(Kind::TooManyRequests { retry_after }, detail),
        Reason::Unavailable => Error::unavailable(detail),
    }
}

/// As [`error`], where two requests may change the same record at once: the later one finds it changed.
pub fn of_change(refusal: Refusal) -> Error {
    match refusal.reason {
        Reason::RolledBack => {
            tracing::warn!(
                detail = refusal.detail,
                "a record was changed by another request, or rolled back"
            );
            Error::conflict("It was changed just now, by another request; try again.")
        }
        _ => error(refusal),
    }
}

/// What is to be made of an answer that may be to something out of date.
pub enum Looked<T, R> {
    Answered(Result<T, Refusal>),
    /// Somebody has just changed it, and nobody has tampered with anything: ask with this.
    Changed(R),
}

/// Looks into the database once more where the signer calls what it was sent rolled back; and again in a moment, for the signer
/// may know of a change before the database does.
///
/// # Errors
/// Those of `newest`.
pub async fn look<T, R: PartialEq, F: Future<Output = domain::Result<Option<R>>>>(
    answer: Result<T, Refusal>,
    sent: &R,
    newest: impl Fn() -> F,
) -> domain::Result<Looked<T, R>> {
    match answer {
        Err(refusal) if refusal.reason == Reason::RolledBack => {
            for wait in [Duration::ZERO, MOMENT] {
                tokio::time::sleep(wait).await;
                match newest().await? {
                    Some(newest) if newest != *sent => return Ok(Looked::Changed(newest)),
                    Some(_) => {}
                    None => {
                        let ended = Refusal::new(Reason::Unauthenticated, "It has ended.");
                        return Ok(Looked::Answered(Err(ended)));
                    }
                }
            }
            Ok(Looked::Answered(Err(refusal)))
        }
        answer => Ok(Looked::Answered(answer)),
    }
}
