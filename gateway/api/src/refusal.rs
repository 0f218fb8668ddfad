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

/// Asks by what the database holds of somebody, and once more by the newest where somebody has changed it a moment ago: only what
/// stays the same looks rolled back.
///
/// # Errors
/// Those of `newest`.
pub async fn with_newest<T, R, A, N>(
    mut sent: R,
    ask: impl Fn(R) -> A,
    newest: impl Fn() -> N,
) -> domain::Result<Result<T, Refusal>>
where
    R: Clone + PartialEq,
    A: Future<Output = Result<T, Refusal>>,
    N: Future<Output = domain::Result<Option<R>>>,
{
    loop {
        let refusal = match ask(sent.clone()).await {
            Err(refusal) if refusal.reason == Reason::RolledBack => refusal,
            answer => return Ok(answer),
        };
        let mut found = newest().await?;
        if found.as_ref() == Some(&sent) {
            // The signer may know of a change before the database does.
            tokio::time::sleep(MOMENT).await;
            found = newest().await?;
        }
        match found {
            Some(same) if same == sent => return Ok(Err(refusal)),
            Some(changed) => sent = changed,
            None => return Ok(Err(Refusal::new(Reason::Unauthenticated, "It has ended."))),
        }
    }
}
